"""Classification data whose images are files, read one at a time."""

from collections.abc import Sequence

import torch

from .base import IMAGENET, Data
from .files import ImageFiles, check_files
from .image_split import CROP, ImageSplit
from .memory import hold_out

Sample = tuple[str, int]  # path and label


def labelled_files(
    classes: tuple[str, ...], train: Sequence[Sample], test: Sequence[Sample], left_out: tuple[str, ...] = ()
) -> Data:
    """Return a data set of image files with labels; a tenth of the training images is held out as search-val.

    Args:
        classes: Names of the classes.
        train: Images to train on, and for search-val.
        test: Images of the test split.
        left_out: As in `Data`.

    Raises:
        InputError: Every class has a single training image, so that none can be held out.
    """
    train_split, test_split = _split(train), _split(test)
    remaining, held_out = hold_out(train_split.labels, 0.1, "val")
    return Data(
        classes=classes,
        normalise=IMAGENET,
        crop=CROP,
        train=train_split.subset(remaining.tolist()),
        val=train_split.subset(held_out.tolist()),
        test=test_split,
        left_out=left_out,
    )


def _split(samples: Sequence[Sample]) -> ImageSplit:
    paths, labels = [], []
    for path, label in samples:
        paths.append(path)
        labels.append(label)
    return ImageSplit(read=ImageFiles(check_files(paths)), labels=torch.tensor(labels, dtype=torch.int64))
