"""From a recipe to the random changes of training images."""

from ..data.augmentation import AugmentationRanges
from ..data.base import Data
from ..utils.errors import InputError
from .recipe import Recipe


def augmentation_ranges(recipe: Recipe) -> AugmentationRanges:
    """Return how far a recipe's random changes of images go."""
    return AugmentationRanges(crop_scale=recipe.crop_scale, brightness=recipe.brightness, saturation=recipe.saturation)


def check_augmentation(recipe: Recipe, data: Data) -> None:
    """Check that a recipe's augmentation is one for a data set.

    Raises:
        InputError: It has crops of images with boxes, which have their own.
    """
    if recipe.crop_scale is not None and data.task == "detect":
        raise InputError(
            f"crop_scale is {recipe.crop_scale:g}, but images with boxes are cropped around their boxes; remove it"
        )
