"""A run's search space and trained supernet, for the data set it was trained on."""

from pathlib import Path

from ..arch.space import SearchSpace
from ..arch.zoo import load_space, shipped_spaces
from ..data.base import Data
from ..experiment.run_folder import RunFolder
from ..experiment.saved import read_config
from ..experiment.space_file import space_to_yaml
from ..models.supernet import Supernet
from ..tasks.registry import fit_to_data
from ..training.checkpoint import read_checkpoint
from ..utils.errors import FileError, TinyNASError, file_error
from ..utils.io import read_text
from ..utils.schema import read_yaml


def space_text(run: Path, space: str, of_program: SearchSpace | None = None) -> str:
    """Return the YAML of a run's search space: the run's own copy, else that of a shipped space or a file.

    Args:
        run: Folder of the run.
        space: Name of the space, or path of its file.
        of_program: The space, if a program made it.

    Raises:
        InputError: There is no such space, or it is not valid.
        FileError: The file cannot be read, or the run has another space than the program's.
    """
    saved = RunFolder(run).space
    text = space_to_yaml(of_program) if of_program else None
    if saved.exists():
        saved_text = read_text(saved)
        if text not in (None, saved_text):
            raise FileError(f"{run} has another search space; leave out the space, or choose another --run")
        return saved_text
    if text:
        return text
    load_space(space)  # raises an error that names what is not valid
    return shipped_spaces().get(space) or read_text(Path(space))


def space_for(data: Data, text: str, path: Path) -> SearchSpace:
    """Parse a run's space.yaml and fit it to the data's input channels, classes and, for detectors, objects.

    Raises:
        InputError: The data set is for another task.
        FileError: The space is not valid.
    """
    try:
        space = SearchSpace.from_dict(read_yaml(text, path.name))
    except TinyNASError as error:
        advice = f"restore it, or delete it and `tinynas search --run {path.parent} --resume` writes it again"
        raise file_error(path, "is damaged", error, advice) from None
    return fit_to_data(space, data)


def read_supernet(run: Path, data: Data) -> Supernet:
    """Read a run's trained supernet.

    Raises:
        FileError: A file is missing or corrupt, or the supernet was trained on another data set.
    """
    folder = RunFolder(run)
    supernet = Supernet(space_for(data, read_text(folder.space), folder.space))
    try:
        supernet.load_state_dict(read_checkpoint(folder.supernet)["model"])
    except RuntimeError:
        trained_on = read_config(folder.config).get("data")
        raise FileError(
            f"the supernet of {run} was trained on {trained_on}, which differs from this data set with "
            f"{len(data.classes)} classes and {data.channels} input channels; use --data {trained_on}"
        ) from None
    return supernet
