"""From a recipe to the random changes of training images."""

from ..data.augmentation import AugmentationRanges
from ..data.base import Data
from ..utils.errors import InputError
from .recipe import Recipe

_LIGHT_REACH = 0.5  # of what standard augmentation shifts images, or cuts off them


def augmentation_ranges(recipe: Recipe) -> AugmentationRanges:
    """Return how far a recipe's random changes of images go."""
    light = recipe.augmentation == "light"
    return AugmentationRanges(
        crop_scale=recipe.crop_scale,
        brightness=recipe.brightness,
        saturation=recipe.saturation,
        mirror=not light,
        reach=_LIGHT_REACH if light else 1.0,
    )


def check_augmentation(recipe: Recipe, data: Data) -> None:
    """Check that a recipe's augmentation is one for a data set.

    Raises:
        InputError: It has crops or strong augmentation of images with boxes, which lack them.
    """
    if recipe.augmentation == "strong" and data.task == "detect":
        raise InputError("augmentation is strong, but images with boxes have none, light or standard; choose another")
    if recipe.crop_scale is not None and data.task == "detect":
        raise InputError(
            f"crop_scale is {recipe.crop_scale:g}, but images with boxes are magnified and moved instead; remove it"
        )
