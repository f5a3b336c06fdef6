"""Images with bounding boxes: the splits that detectors are trained and tested on.

The objects of an image are a float tensor (M, 5): class index, x1, y1, x2, y2, as fractions of the image's width and
height; M = 0 for an image without objects. Images are stretched to squares, not cropped: boxes as fractions stay the
same, and so does the overlap (IoU) of any two of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import tee
from math import ceil

import torch
from torch import Tensor

from ..utils.sizes import pair
from .base import BatchRequest, LabelledBatch, Normalisation
from .digest import tensor_digest, text_digest
from .files import ImageFile, ImageFiles
from .loading import ImageLoader, ImageRequest
from .random_views import RandomViews
from .sources import ImageSource
from .transforms import stretch
from .upload import CPU, uploaded

_SIZE_FOR_VIEWS = 4 / 3  # of the resolution: objects are magnified at random
ImageWithObjects = tuple[Tensor, Tensor]  # uint8 (C, H, W); its objects (M, 5)


@dataclass(frozen=True, kw_only=True)
class BoxSplit:
    """A split whose labels are boxes; images are read one at a time.

    Attributes:
        read: Maps an index to an image, uint8 (C, H, W) of any size.
        objects: The objects (M, 5) of every image.
        flip: Whether augmentation mirrors half of the images.
        device: Where the images of batches are.
    """

    read: ImageSource
    objects: Sequence[Tensor]
    flip: bool = False
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def image_files(self) -> Sequence[ImageFile]:
        """The image files; none if the images are no files."""
        return self.read.images if isinstance(self.read, ImageFiles) else ()

    def digest(self) -> str:
        """Return the SHA-256 of all images and objects."""
        return text_digest([self.read.digest(), tensor_digest(self.labels)])

    def to(self, device: torch.device) -> "BoxSplit":
        """Return the split with its batches' images on a device; those in memory stay there."""
        return replace(self, device=device)

    def subset(self, indices: Sequence[int]) -> "BoxSplit":
        """Return the split of some of the images."""
        objects = [self.objects[index] for index in indices]
        return replace(self, read=self.read.subset(indices), objects=objects)

    @cached_property
    def labels(self) -> Tensor:
        """All objects as targets (M, 6), the first column the index of the image in the split."""
        return targets(self.objects)

    @cached_property
    def _loader(self) -> ImageLoader:
        return ImageLoader()

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request: images stretched to the resolution, and targets (M, 6).

        With a seed, every image is seen from nearer or further, moved, and mirrored (if `flip`) at random; objects
        whose centre is not seen or that end up smaller than a pixel are dropped.

        Raises:
            FileError: An image cannot be read.
        """
        to_load, wanted = tee(requests)
        for_workers = len(self) if self.read.for_workers else 0
        batches = self._loader.batches(self._load_image, targets, map(_to_load, to_load), num_images=for_workers)
        for request, (pixels, labels) in zip(wanted, uploaded(batches, self.device), strict=True):
            images = normalise(pixels)
            if request.seed is None:
                yield images, labels
            else:
                rng = torch.Generator().manual_seed(request.seed)
                views = RandomViews.draw(len(request.indices), rng, request.ranges, mirror=self.flip).of(request.shard)
                yield views.images(images, request.resolution), views.targets(labels, request.resolution)

    def _load_image(self, request: ImageRequest) -> ImageWithObjects:
        """Read an image and stretch it, with changed colours if the request has a seed."""
        image, objects = stretch(self.read(request.image), request.resolution), self.objects[request.image]
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
    """Join the objects (M_i, 5) of several images to targets (M, 6), whose first column is the index of the image."""
    counts = torch.tensor([len(of_image) for of_image in objects], dtype=torch.int64)
    indices = torch.arange(len(objects)).repeat_interleave(counts)
    rows = torch.cat([torch.zeros(0, 5), *objects])  # the empty tensor is for no images at all
    return torch.cat([indices[:, None].float(), rows], 1)
