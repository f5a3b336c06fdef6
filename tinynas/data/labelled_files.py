"""Classification data whose images are files, read one at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..utils.errors import FileError
from .augmentation import FILE_CROP_SCALE
from .base import IMAGENET, BatchRequest, Data, LabelledBatch, Normalisation
from .digest import text_digest
from .files import ImageFile, check_files
from .images import read_image
from .loading import ImageLoader, ImageRequest
from .memory import hold_out
from .transforms import RandomCrop, center_crop
from .trivial_augment import RandomChanges
from .upload import CPU, uploaded

CROP = 7 / 8  # of the shorter side of a photograph, in evaluation
Sample = tuple[str, int]  # path and label


@dataclass(frozen=True, kw_only=True)
class FileSplit:
    """A split whose images are files, read one at a time; augmented by cropping and mirroring.

    Attributes:
        image_files: The images.
        labels: Class indices (N,).
        crop: As in `Data`.
        device: Where the images of batches are.
    """

    image_files: Sequence[ImageFile]
    labels: Tensor
    crop: float
    device: torch.device = CPU

    @property
    def files(self) -> list[str]:
        """The images' paths."""
        return [image.path for image in self.image_files]

    def __len__(self) -> int:
        return len(self.image_files)

    def digest(self) -> str:
        """Return the SHA-256 of all images and labels."""
        rows = []
        for image, label in zip(self.image_files, self.labels.tolist(), strict=True):
            rows.append(f"{image.digest} {label}")
        return text_digest(rows)

    def to(self, device: torch.device) -> "FileSplit":
        """Return the split with its batches' images on a device."""
        return replace(self, device=device)

    def subset(self, indices: Sequence[int]) -> "FileSplit":
        """Return the split of some of the images."""
        image_files = [self.image_files[index] for index in indices]
        return replace(self, image_files=image_files, labels=self.labels[list(indices)])

    @cached_property
    def _loader(self) -> ImageLoader:
        return ImageLoader()

    def batches(self, requests: Iterable[BatchRequest], normalise: Normalisation) -> Iterator[LabelledBatch]:
        """Yield one batch per request. Raises FileError if an image cannot be read."""
        loaded = self._loader.batches(self._load_sample, torch.stack, requests, num_files=len(self))
        for pixels, labels in uploaded(loaded, self.device):
            yield normalise(pixels), labels

    def _load_sample(self, request: ImageRequest) -> tuple[Tensor, Tensor]:
        """Return an image as `_load_image` does, and its label."""
        return self._load_image(request), self.labels[request.image]

    def _load_image(self, request: ImageRequest) -> Tensor:
        """Read an image and resize it, augmented if the request has a seed: uint8 (3, H, W)."""
        file = self.image_files[request.image]
        if request.seed is None:
            return center_crop(read_image(file.path), request.resolution, self.crop)
        assert file.facts is not None, "images that cannot be read are left out"
        smallest_area = FILE_CROP_SCALE if request.ranges.crop_scale is None else request.ranges.crop_scale
        torch.default_generator.manual_seed(request.seed)  # torch.manual_seed takes longer
        crop = RandomCrop.draw(file.facts.height, file.facts.width, request.resolution, smallest_area)
        changed = request.ranges.jitter(_cropped(file, crop))
        if not request.strong:
            return changed
        rng = torch.Generator().manual_seed(request.seed)
        return RandomChanges.draw(1, rng).apply(changed[None])[0]


def _cropped(file: ImageFile, crop: RandomCrop) -> Tensor:
    """Read an image and crop it: uint8 (3, H, W) of the crop's resolution."""
    try:
        return crop(read_image(file.path, reduction=crop.reduction))
    except ValueError as error:
        raise FileError(f"the image {file.path} has changed since it was checked: {error}; restore it") from None


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


def _split(samples: Sequence[Sample]) -> FileSplit:
    paths, labels = [], []
    for path, label in samples:
        paths.append(path)
        labels.append(label)
    return FileSplit(image_files=check_files(paths), labels=torch.tensor(labels, dtype=torch.int64), crop=CROP)
