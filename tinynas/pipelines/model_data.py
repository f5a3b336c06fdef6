"""The data set of a trained model."""

from pathlib import Path

from ..data.base import Data
from ..data.identity import DataIdentity
from ..data.image_split import with_preprocessing
from ..data.registry import load_data
from ..models.model_file import Model
from ..utils.distributed import broadcast_from_rank0, rank
from ..utils.errors import FileError, InputError


def data_of(model: Model, path: Path, name: str | None, *, skip_unreadable: bool = False) -> Data:
    """Load the data set that a model was trained on, or another of the same classes, prepared as in training.

    Args:
        model: The model.
        path: Its file, for error messages.
        name: Another data set; None loads the model's own, which must not have changed since the training.
        skip_unreadable: Leave out images that cannot be read.

    Raises:
        InputError: The data set has other classes or input channels than the model, or none is named and the model was
            imported.
        FileError: The model's own data set has changed, or a file is missing or corrupt.
    """
    check_data_named(model, path, name)
    data = load_data(name or model.data, skip_unreadable=skip_unreadable, named_in=None if name else path)
    channels = data.channels
    data = with_preprocessing(data, normalise=model.normalise, crop=model.crop, interpolation=model.interpolation)
    if name is None and model.identity is not None:
        changes = model.identity.changes(DataIdentity.of(data))
        if changes:
            raise FileError(
                f"the data set {model.data} has changed since {path} was trained: {changes}; restore it, or use it as "
                f"it is with --data {model.data}"
            )
    if data.classes != model.classes:
        raise InputError(
            f"model and data set must have the same classes: {path} has {some_of(model.classes)}, "
            f"{name or model.data} has {some_of(data.classes)}; pass the data set that the model was trained on"
        )
    if channels != model.net.arch.in_channels:
        raise InputError(
            f"model and data set must have the same number of input channels: {path} has {model.net.arch.in_channels}, "
            f"{name or model.data} has {channels}; name another data set, or train the model further on this one "
            "with tinynas retrain --from"
        )
    return data


def check_data_named(model: Model, path: Path, name: str | None) -> None:
    """Raise InputError if no data set is named, and the model, which was imported, has none."""
    if not (name or model.data):
        raise InputError(f"{path} was imported, so that it has no data set of its own; name one with --data")


def check_same_data(name: str, identity: DataIdentity) -> None:
    """Check that all processes of a data-parallel training have loaded the same data set.

    Raises:
        InputError: This process has loaded another one than that of rank 0.
    """
    if broadcast_from_rank0(DataIdentity.to_dict, identity) != identity.to_dict():
        raise InputError(
            f"the data set {name} of rank {rank()} is not that of rank 0; copy the same files to every machine"
        )


def some_of(names: tuple[str, ...]) -> str:
    """Return how many class names there are, with the first three of them."""
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
