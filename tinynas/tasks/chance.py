"""Chance level: the accuracy of a classifier that has learned nothing. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from ..utils.errors import require

_STANDARD_ERRORS = 2.0  # above chance level, from which an accuracy is taken to be better


@dataclass(frozen=True, kw_only=True)
class Chance:
    """The accuracies that need no learning, on a split.

    Attributes:
        images: Images of the split.
        classes: Classes of the data set, also those without images in the split.
        largest_class: Name of the class with the most images.
        largest_class_images: How many images it has.
    """

    images: int
    classes: int
    largest_class: str
    largest_class_images: int

    def __post_init__(self) -> None:
        require(
            0 < self.largest_class_images <= self.images,
            "0 < largest_class_images <= images",
            largest_class_images=self.largest_class_images,
            images=self.images,
        )
        require(self.classes > 0, "classes > 0", classes=self.classes)

    @property
    def accuracy(self) -> float:
        """The accuracy, in percent, of always predicting the largest class: its fraction of the images."""
        return 100 * self.largest_class_images / self.images

    @property
    def random_accuracy(self) -> float:
        """The expected accuracy, in percent, of predicting each class equally often. Never above `accuracy`."""
        return 100 / self.classes

    @property
    def standard_error(self) -> float:
        """The standard error of `accuracy`, in percentage points."""
        return standard_error(self.accuracy, self.images)

    @property
    def is_uneven(self) -> bool:
        """Whether some class has more images than another."""
        return self.largest_class_images * self.classes > self.images

    def explains(self, accuracy: float) -> bool:
        """Return whether an accuracy, in percent, is not above chance level by more than two standard errors.

        Example:
            >>> chance = chance_level([50, 50], ["cat", "dog"])
            >>> chance.explains(60.0), chance.explains(60.5)
            (True, False)
        """
        return accuracy <= self.accuracy + _STANDARD_ERRORS * self.standard_error

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as reports have it."""
        return {
            "accuracy": self.accuracy,
            "random_accuracy": self.random_accuracy,
            "images": self.images,
            "classes": self.classes,
            "largest_class": self.largest_class,
            "largest_class_images": self.largest_class_images,
        }


def chance_level(counts: Sequence[int], classes: Sequence[str]) -> Chance:
    """Return the chance level of a split.

    Args:
        counts: The number of images of each class.
        classes: Names of the classes.

    Example:
        >>> chance = chance_level([30, 10, 0], ["cat", "dog", "fox"])
        >>> chance.accuracy, chance.largest_class, chance.is_uneven
        (75.0, 'cat', True)
    """
    largest = max(range(len(counts)), key=counts.__getitem__)
    return Chance(
        images=sum(counts),
        classes=len(classes),
        largest_class=classes[largest],
        largest_class_images=counts[largest],
    )


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error, in percentage points, of an accuracy in percent that was measured on `images`."""
    return sqrt(accuracy * (100 - accuracy) / images)
