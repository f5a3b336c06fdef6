"""The data set of a trained model."""

from dataclasses import replace
from pathlib import Path

from ..data.base import Data
from ..data.registry import load_data
from ..models.model_file import Model
from ..utils.errors import InputError


def data_of(model: Model, path: Path, name: str | None) -> Data:
    """The data set the model of this file was trained on, or another of the same classes, normalised as it needs it.

    Raises InputError.
    """
    data = replace(load_data(name or model.data), normalise=model.normalise)
    if data.classes != model.classes:
        raise InputError(
            f"{path} knows {some_of(model.classes)}, but {name or model.data} has {some_of(data.classes)}; "
            "give the data set it was trained for"
        )
    return data


def some_of(names: tuple[str, ...]) -> str:
    """Names of classes, the first three of them and how many there are."""
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
