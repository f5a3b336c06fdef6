"""Accuracies that the authors of NetAug publish, as recipes/authors/netaug.yaml has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..utils.schema import check_mapping, read_yaml

_FILE = "netaug.yaml"
Figures = Mapping[str, Mapping[str, Mapping[str, float]]]  # by network, data set and way of training


@dataclass(frozen=True, kw_only=True)
class Published:
    """Accuracies of published trainings.

    Attributes:
        accuracies: In percent.
        gains: Percentage points over plain training.
        classes: How many classes a data set has, by its name.
        notes: Which figures of the authors' repository have them, and how they were read.
    """

    accuracies: Figures
    gains: Figures
    classes: Mapping[str, int]
    notes: tuple[str, ...]

    def accuracy(self, network: str, data_set: str, method: str) -> float | None:
        """Return the accuracy of a training in percent, None if it is not known."""
        return _figure(self.accuracies, network, data_set, method)

    def gain(self, network: str, data_set: str, method: str) -> float | None:
        """Return the gain over plain training in percentage points, None if it is not known.

        Where both accuracies are known, it is their difference.
        """
        accuracy, plain = self.accuracy(network, data_set, method), self.accuracy(network, data_set, "plain")
        if method == "plain":
            return None
        if accuracy is not None and plain is not None:
            return round(accuracy - plain, 1)
        return _figure(self.gains, network, data_set, method)


def read_published() -> Published:
    """Return what the authors of NetAug publish."""
    text = files("tinynas.recipes").joinpath("authors", _FILE).read_text("utf-8")
    plain = check_mapping(read_yaml(text, _FILE), _FILE)
    return Published(
        accuracies=plain["accuracies"]["networks"],
        gains=plain["gains"]["networks"],
        classes=plain["classes"],
        notes=(_note("accuracies", plain), _note("gains", plain)),
    )


def _note(kind: str, plain: Mapping[str, Any]) -> str:
    """Return where the figures of a kind are from."""
    where = f"{plain['repository']}/{plain['folder']}"
    return f"published {kind}: {plain[kind]['source']} of {where}; {plain[kind]['note']}"


def _figure(figures: Figures, network: str, data_set: str, method: str) -> float | None:
    return figures.get(network, {}).get(data_set, {}).get(method)
