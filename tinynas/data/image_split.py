"""Labelled images of any sizes, read one at a time: the splits that classifiers are trained and tested on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..utils.errors import FileError
from .base import BatchRequest, Data, LabelledBatch, Normalisation, Split
from .digest import text_digest
from .files import ImageFile, ImageFiles
from .loading import ImageLoader, ImageRequest
from .sources import CheckedImages
from .transforms import BILINEAR, RandomCrop, center_crop
from .trivial_augment import RandomChanges
from .upload import CPU, uploaded

CROP = 7 / 8  # of the shorter side of a photograph, in evaluation


@dataclass(frozen=True, kw_only=True)
class ImageSplit:
    """A split of labelled images of any sizes, read one at a time; augmented by cropping and mirroring.

    Attributes:
        read: Maps an index to an image, uint8 (C, H, W).
        labels: Class indices (N,).
        crop: As in `Data`.
        flip: Whether augmentation mirrors half of the images.
        interpolation: How images are resized that are not augmented, one of INTERPOLATIONS.
        device: Where the images of batches are.
    """

    read: CheckedImages
    labels: Tensor
    crop: float = CROP
    flip: bool = True
    interpolation: str = BILINEAR
    device: torch.device = CPU

    @property
    def image_files(self) -> Sequence[ImageFile]:
        """The image files; none if the images are no files."""
        return self.read.images if isinstance(self.read, ImageFiles) else ()

    @property
    def files(self) -> list[str]:
        """The paths of the image files."""
        return [image.path for image in self.image_files]

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """Return the SHA-256 of all images and labels."""
        rows = []
        for digest, label in zip(self.read.digests(), self.labels.tolist(), strict=True):
            rows.append(f"{digest} {label}")
        return text_digest(rows)

    def to(self, device: torch.device) -> "ImageSplit":
        """Return the split with its batches' images on a device."""
        return replace(self, device=device)

    def subset(self, indices: Sequence[int]) -> "ImageSplit":
        """Return the split of some of the images."""
        return replace(self, read=self.read.subset(indices), labels=self.labels[list(indices)])

    @cached_property
    def _loader(self) -> ImageLoader:
        return ImageLoader()

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request. Raises FileError if an image cannot be read."""
        for_workers = len(self) if self.read.for_workers else 0
        loaded = self._loader.batches(self._load_sample, torch.stack, requests, num_images=for_workers)
        for pixels, labels in uploaded(loaded, self.device):
            yield normalise(pixels), labels

    def _load_sample(self, request: ImageRequest) -> tuple[Tensor, Tensor]:
        """Return an image as `_load_image` does, and its label."""
        return self._load_image(request), self.labels[request.image]

    def _load_image(self, request: ImageRequest) -> Tensor:
        """Read an image and resize it, augmented if the request has a seed: uint8 (C, H, W)."""
        if request.seed is None:
            return center_crop(self.read(request.image), request.resolution, self.crop, self.interpolation)
        torch.default_generator.manual_seed(request.seed)  # torch.manual_seed takes longer
        crop = RandomCrop.draw(*self.read.size(request.image), request.resolution, request.ranges.file_crop_scale)
        if not (self.flip and request.ranges.mirror):
            crop = crop._replace(mirrored=False)
        changed = request.ranges.jitter(self._cropped(request.image, crop))
        if not request.strong:
            return changed
        rng = torch.Generator().manual_seed(request.seed)
        return RandomChanges.draw(1, rng).apply(changed[None])[0]

    def _cropped(self, index: int, crop: RandomCrop) -> Tensor:
        """Read an image and crop it: uint8 (C, H, W)."""
        try:
            return crop(self.read(index, reduction=crop.reduction))
        except ValueError as error:
            name = self.read.name(index)
            raise FileError(f"the image {name} has changed since it was checked: {error}; restore it") from None


def with_preprocessing(data: Data, *, normalise: Normalisation, crop: float, interpolation: str) -> Data:
    """Return a data set with its images prepared as those of a model are.

    Images in memory and images with boxes have no crop and no choice of interpolation: they are only normalised so.

    Args:
        data: The data set.
        normalise: As in `Data`.
        crop: As in `Data`.
        interpolation: One of INTERPOLATIONS.
    """
    train, val, test = [_with_crop(split, crop, interpolation) for split in (data.train, data.val, data.test)]
    return replace(data, normalise=normalise, crop=crop, train=train, val=val, test=test)


def _with_crop(split: Split, crop: float, interpolation: str) -> Split:
    return replace(split, crop=crop, interpolation=interpolation) if isinstance(split, ImageSplit) else split
