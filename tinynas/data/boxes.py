"""Images with bounding boxes: the splits that detectors are trained and tested on.

The objects of an image are a float tensor (M, 7), whose columns objects.py names: class index, the box as fractions of
the image's width and height, area and kind; M = 0 for an image without objects. Images are stretched to squares, not
cropped: boxes as fractions stay the same, and so does the overlap (IoU) of any two of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, nan, prod

import torch
from torch import Tensor

from ..utils.sizes import Size, pair
from .base import BatchRequest, LabelledBatch, Normalisation
from .cached import cache_bytes
from .digest import tensor_digest, text_digest
from .files import ImageFile, ImageFiles
from .loading import ImageLoader, ImageRequest
from .objects import BOX, COLUMNS, complete
from .random_views import RandomViews
from .sources import ImageSource, num_pixels
from .transforms import stretch
from .upload import CPU, uploaded

_CHANNELS = 3  # at most
_READ_AT_ONCE = 32  # images, when all are read
_SIZE_FOR_VIEWS = 4 / 3  # of the resolution: objects are magnified at random
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

    @cached_property
    def _kept(self) -> dict[Size, Tensor]:
        """Images of the split in memory, stretched to a size, by the size."""
        return {}

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request: images stretched to the resolution, and targets (M, 8).

        With a seed, every image is seen from nearer or further, moved, and mirrored (if `flip`) at random; objects
        whose centre is not seen or that end up smaller than a pixel are dropped. Image files are then read once, and
        kept in memory while they fit.

        Raises:
            FileError: An image cannot be read.
        """
        requests = list(requests)
        to_load = [_to_load(request) for request in requests]
        for_workers = 0 if self._keep_images_of(to_load) or not self.read.for_workers else len(self)
        batches = self._loader.batches(self._load_image, targets, to_load, num_images=for_workers)
        for request, (pixels, labels) in zip(requests, uploaded(batches, self.device), strict=True):
            images = normalise(pixels)
            if request.seed is None:
                yield images, labels
            else:
                rng = torch.Generator().manual_seed(request.seed)
                views = RandomViews.draw(len(request.indices), rng, request.ranges, mirror=self.flip).of(request.shard)
                yield views.images(images, request.resolution), views.targets(labels, request.resolution)

    def _keep_images_of(self, requests: Sequence[BatchRequest]) -> bool:
        """Keep all images of the split in memory, if those of training batches are files and fit.

        They are kept as they are loaded, stretched, for each size. Returns whether all requested images are kept.
        """
        sizes = {request.resolution for request in requests if request.seed is not None}
        for size in sizes - set(self._kept):
            shape = len(self), _CHANNELS, *pair(size)
            if self.read.for_workers and prod(shape) <= cache_bytes(CPU):
                self._kept[size] = self._read_all(size)
        return bool(sizes) and sizes <= set(self._kept)

    def _read_all(self, size: Size) -> Tensor:
        """Read all images of the split, stretched: uint8 (N, C, *size)."""
        requests = [BatchRequest(indices, size) for indices in torch.split(torch.arange(len(self)), _READ_AT_ONCE)]
        batches = self._loader.batches(self._load_image, targets, requests, num_images=len(self))
        images = torch.empty(0)
        for request, (pixels, _) in zip(requests, batches, strict=True):
            if not len(images):
                images = pixels.new_empty(len(self), *pixels.shape[1:])
            images[request.indices] = pixels
        return images

    def _load_image(self, request: ImageRequest) -> ImageWithObjects:
        """Read an image and stretch it, with changed colours if the request has a seed."""
        kept, objects = self._kept.get(request.resolution), self.objects[request.image]
        image = stretch(self.read(request.image), request.resolution) if kept is None else kept[request.image]
        if request.seed is None:
            return image, objects
        torch.default_generator.manual_seed(request.seed)  # torch.manual_seed takes longer than all the rest
        return request.ranges.jitter(image), objects


def _to_load(request: BatchRequest) -> BatchRequest:
    """Return the request of the images of which those of a request are made: larger ones for random views."""
    if request.seed is None:
        return request
    height, width = pair(request.resolution)
    return request._replace(resolution=(ceil(_SIZE_FOR_VIEWS * height), ceil(_SIZE_FOR_VIEWS * width)))


def targets(objects: Sequence[Tensor]) -> Tensor:
    """Join the objects (M_i, 7) of several images to targets (M, 8), whose first column is the index of the image."""
    counts = torch.tensor([len(of_image) for of_image in objects], dtype=torch.int64)
    indices = torch.arange(len(objects)).repeat_interleave(counts)
    rows = torch.cat([torch.zeros(0, COLUMNS), *objects])  # the empty tensor is for no images at all
    return torch.cat([indices[:, None].float(), rows], 1)
