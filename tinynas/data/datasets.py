"""Data sets of a Python program: map-style PyTorch datasets, or other sequences, of images and labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..utils.arguments import checks_arguments
from ..utils.errors import InputError
from .base import Data, Normalisation, Split
from .boxes import BoxSplit
from .dataset_images import Dataset
from .dataset_reader import DatasetReader, Samples
from .image_split import CROP, ImageSplit
from .memory import MemorySplit, hold_out
from .registry import SHIPPED

_NAME = re.compile(r"[\w][\w -]*")  # which is also part of a folder's name
_SHIFT = 8  # augmentation shifts by up to this part of an image's side
_SMALLEST_DEVIATION = 0.01  # of a channel: images of a single value are not divided by zero
_WHITE = 255


@checks_arguments("Data")
@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The datasets of a program that together are a data set for tinynas.

    A sample of "classify" is (image, class index); one of "detect" is (image, target), the target as in torchvision: a
    mapping with "boxes" (M, 4), x1, y1, x2, y2 in pixels, and "labels" (M,), class indices from 0. Images are read by
    `to_pixels`; all are grey, or all RGB.

    The first sample of each part is checked at once; all of them are read once, and checked, by `load`, which a search
    or a retraining calls. Up to 1 GiB of pixels are kept in memory; those of a larger data set are
    read again whenever they are needed, on Linux by worker processes. Leave random transforms to tinynas.

    A classifier sees images of one size, if they are kept in memory, as a whole, or the largest central part of its
    own aspect ratio, and augmentation shifts and mirrors them. All others are treated as the files of a folder: it sees
    the central part, 7/8 of the largest, and augmentation crops and mirrors them. A detector sees images as a whole.

    Attributes:
        train: Samples to train on.
        test: Samples for the final accuracy.
        classes: Names of the classes; a label is an index into them.
        name: What the data set is called in files and messages: letters, digits, spaces, "-" and "_".
        val: Samples of search-val; by default a part of `train`, which is then not trained on.
        val_fraction: Fraction of the training images (of each class) that become search-val.
        task: "classify" or "detect".
        flip: Whether augmentation mirrors half of the images.

    Raises:
        InputError: An argument is missing or unknown, a dataset has no samples or is none, or its first sample or a
            setting is not as described above.

    Example:
        >>> import numpy as np
        >>> import tinynas
        >>> across = np.tile(np.arange(28) // 2 % 2, (28, 1)).astype(np.float32)
        >>> samples = [(across, 0), (across.T, 1)] * 20
        >>> data = tinynas.Data(train=samples, test=samples[:10], classes=["across", "down"])
        >>> len(data.load().train)
        36
    """

    train: Dataset = field(repr=False)
    test: Dataset = field(repr=False)
    classes: Sequence[str]
    name: str = "custom"
    val: Dataset | None = field(default=None, repr=False)
    val_fraction: float = 0.1
    task: str = "classify"
    flip: bool = True

    def __post_init__(self) -> None:
        if self.task not in ("classify", "detect"):
            raise InputError(f"task must be classify or detect, but is {self.task!r}; choose one of them")
        if not 0 < self.val_fraction < 1:
            raise InputError(f"0 < val_fraction < 1 must hold, but it is {self.val_fraction}; change it")
        _check_name(self.name)
        _check_classes(self.classes, least=2 if self.task == "classify" else 1)
        parts = {"train": self.train, "test": self.test}
        if self.val is not None:
            parts["val"] = self.val
        reader = DatasetReader(self.task, self.classes)
        for part, dataset in parts.items():
            _check_dataset(dataset, part)
            reader.sample(dataset, 0, f"{part}[0]")

    def load(self) -> Data:
        """Read all samples, the first time that it is called.

        Returns:
            The data set, as `load_data` returns those by name.

        Raises:
            InputError: A sample, which the message names, is not as described above.
        """
        return self._loaded

    @cached_property
    def _loaded(self) -> Data:
        reader = DatasetReader(self.task, self.classes)
        train, test = reader.read(self.train, "train"), reader.read(self.test, "test")
        val = None if self.val is None else reader.read(self.val, "val")
        if self.task == "classify":
            _check_labels(train.labels, self.classes)
        parts = [train, test] if val is None else [train, test, val]
        train, test, *others = [part.settled(keeps_pixels=reader.keeps_pixels) for part in parts]
        is_whole = reader.keeps_pixels and _are_of_one_size([train, test, *others])
        train, val = (train, *others) if others else self._hold_out(train)
        return Data(
            classes=tuple(self.classes),
            normalise=_normalisation_of(train),
            task=self.task,
            crop=1.0 if is_whole or self.task == "detect" else CROP,
            train=self._split(train, is_whole=is_whole),
            val=self._split(val, is_whole=is_whole),
            test=self._split(test, is_whole=is_whole),
        )

    def _hold_out(self, train: Samples) -> tuple[Samples, Samples]:
        """Return the samples that are trained on, and search-val."""
        is_classifier = self.task == "classify"
        labels = train.labels if is_classifier else torch.zeros(len(train.targets), dtype=torch.int64)
        remaining, held_out = hold_out(labels, self.val_fraction, "val")
        return train.subset(remaining.tolist()), train.subset(held_out.tolist())

    def _split(self, samples: Samples, *, is_whole: bool) -> Split:
        """Return samples as a split; a classifier sees images as a whole, or their central part."""
        if self.task == "detect":
            return BoxSplit(read=samples.images, objects=samples.targets, flip=self.flip)
        if not is_whole:
            return ImageSplit(read=samples.images, labels=samples.labels, flip=self.flip)
        images = torch.stack([samples.images(index) for index in range(len(samples.targets))])
        return MemorySplit(images=images, labels=samples.labels, flip=self.flip, shift=min(images.shape[-2:]) // _SHIFT)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f'name must be letters, digits, spaces, "-" and "_", but is {name!r}; choose another')
    if name in SHIPPED:
        raise InputError(f"name is {name!r}, which is a data set of tinynas; choose another")


def _check_classes(classes: object, least: int) -> None:
    """Raise InputError unless these are names of classes, at least as many."""
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise InputError(f'classes is {classes!r}; pass a list of names, such as ["ok", "crack"]')
    wrong = [name for name in classes if not isinstance(name, str)]
    if wrong:
        raise InputError(f"classes has {wrong[0]!r}, of the type {type(wrong[0]).__name__}; pass names, in order")
    if len(classes) < least:
        raise InputError(f"classes has {len(classes)} names, but needs at least {least}; add a class")
    twice = [name for name in classes if classes.count(name) > 1]
    if twice:
        raise InputError(f"classes has {twice[0]!r} more than once; rename one of them")


def _check_dataset(dataset: object, part: str) -> None:
    """Raise InputError unless samples can be read by their index."""
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        kind = type(dataset).__name__
        advice = f"pass list({part})" if hasattr(dataset, "__iter__") else "pass one"
        if hasattr(dataset, "dataset"):  # a DataLoader
            advice = f"pass {part}={part}.dataset"
        raise InputError(f"{part} is of the type {kind}; expected a list or a dataset with samples by index; {advice}")
    if not len(dataset):
        raise InputError(f"{part} has no samples; pass a dataset that has some")


def _check_labels(labels: Tensor, classes: Sequence[str]) -> None:
    """Raise InputError if all training images have one label."""
    first = int(labels[0])
    if bool((labels == first).all()):
        raise InputError(f"all {len(labels)} images of train are of the class {classes[first]!r}; add images of others")


def _are_of_one_size(parts: Sequence[Samples]) -> bool:
    """Return whether all images have one size."""
    first = parts[0].images.shape
    return first is not None and all(part.images.shape == first for part in parts)


def _normalisation_of(samples: Samples) -> Normalisation:
    """Return the mean and the standard deviation of each channel, from 0 to 1."""
    count = sum(record.shape[1] * record.shape[2] for record in samples.images.records)
    sums, squares = torch.tensor(samples.moments, dtype=torch.float64).sum(0)
    mean = sums / count / _WHITE
    variance = squares / count / _WHITE**2 - mean.square()
    return Normalisation(mean=_rounded(mean), std=_rounded(variance.clamp(min=_SMALLEST_DEVIATION**2).sqrt()))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
