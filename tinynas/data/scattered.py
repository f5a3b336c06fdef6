"""Detection data made from classification data: small images scattered over textured backgrounds.

An object is an image cropped to its ink (the pixels brighter than a tenth of full brightness), scaled, and drawn in a
random light grey: the background is blended towards that grey by the image's brightness. So the boxes are exact, and
each split consists of images of the same split of the classification data.
"""

from math import exp, log
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..utils.rng import generator
from .base import BatchRequest, Data, Normalisation, Split
from .boxes import BoxSplit
from .classification import fashion_mnist
from .packaged import digits
from .paths import refuse_path
from .sources import MemoryImages

CANVAS = 128  # pixels, the side of an image
INK = 0.1  # fraction of full brightness above which a pixel counts as ink
_LONG = (24, 64)  # pixels, smallest and largest longer side of an object
_SHORT = 16  # pixels, smallest shorter side, as far as the limit of the longer side allows
_MAX_OBJECTS = 4  # on an image
_EMPTY = 0.05  # fraction of the images without objects
_MAX_OVERLAP = 0.1  # largest fraction of the smaller of two boxes that the other may cover
_TRIES = 30  # random positions tried for an object, which is dropped if none is free
_OCTAVES = (4, 8, 16, 32)  # cells along a side of the background's layers, each half as strong as the one before
_GREYS = (50, 130)  # range of a background's mean grey, of 0..255
_CONTRASTS = (10, 35)  # range of a background's contrast
_INK_GREYS = (190, 255)  # range of an object's grey
Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels


def scattered_digits(path: Path | None) -> Data:
    """Make 2,800 images, 128x128, with scikit-learn's digits at random positions."""
    refuse_path("scattered-digits", path, "it is made from digits")
    return scattered(digits(None), side=32, images=(2000, 300, 500))


def scattered_fashion(path: Path | None) -> Data:
    """Make 7,600 images, 128x128, with Fashion-MNIST's garments at random positions."""
    refuse_path("scattered-fashion", path, "it is made from fashion-mnist")
    return scattered(fashion_mnist(None), side=28, images=(6000, 600, 1000), flip=True)


def scattered(data: Data, *, side: int, images: tuple[int, int, int], flip: bool = False) -> Data:
    """Make detection data from classification data; always the same.

    Args:
        data: Grey images, light on dark.
        side: Height and width of the images of `data`.
        images: Number of images (1, 128, 128) to make for train, val and test.
        flip: Whether augmentation may mirror the training images.
    """
    train = _scatter_split(data.train, side, images[0], generator(0, "scattered train"), flip=flip)
    val = _scatter_split(data.val, side, images[1], generator(0, "scattered val"))
    test = _scatter_split(data.test, side, images[2], generator(0, "scattered test"))
    pixels = torch.stack([train.read(i) for i in range(min(500, len(train)))]) / 255
    normalise = Normalisation(mean=(round(pixels.mean().item(), 4),), std=(round(pixels.std().item(), 4),))
    return Data(task="detect", classes=data.classes, normalise=normalise, train=train, val=val, test=test)


def _scatter_split(split: Split, side: int, count: int, rng: np.random.Generator, *, flip: bool = False) -> BoxSplit:
    """Make `count` images with objects drawn from a split."""
    num_objects = np.where(rng.random(count) < _EMPTY, 0, rng.integers(1, _MAX_OBJECTS + 1, count))  # on each image
    chosen = torch.from_numpy(rng.integers(len(split), size=int(num_objects.sum())))
    as_fractions = Normalisation(mean=(0.0,), std=(1.0,))
    glyphs, labels = next(iter(split.batches([BatchRequest(chosen, side)], as_fractions)))
    canvases, objects, first = backgrounds(count, rng), [], 0
    for canvas, number in zip(canvases, num_objects.tolist(), strict=True):
        on_image = slice(first, first + number)
        objects.append(scatter(canvas, glyphs[on_image, 0], labels[on_image], rng))
        first += number
    pixels = canvases.round_().to(torch.uint8)[:, None]
    return BoxSplit(read=MemoryImages(pixels), objects=objects, flip=flip)


def scatter(canvas: Tensor, glyphs: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw glyphs at random positions on a canvas, in place.

    Args:
        canvas: (H, W) in 0..255.
        glyphs: Images (M, h, w) in 0..1.
        labels: Their class indices (M,).
        rng: Draws sizes, positions and brightness.

    Returns:
        The objects (M, 5), or fewer where there is no free position.
    """
    taken: list[Box] = []
    rows = []
    for glyph, label in zip(glyphs, labels.tolist(), strict=True):
        ink = crop_to_ink(glyph)
        width, height = random_size(ink.shape[1], ink.shape[0], rng)
        box = random_box(width, height, taken, rng)
        if box is not None:
            taken.append(box)
            x1, y1, x2, y2 = box
            rows.append((label, x1 / CANVAS, y1 / CANVAS, x2 / CANVAS, y2 / CANVAS))
            draw(canvas, ink, box, rng.uniform(_INK_GREYS[0], _INK_GREYS[1]))
    return torch.tensor(rows).reshape(-1, 5)


def crop_to_ink(glyph: Tensor) -> Tensor:
    """Crop an image (h, w) in 0..1 to its ink."""
    ink = glyph > INK
    rows, columns = ink.any(1).nonzero(), ink.any(0).nonzero()
    return glyph[rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[-1, 0] + 1]


def random_size(width: int, height: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a width and height of the same aspect ratio, in pixels, log-uniform."""
    shorter, longer = sorted((width, height))
    smallest = min(_LONG[1], max(_LONG[0], _SHORT * longer / shorter))
    factor = exp(rng.uniform(log(smallest), log(_LONG[1]))) / longer
    return max(1, round(width * factor)), max(1, round(height * factor))


def random_box(width: int, height: int, taken: list[Box], rng: np.random.Generator) -> Box | None:
    """Draw a box of this size on the canvas that hardly overlaps those taken; None if none of the tries does."""
    positions = rng.integers([0, 0], [CANVAS - width + 1, CANVAS - height + 1], (_TRIES, 2)).tolist()
    for x, y in positions:
        box = (x, y, x + width, y + height)
        if all(_overlap(box, other) <= _MAX_OVERLAP for other in taken):
            return box
    return None


def _overlap(box: Box, other: Box) -> float:
    """Return the fraction of the smaller box that the other covers, which is more than their IoU."""
    width = max(0, min(box[2], other[2]) - max(box[0], other[0]))
    height = max(0, min(box[3], other[3]) - max(box[1], other[1]))
    return width * height / min(_area(box), _area(other))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def draw(canvas: Tensor, ink: Tensor, box: Box, brightness: float) -> None:
    """Stretch an image (h, w) in 0..1 to the box and blend the canvas (H, W) towards the brightness by it, in place."""
    x1, y1, x2, y2 = box
    weight = interpolate(ink[None, None], (y2 - y1, x2 - x1), mode="bilinear", antialias=True)[0, 0]
    canvas[y1:y2, x1:x2].lerp_(torch.tensor(brightness), weight)


def backgrounds(count: int, rng: np.random.Generator) -> Tensor:
    """Make smooth random textures (count, H, W) within 0..255: noise of several scales around a random mean grey."""
    texture = torch.zeros(count, 1, 1, 1)
    for octave, cells in enumerate(_OCTAVES):
        noise = torch.from_numpy(rng.standard_normal((count, 1, cells, cells), dtype=np.float32))
        texture = interpolate(texture, (cells, cells), mode="bilinear") + noise / 2**octave
    texture = interpolate(texture, (CANVAS, CANVAS), mode="bilinear")[:, 0]
    grey = _uniform(_GREYS, count, rng)
    contrast = _uniform(_CONTRASTS, count, rng)
    return texture.mul_(contrast).add_(grey).clamp_(0, 255)


def _uniform(limits: tuple[int, int], count: int, rng: np.random.Generator) -> Tensor:
    """Draw floats (count, 1, 1) between the limits."""
    return torch.from_numpy(rng.uniform(limits[0], limits[1], (count, 1, 1))).float()
