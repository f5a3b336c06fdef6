"""A test split for annotated images that have none of their own: held out at random, always the same images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..utils.errors import FileError
from ..utils.rng import generator
from .annotated import AnnotatedPart
from .objects import OBJECT
from .pixel_boxes import AnnotatedImage

TEST_FRACTION = 0.2  # of the images


def hold_out_test(path: Path, part: AnnotatedPart) -> tuple[AnnotatedPart, AnnotatedPart, str]:
    """Split annotated images in those to train on and those to test on, a fifth.

    Of every class at least one image with an object remains to train on.

    Args:
        path: The folder of the data set, for error messages.
        part: The images.

    Returns:
        Both parts, and a line that says what was done.

    Raises:
        FileError: There are fewer than three images.
    """
    count = len(part.images)
    if count < 3:
        raise FileError(f"{path} has {count} annotated images, but needs at least 3, of which one tests; add images")
    chosen = _choose(part.images, max(1, round(TEST_FRACTION * count)))
    if not chosen:
        raise FileError(
            f"{path} has no part to test on, and none of its {count} images can be held out, as each has the only "
            "object of a class; add images"
        )
    train: list[AnnotatedImage] = []
    test: list[AnnotatedImage] = []
    for index, image in enumerate(part.images):
        (test if index in chosen else train).append(image)
    note = (
        f"there is no part to test on: {len(test)} of {count} images, chosen at random and always the same, are the "
        "test split"
    )
    return replace(part, images=train), replace(part, images=test, dropped=Counter()), note


def _choose(images: Sequence[AnnotatedImage], most: int) -> set[int]:
    """Return the indices of random images, up to a number, such that the others have objects of every class.

    Crowds and difficult objects do not count, as they are not trained on.
    """
    classes = []
    for image in images:
        classes.append({annotated.name for annotated in image.objects if annotated.kind == OBJECT})
    remaining: Counter[str] = Counter()  # images with objects of a class
    for names in classes:
        remaining.update(names)
    chosen: set[int] = set()
    for index in generator(0, "test").permutation(len(images)).tolist():
        if len(chosen) < most and all(remaining[name] > 1 for name in classes[index]):
            chosen.add(index)
            remaining.subtract(classes[index])
    return chosen
