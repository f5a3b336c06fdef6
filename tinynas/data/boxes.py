"""Images with boxes round their objects: what a detector is trained and tested on.

The objects of an image are a float tensor (M, 5): class index, x1, y1, x2, y2, in 0..1 of the image's sides; an image
without any has M = 0. Images are stretched to squares, not cropped: boxes in 0..1 stay as they are, and so does the
overlap (IoU) of any two of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import torch
from torch import Tensor

from .base import Labelled, Normalisation, Wanted
from .loading import ImageFiles, WantedImage, load
from .transforms import stretch

_MOSAICS = 0.5  # share of the images that strong augmentation makes mosaics of
_CORNERS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))  # x, y of a mosaic's tiles
Picture = tuple[Tensor, Tensor]  # uint8 (C, H, W); its objects (M, 5)


@dataclass(frozen=True, kw_only=True)
class BoxSplit:
    """Images read one at a time, and the objects on them; a Split whose labels are boxes."""

    read: Callable[[int], Tensor]  # index -> uint8 (C, H, W) of any size; ImageFiles are read by worker processes
    objects: Sequence[Tensor]  # of each image, (M, 5)
    flip: bool = False  # whether augmentation may mirror an image

    def __len__(self) -> int:
        return len(self.objects)

    @cached_property
    def labels(self) -> Tensor:
        """All objects as targets (M, 6), the first column the index of the image in the split."""
        return targets(self.objects)

    def batches(self, wanted: Sequence[Wanted], normalise: Normalisation) -> Iterator[Labelled]:
        """The wanted batches, images stretched; targets are (M, 6).

        With a seed, each image is mirrored (if `flip`), zoomed out of or cropped at random, and objects whose centre
        is cut off or that end up under a pixel wide are dropped. Strong augmentation first makes mosaics of four images
        of half of them, which halves the objects: not for networks that see them at a few pixels. Raises FileError if
        an image cannot be read.
        """
        fill = tuple(round(255 * mean) for mean in normalise.mean)
        make = partial(self._make, fill)
        files = len(self) if isinstance(self.read, ImageFiles) else 0
        for images, labels in load(make, _joined, wanted, files=files):
            yield normalise(images), labels

    def _make(self, fill: tuple[int, ...], wanted: WantedImage) -> Picture:
        image, objects = self.read(wanted.image), self.objects[wanted.image]
        if wanted.seed is None:
            return stretch(image, wanted.resolution), objects
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(wanted.seed)  # torch.manual_seed takes longer than the rest
            mosaic = wanted.strong and torch.rand(()).item() < _MOSAICS
            if mosaic:
                chosen = [wanted.image, *torch.randint(len(self), (3,)).tolist()]
                image, objects = tiled([(self.read(i), self.objects[i]) for i in chosen], wanted.resolution)
            change = augmentation(wanted.resolution, fill, flip=self.flip, zoom_out=not mosaic, empty=not len(objects))
            return changed(image, objects, change)


def targets(objects: Sequence[Tensor]) -> Tensor:
    """Objects (M_i, 5) of a sequence of images -> targets (M, 6), each with the index of its image before it."""
    counts = torch.tensor([len(of_image) for of_image in objects], dtype=torch.int64)
    images = torch.arange(len(objects)).repeat_interleave(counts)
    return torch.cat([images[:, None].float(), torch.cat([torch.zeros(0, 5), *objects])], 1)


def tiled(pictures: Sequence[Picture], resolution: int) -> Picture:
    """A mosaic: four pictures, two by two, each stretched to the resolution; so twice as high and wide."""
    tiles = [stretch(image, resolution) for image, _ in pictures]
    image = torch.cat([torch.cat(tiles[:2], 2), torch.cat(tiles[2:], 2)], 1)
    moved = [
        torch.cat([objects[:, :1], objects[:, 1:] / 2 + torch.tensor(corner).repeat(2)], 1)
        for (_, objects), corner in zip(pictures, _CORNERS, strict=True)
    ]
    return image, torch.cat(moved)


@cache
def augmentation(resolution: int, fill: tuple[int, ...], *, flip: bool, zoom_out: bool, empty: bool) -> Any:
    """A random change of {"image", "boxes", "labels"}, ending at the resolution; `fill` is the colour round a picture.

    `empty` is for images without objects, of which any part may be cropped.
    """
    from torchvision.transforms import v2

    # Of the seven smallest overlaps that the SSD paper draws from, only "any" and "the whole image" are left: small
    # objects never fill a tenth of a crop, and looking for one that they do takes 7 ms an image instead of 1.
    overlaps = [0.0, 1.0]
    crop = v2.RandomResizedCrop(resolution, (0.3, 1.0)) if empty else v2.RandomIoUCrop(sampler_options=overlaps)
    zoom = v2.RandomZoomOut(list(fill), (1.0, 1.5), p=1.0)
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5 if flip else 0.0),
            v2.RandomChoice([zoom, crop], [0.25, 0.75]) if zoom_out else crop,
            v2.Resize((resolution, resolution)),
            v2.ClampBoundingBoxes(),  # what rounding put outside
            v2.SanitizeBoundingBoxes(),
        ]
    )


def changed(image: Tensor, objects: Tensor, change: Any) -> Picture:
    """A picture after a transform of torchvision's, which counts boxes in pixels."""
    from torchvision import tv_tensors

    height, width = image.shape[-2:]
    pixels = objects[:, 1:] * torch.tensor([width, height, width, height])
    boxes = tv_tensors.BoundingBoxes(pixels, format="XYXY", canvas_size=(height, width))
    after = change({"image": tv_tensors.Image(image), "boxes": boxes, "labels": objects[:, 0]})
    height, width = after["image"].shape[-2:]
    sides = torch.tensor([width, height, width, height])
    corners = after["boxes"].as_subclass(Tensor) / sides
    return after["image"].as_subclass(Tensor), torch.cat([after["labels"][:, None], corners], 1)


def _joined(pictures: list[Picture]) -> Picture:
    return torch.stack([image for image, _ in pictures]), targets([objects for _, objects in pictures])
