"""Imported networks in a Python program."""

from pathlib import Path

from ..utils.sizes import Size
from .import_model import import_network
from .program_errors import keywords_in_errors
from .program_model import TrainedModel


@keywords_in_errors()
def import_model(
    source: str,
    *,
    out: Path | str | None = None,
    resolution: Size | None = None,
    classes: Path | str | None = None,
) -> TrainedModel:
    """Import another library's network with its weights, as `tinynas import` does.

    Args:
        source: "timm:NAME", whose weights timm downloads, "timm:NAME:FILE" with the file of the weights,
            "netaug:FILE", "mcunet:FILE", or "ofa:FILE:SUBNET" with a file of choices.
        out: Folder to write the model to; by default imported/NAME.
        resolution: Size of its images in pixels; by default its own.
        classes: Text file with the name of a class in every line; by default the names of ImageNet's classes if there
            are 1,000, otherwise numbers.

    Returns:
        The model, for which there are no metrics.

    Raises:
        InputError: The source is unknown, or tinynas has no such network.
        FileError: A file is missing or corrupt, or the folder has a model.

    Example:
        >>> import tinynas
        >>> model = tinynas.import_model("timm:mobilenetv2_035:weights.pth")  # doctest: +SKIP
        >>> tinynas.retrain(source=model, data="imagefolder:photos", epochs=20)  # doctest: +SKIP
    """
    names = Path(classes) if classes is not None else None
    imported = import_network(source, Path(out) if out else None, resolution=resolution, classes=names)
    return TrainedModel(imported.path)
