"""Images with bounding boxes: the splits that detectors are trained and tested on.

The objects of an image are a float tensor (M, 7), whose columns objects.py names: class index, the box as fractions of
the image's width and height, area and kind; M = 0 for an image without objects. Images are stretched to squares, not
cropped: boxes as fractions stay the same, and so does the overlap (IoU) of any two of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from math import nan
from typing import Any

import torch
from torch import Tensor

from ..utils.sizes import Size, pair
from .base import BatchRequest, LabelledBatch, Normalisation
from .digest import tensor_digest, text_digest
from .files import ImageFile, ImageFiles
from .loading import ImageLoader, ImageRequest
from .objects import BOX, COLUMNS, complete, with_boxes
from .sources import ImageSource, num_pixels
from .transforms import stretch
from .upload import CPU, uploaded

_MOSAICS = 0.5  # fraction of the images that strong augmentation replaces by mosaics
_CORNERS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))  # x, y of the tiles of a mosaic
_AREA_TOLERANCE = 1e-3  # fraction of an area by which rounding may change it
ImageWithObjects = tuple[Tensor, Tensor]  # uint8 (C, H, W); its objects (M, 7)


@dataclass(frozen=True, kw_only=True)
class BoxSplit:
    """A split whose labels are boxes; images are read one at a time.

    Attributes:
        read: Maps an index to an image, uint8 (C, H, W) of any size.
        objects: The objects (M, 7) of every image; rows (M, 5) are completed as `complete` does.
        flip: Whether augmentation mirrors half of the images.
        device: Where the images of batches are.
    """

    read: ImageSource
    objects: Sequence[Tensor]
    flip: bool = False
    device: torch.device = CPU

    def __post_init__(self) -> None:
        objects = list(self.objects)
        for index, rows in enumerate(objects):
            if rows.shape[1] != COLUMNS:
                objects[index] = complete(rows, num_pixels(self.read, index) if len(rows) else nan)
        object.__setattr__(self, "objects", objects)

    def __len__(self) -> int:
        return len(self.objects)

    @cached_property
    def pixels(self) -> Tensor:
        """Width times height of every original image, (N,); NaN where it is unknown."""
        return torch.tensor([num_pixels(self.read, index) for index in range(len(self))])

    @property
    def image_files(self) -> Sequence[ImageFile]:
        """The image files; none if the images are no files."""
        return self.read.images if isinstance(self.read, ImageFiles) else ()

    def digest(self) -> str:
        """Return the SHA-256 of all images and objects.

        Areas and kinds are a part of it if there are others than those of `complete`.
        """
        box_labels = self.labels[:, : 1 + BOX.stop]
        digests = [self.read.digest(), tensor_digest(box_labels)]
        if not self._has_default_columns():
            digests.append(tensor_digest(self.labels[:, 1 + BOX.stop :]))
        return text_digest(digests)

    def _has_default_columns(self) -> bool:
        """Return whether areas and kinds are those of `complete`."""
        for index, rows in enumerate(self.objects):
            if len(rows):
                default = complete(rows[:, : BOX.stop], num_pixels(self.read, index))
                if not torch.allclose(rows, default, rtol=_AREA_TOLERANCE, atol=0, equal_nan=True):
                    return False
        return True

    def to(self, device: torch.device) -> "BoxSplit":
        """Return the split with its batches' images on a device; those in memory stay there."""
        return replace(self, device=device)

    def subset(self, indices: Sequence[int]) -> "BoxSplit":
        """Return the split of some of the images."""
        objects = [self.objects[index] for index in indices]
        return replace(self, read=self.read.subset(indices), objects=objects)

    @cached_property
    def labels(self) -> Tensor:
        """All objects as targets (M, 8), the first column the index of the image in the split."""
        return targets(self.objects)

    @cached_property
    def _loader(self) -> ImageLoader:
        return ImageLoader()

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request: images stretched to the resolution, and targets (M, 8).

        With a seed, every image is mirrored (if `flip`) and zoomed out or cropped at random; objects whose centre is
        cropped away or that end up smaller than a pixel are dropped. Strong augmentation first replaces half of the
        images by mosaics of four, which halves the objects: not for networks that see them at a few pixels.

        Raises:
            FileError: An image cannot be read.
        """
        fill = tuple(round(255 * mean) for mean in normalise.mean)
        load_image = partial(self._load_image, fill)
        for_workers = len(self) if self.read.for_workers else 0
        batches = self._loader.batches(load_image, targets, requests, num_images=for_workers)
        for pixels, labels in uploaded(batches, self.device):
            yield normalise(pixels), labels

    def _load_image(self, fill: tuple[int, ...], request: ImageRequest) -> ImageWithObjects:
        """Read an image and resize it, augmented if the request has a seed."""
        image, objects = self.read(request.image), self.objects[request.image]
        if request.seed is None:
            return stretch(image, request.resolution), objects
        torch.default_generator.manual_seed(request.seed)  # torch.manual_seed takes longer than all the rest
        is_mosaic = request.strong and torch.rand(()).item() < _MOSAICS
        if is_mosaic:
            image, objects = self._mosaic_with_random_images(image, objects, request.resolution)
        image = request.ranges.jitter(image)
        augment = box_augmentation(
            request.resolution, fill, flip=self.flip, zoom_out=not is_mosaic, empty=not len(objects)
        )
        return apply_transform(augment, image, objects)

    def _mosaic_with_random_images(self, image: Tensor, objects: Tensor, resolution: Size) -> ImageWithObjects:
        tiles = [(image, objects)]
        for index in torch.randint(len(self), (3,)).tolist():
            tiles.append((self.read(index), self.objects[index]))
        return mosaic(tiles, resolution)


def targets(objects: Sequence[Tensor]) -> Tensor:
    """Join the objects (M_i, 7) of several images to targets (M, 8), whose first column is the index of the image."""
    counts = torch.tensor([len(of_image) for of_image in objects], dtype=torch.int64)
    indices = torch.arange(len(objects)).repeat_interleave(counts)
    rows = torch.cat([torch.zeros(0, COLUMNS), *objects])  # the empty tensor is for no images at all
    return torch.cat([indices[:, None].float(), rows], 1)


def mosaic(tiles: Sequence[ImageWithObjects], resolution: Size) -> ImageWithObjects:
    """Join four images, each stretched to the resolution, to one of twice the height and width."""
    images, objects = [], []
    for (image, of_image), corner in zip(tiles, _CORNERS, strict=True):
        images.append(stretch(image, resolution))
        offset = torch.tensor(corner).repeat(2)
        objects.append(with_boxes(of_image, of_image[:, BOX] / 2 + offset))
    upper, lower = torch.cat(images[:2], 2), torch.cat(images[2:], 2)
    return torch.cat([upper, lower], 1), torch.cat(objects)


@cache
def box_augmentation(resolution: Size, fill: tuple[int, ...], *, flip: bool, zoom_out: bool, empty: bool) -> Any:
    """Return a random transform of {"image", "boxes", "labels"} that resizes to the resolution.

    Args:
        resolution: Image size of the result, in pixels.
        fill: Colour of the border that zooming out adds, one value per channel.
        flip: Mirror half of the images.
        zoom_out: Zoom out a quarter of the images, instead of cropping them.
        empty: The images have no objects, so that any part of them may be cropped.
    """
    from torchvision.transforms import v2

    # Of the seven smallest overlaps that the SSD paper draws from, only "any" and "the whole image" are used: small
    # objects never fill a tenth of a crop, and looking for a crop that they do takes 7 ms an image instead of 1.
    overlaps = [0.0, 1.0]
    crop = v2.RandomResizedCrop(pair(resolution), (0.3, 1.0)) if empty else v2.RandomIoUCrop(sampler_options=overlaps)
    zoom = v2.RandomZoomOut(list(fill), (1.0, 1.5), p=1.0)
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5 if flip else 0.0),
            v2.RandomChoice([zoom, crop], [0.25, 0.75]) if zoom_out else crop,
            v2.Resize(pair(resolution)),
            v2.ClampBoundingBoxes(),  # rounding can move a box over the border
            v2.SanitizeBoundingBoxes(),
        ]
    )


def apply_transform(transform: Any, image: Tensor, objects: Tensor) -> ImageWithObjects:
    """Apply a torchvision transform, which takes boxes in pixels, to an image (C, H, W) and its objects (M, 7).

    Objects keep the areas that they have on the original image.
    """
    from torchvision import tv_tensors

    height, width = image.shape[-2:]
    pixels = objects[:, BOX] * torch.tensor([width, height, width, height])
    boxes = tv_tensors.BoundingBoxes(pixels, format="XYXY", canvas_size=(height, width))
    result = transform({"image": tv_tensors.Image(image), "boxes": boxes, "labels": torch.arange(len(objects))})
    height, width = result["image"].shape[-2:]
    fractions = result["boxes"].as_subclass(Tensor) / torch.tensor([width, height, width, height])
    return result["image"].as_subclass(Tensor), with_boxes(objects[result["labels"]], fractions)
