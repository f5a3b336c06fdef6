"""Detection data made of classification data: its images scattered over textured backgrounds.

An object is an image cropped to its ink, scaled, and drawn in a light ink of its own: each pixel is the background,
moved towards the ink by the image's value there. Ink are the pixels of more than a tenth of full brightness. So boxes
are exact, and each split is made of images of the same split of the classification data.
"""

from math import exp, log

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..utils.rng import generator
from .base import Data, Normalisation, Split, Wanted
from .boxes import BoxSplit

CANVAS = 128  # pixels, the side of an image
INK = 0.1  # of full brightness: what is darker is not cropped to
_LONG = (24, 64)  # pixels, an object's longer side
_SHORT = 16  # pixels, at least, the shorter side, as far as the longer one's limit allows
_MOST = 4  # objects on an image
_EMPTY = 0.05  # share of the images without any
_OVERLAP = 0.1  # of the smaller of two boxes, at most, may be covered
_TRIES = 30  # places tried for an object, which is left out if none is free
_OCTAVES = (4, 8, 16, 32)  # cells along a side of the background's layers, each half as strong as the one before
Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels


def scattered(data: Data, *, side: int, images: tuple[int, int, int], flip: bool = False) -> Data:
    """Images (1, 128, 128) with up to four objects, as many as said for train, val and test; always the same ones.

    `data` is of grey images of this side, light on dark; with `flip`, objects may be mirrored in augmentation.
    """
    splits = {"train": data.train, "val": data.val, "test": data.test}
    train, val, test = (
        _scatter(split, side, count, generator(0, f"scattered {part}"), flip and part == "train")
        for (part, split), count in zip(splits.items(), images, strict=True)
    )
    some = torch.stack([train.read(i) for i in range(min(500, len(train)))]) / 255
    normalise = Normalisation(mean=(round(some.mean().item(), 4),), std=(round(some.std().item(), 4),))
    return Data(task="detect", classes=data.classes, normalise=normalise, train=train, val=val, test=test)


def _scatter(split: Split, side: int, count: int, rng: np.random.Generator, flip: bool) -> BoxSplit:
    numbers = np.where(rng.random(count) < _EMPTY, 0, rng.integers(1, _MOST + 1, count))  # objects on each image
    chosen = torch.from_numpy(rng.integers(len(split), size=int(numbers.sum())))
    ((glyphs, labels),) = split.batches([Wanted(chosen, side)], Normalisation(mean=(0.0,), std=(1.0,)))
    canvases, objects, first = backgrounds(count, rng), [], 0
    for canvas, number in zip(canvases, numbers.tolist(), strict=True):
        here = slice(first, first + number)
        objects.append(scatter(canvas, glyphs[here, 0], labels[here], rng))
        first += number
    pixels = canvases.round_().to(torch.uint8)[:, None]
    return BoxSplit(read=pixels.__getitem__, objects=objects, flip=flip)


def scatter(canvas: Tensor, glyphs: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw images (M, h, w) in 0..1 on a canvas (H, W) in 0..255, in place; returns the objects (M or fewer, 5)."""
    taken: list[Box] = []
    rows = []
    for glyph, label in zip(glyphs, labels.tolist(), strict=True):
        ink = cropped(glyph)
        width, height = scaled(ink.shape[1], ink.shape[0], rng)
        box = place(width, height, taken, rng)
        if box:
            taken.append(box)
            rows.append([label, *(corner / CANVAS for corner in box)])
            draw(canvas, ink, box, rng.uniform(190, 255))
    return torch.tensor(rows).reshape(-1, 5)


def cropped(glyph: Tensor) -> Tensor:
    """An image (h, w) in 0..1 cut to its ink."""
    ink = glyph > INK
    rows, columns = ink.any(1).nonzero(), ink.any(0).nonzero()
    return glyph[rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[-1, 0] + 1]


def scaled(width: int, height: int, rng: np.random.Generator) -> tuple[int, int]:
    """A random size of the same proportions, in pixels; small ones are as frequent as large ones."""
    shorter, longer = sorted((width, height))
    least, most = min(_LONG[1], max(_LONG[0], _SHORT * longer / shorter)), _LONG[1]
    factor = exp(rng.uniform(log(least), log(most))) / longer
    return max(1, round(width * factor)), max(1, round(height * factor))


def place(width: int, height: int, taken: list[Box], rng: np.random.Generator) -> Box | None:
    """A random place on the canvas that hardly overlaps those taken, if one is found."""
    places = rng.integers([0, 0], [CANVAS - width + 1, CANVAS - height + 1], (_TRIES, 2)).tolist()
    boxes = ((x, y, x + width, y + height) for x, y in places)
    return next((box for box in boxes if all(_covered(box, other) <= _OVERLAP for other in taken)), None)


def _covered(one: Box, other: Box) -> float:
    """Share of the smaller box that the other covers: more than their IoU."""
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    return width * height / min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))


def draw(canvas: Tensor, ink: Tensor, box: Box, brightness: float) -> None:
    """Stretch an image (h, w) in 0..1 to the box and move the canvas (H, W) towards the brightness by it, in place."""
    x1, y1, x2, y2 = box
    share = interpolate(ink[None, None], (y2 - y1, x2 - x1), mode="bilinear", antialias=True)[0, 0]
    canvas[y1:y2, x1:x2].lerp_(torch.tensor(brightness), share)


def backgrounds(count: int, rng: np.random.Generator) -> Tensor:
    """Smooth random textures (count, H, W) within 0..255: noise of several scales, around a grey of their own."""
    texture = torch.zeros(count, 1, 1, 1)
    for octave, cells in enumerate(_OCTAVES):
        noise = torch.from_numpy(rng.standard_normal((count, 1, cells, cells), dtype=np.float32))
        texture = interpolate(texture, (cells, cells), mode="bilinear") + noise / 2**octave
    texture = interpolate(texture, (CANVAS, CANVAS), mode="bilinear")[:, 0]
    grey, contrast = (torch.from_numpy(rng.uniform(*limits, (count, 1, 1))).float() for limits in ((50, 130), (10, 35)))
    return texture.mul_(contrast).add_(grey).clamp_(0, 255)
