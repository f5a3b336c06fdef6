"""The import command: write another library's network, with its weights, as a trained model."""

from dataclasses import dataclass
from pathlib import Path

from ..arch.arch import Arch
from ..deploy.exported_file import preprocessing
from ..experiment.card_file import write_card
from ..experiment.imported_card import imported_card
from ..experiment.retrain_folder import RetrainFolder
from ..models.importers.class_names import class_names
from ..models.importers.registry import name_of_source, read_source
from ..models.model_file import Model, save_model
from ..utils.errors import FileError
from ..utils.sizes import Size

_IMPORTED = Path("imported")


@dataclass(frozen=True, kw_only=True)
class ImportedModel:
    """The file of an imported model, and what is known of it.

    Attributes:
        path: Its file.
        arch: The network.
        classes: Names of its classes.
        is_checked: Whether its outputs were compared with those of the original.
    """

    path: Path
    arch: Arch
    classes: tuple[str, ...]
    is_checked: bool


def import_network(
    source: str, out: Path | None = None, *, resolution: Size | None = None, classes: Path | None = None
) -> ImportedModel:
    """Import a network, and write its model and model card.

    Args:
        source: "KIND:NAME" or "KIND:NAME:FILE", with a KIND of `IMPORTERS`; FILE has the weights.
        out: Folder to write to. None: imported/NAME.
        resolution: Size of its images in pixels; None for its own.
        classes: Text file with the name of a class in every line. None: as `class_names` names them.

    Returns:
        The model.

    Raises:
        InputError: The source is unknown, tinynas has no such network, or the names are not those of its classes.
        FileError: A file is missing or corrupt, the folder has a model, or cannot be written to.
    """
    folder = RetrainFolder(out or _IMPORTED / name_of_source(source))
    if folder.model.exists():
        raise FileError(f"there is a model in {folder.path} already; choose another --out, or delete it")
    foreign = read_source(source, resolution=resolution)
    prepared = foreign.preprocessing
    model = Model(
        net=foreign.to_network(),
        data="",
        classes=class_names(foreign.arch.classes, classes),
        normalise=prepared.normalise,
        crop=prepared.crop,
        interpolation=prepared.interpolation,
    )
    is_checked = foreign.module is not None
    card = imported_card(
        source, foreign.arch, classes=model.classes, preprocessing=preprocessing(model), is_checked=is_checked
    )
    save_model(folder.model, model)
    write_card(folder.card, card)
    return ImportedModel(path=folder.model, arch=foreign.arch, classes=model.classes, is_checked=is_checked)
