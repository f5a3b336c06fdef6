"""The data set of a trained model."""

from dataclasses import replace
from pathlib import Path

from ..data.base import Data
from ..data.registry import load_data
from ..models.model_file import Model
from ..utils.errors import InputError


def data_of(model: Model, path: Path, name: str | None) -> Data:
    """Load the data set that a model was trained on, or another of the same classes, normalised as in training.

    Args:
        model: The model.
        path: Its file, for error messages.
        name: Another data set; None loads the model's own.

    Raises:
        InputError: The data set has other classes than the model.
    """
    data = replace(load_data(name or model.data), normalise=model.normalise)
    if data.classes != model.classes:
        raise InputError(
            f"model and data set must have the same classes: {path} has {some_of(model.classes)}, "
            f"{name or model.data} has {some_of(data.classes)}; pass the data set that the model was trained on"
        )
    return data


def some_of(names: tuple[str, ...]) -> str:
    """Return how many class names there are, with the first three of them."""
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
