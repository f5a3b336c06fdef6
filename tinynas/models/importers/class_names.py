"""Names of the classes of imported networks, which files of weights do not have."""

from pathlib import Path

from ...utils.errors import InputError
from ...utils.io import read_text

IMAGENET_CLASSES = 1000


def class_names(classes: int, file: Path | None = None) -> tuple[str, ...]:
    """Return the names of a network's classes, in the order of its outputs.

    Args:
        classes: How many it has.
        file: Text file with a name in every line. None: the names of ImageNet's classes for 1,000 of them, as
            torchvision has them; otherwise their numbers, from 0.

    Raises:
        InputError: The file has another number of names.
        FileError: The file cannot be read.
    """
    if file is None:
        return _imagenet_names() if classes == IMAGENET_CLASSES else tuple(map(str, range(classes)))
    names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if len(names) != classes:
        raise InputError(
            f"{file} must have a line for each of the network's {classes} classes, but has {len(names)}; complete it"
        )
    return tuple(names)


def _imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
