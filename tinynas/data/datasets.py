"""Data sets of a Python program: map-style PyTorch datasets, or other sequences, of images and labels."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ..utils.errors import InputError
from .base import Data, Normalisation, Split
from .boxes import BoxSplit
from .digest import tensor_digest
from .memory import MemorySplit, hold_out
from .pixels import to_pixels

_SHIFT = 8  # augmentation shifts by up to this part of an image's shorter side
_TOLERANCE = 0.5  # pixels by which a box may exceed its image
_SMALLEST_DEVIATION = 0.01  # of a channel: images of a single value are not divided by zero


class Dataset(Protocol):
    """What a map-style `torch.utils.data.Dataset` has: samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The datasets of a program that together are a data set for tinynas.

    Every sample is read once and kept in memory as bytes, so leave random transforms to tinynas. A sample of
    "classify" is (image, class index), and all images have one size. One of "detect" is (image, target), the target
    as in torchvision: a mapping with "boxes" (M, 4), x1, y1, x2, y2 in pixels, and "labels" (M,), class indices from 0.
    Images are read by `to_pixels`; all are grey, or all RGB.

    Attributes:
        train: Samples to train on.
        test: Samples for the final accuracy.
        classes: Names of the classes; a label is an index into them.
        name: What the data set is called in files and messages: letters, digits, spaces, "-" and "_".
        val: Samples of search-val; by default a part of `train`, which is then not trained on.
        val_fraction: Fraction of the training images (of each class) that become search-val.
        task: "classify" or "detect".
        flip: Whether augmentation mirrors half of the images.

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

    def load(self) -> Data:
        """Read all samples.

        Returns:
            The data set, as `load_data` returns those by name.

        Raises:
            InputError: A sample, which the message names, or a setting is not as described above.
        """
        if self.task not in ("classify", "detect"):
            raise InputError(f"task must be classify or detect, but is {self.task!r}; choose one of them")
        if not 0 < self.val_fraction < 1:
            raise InputError(f"0 < val_fraction < 1 must hold, but it is {self.val_fraction}; change it")
        train, test = self._read(self.train, "train"), self._read(self.test, "test")
        if self.val is None:
            labels = train.labels if self.task == "classify" else torch.zeros(len(train.images), dtype=torch.int64)
            remaining, held_out = hold_out(labels, self.val_fraction, "val")
            train, val = train.subset(remaining), train.subset(held_out)
        else:
            val = self._read(self.val, "val")
        for name, samples in (("val", val), ("test", test)):
            if samples.channels != train.channels:
                raise InputError(
                    f"the images of train have {train.channels} channels, those of {name} {samples.channels}; convert "
                    "all to grey or RGB"
                )
        return Data(
            classes=tuple(self.classes),
            normalise=_normalisation_of(train.images),
            task=self.task,
            train=self._split(train),
            val=self._split(val),
            test=self._split(test),
        )

    def _read(self, dataset: Dataset, part: str) -> "_Samples":
        """Read the samples of a part of the data set."""
        if not len(dataset):
            raise InputError(f"{part} has no samples; pass a dataset that has some")
        samples = _Samples()
        for index in range(len(dataset)):
            name = f"{part}[{index}]"
            sample = dataset[index]
            if not isinstance(sample, Sequence) or len(sample) != 2:
                raise InputError(
                    f"{name} is of the type {type(sample).__name__}; expected a pair of an image and its label"
                )
            image = to_pixels(sample[0], name)
            if samples.images:
                self._check_alike(samples.images[0], image, part, name)
            samples.images.append(image)
            if self.task == "classify":
                samples.targets.append(_class_index(sample[1], len(self.classes), f"the label of {name}"))
            else:
                samples.targets.append(_objects(sample[1], image, len(self.classes), name))
        return samples

    def _check_alike(self, first: Tensor, image: Tensor, part: str, name: str) -> None:
        """Raise InputError unless an image has the channels of the first one, and for a classifier its size."""
        if len(first) != len(image):
            raise InputError(
                f"{part}[0] has {len(first)} channels, and {name} has {len(image)}; convert all to grey or RGB"
            )
        if self.task == "classify" and first.shape != image.shape:
            raise InputError(
                f"all images must have one size, but {part}[0] has {first.shape[1]} x {first.shape[2]} pixels and "
                f"{name} {image.shape[1]} x {image.shape[2]}; resize them, or use a folder of images (imagefolder:PATH)"
            )

    def _split(self, samples: "_Samples") -> Split:
        """Return samples as a split."""
        if self.task == "detect":
            return BoxSplit(read=_Images(samples.images), objects=samples.targets, flip=self.flip)
        shift = min(samples.images[0].shape[1:]) // _SHIFT
        return MemorySplit(images=torch.stack(samples.images), labels=samples.labels, flip=self.flip, shift=shift)


@dataclass(frozen=True)
class _Samples:
    """Images, uint8 (C, H, W), and their class indices or objects (M, 5)."""

    images: list[Tensor] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)

    @property
    def labels(self) -> Tensor:
        """The class indices (N,)."""
        return torch.tensor(self.targets, dtype=torch.int64)

    @property
    def channels(self) -> int:
        """The number of channels of all images."""
        return len(self.images[0])

    def subset(self, indices: Tensor) -> "_Samples":
        """Return some of the samples."""
        numbers = indices.tolist()
        return _Samples([self.images[n] for n in numbers], [self.targets[n] for n in numbers])


@dataclass(frozen=True)
class _Images:
    """Images in memory, uint8 (C, H, W), of any sizes."""

    pixels: Sequence[Tensor]

    def __call__(self, index: int) -> Tensor:
        return self.pixels[index]

    def digest(self) -> str:
        return tensor_digest(*self.pixels)

    def subset(self, indices: Sequence[int]) -> "_Images":
        return _Images([self.pixels[index] for index in indices])


def _class_index(label: Any, classes: int, name: str) -> int:
    """Return a label as a number."""
    try:
        index = operator.index(label)
    except TypeError:
        raise InputError(f"{name} is {label!r}, of the type {type(label).__name__}; expected a class index") from None
    if not 0 <= index < classes:
        raise InputError(f"{name} is {index}, but there are {classes} classes, 0 to {classes - 1}")
    return index


def _objects(target: Any, image: Tensor, classes: int, name: str) -> Tensor:
    """Return the objects of a target, (M, 5): class index, and x1, y1, x2, y2 as fractions of the image's sides."""
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= set(target):
        raise InputError(f'the target of {name} is not a mapping with "boxes" (M, 4) and "labels" (M,)')
    boxes = torch.as_tensor(target["boxes"], dtype=torch.float32)
    if boxes.numel() and boxes.shape[1:] != (4,):
        raise InputError(f"the boxes of {name} have the shape {tuple(boxes.shape)}; expected (M, 4)")
    boxes = boxes.view(-1, 4)
    labels = torch.as_tensor(target["labels"]).flatten().tolist()
    if len(boxes) != len(labels):
        raise InputError(f"the target of {name} has {len(boxes)} boxes and {len(labels)} labels; one box a label")
    height, width = image.shape[1:]
    sides = torch.tensor([width, height, width, height])
    for box, label in zip(boxes, labels, strict=True):
        _class_index(label, classes, f"a label of {name}")
        x1, y1, x2, y2 = box.tolist()
        is_inside = -_TOLERANCE <= x1 < x2 <= width + _TOLERANCE and -_TOLERANCE <= y1 < y2 <= height + _TOLERANCE
        if not is_inside:
            raise InputError(
                f"a box of {name} is {box.tolist()}, but its image is {width} x {height} pixels; expected x1 < x2 and "
                "y1 < y2 in pixels of the image"
            )
    fractions = (boxes / sides).clamp(0, 1)
    return torch.cat([torch.tensor(labels, dtype=torch.float32).view(-1, 1), fractions], 1)


def _normalisation_of(images: Sequence[Tensor]) -> Normalisation:
    """Return the mean and the standard deviation of each channel, from 0 to 1."""
    count = 0
    total, squares = torch.zeros(len(images[0]), dtype=torch.float64), torch.zeros(len(images[0]), dtype=torch.float64)
    for image in images:
        values = image.flatten(1).double() / 255
        count += values.shape[1]
        total += values.sum(1)
        squares += values.square().sum(1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=_SMALLEST_DEVIATION**2).sqrt()
    return Normalisation(mean=_rounded(mean), std=_rounded(std))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
