"""The images on which the batch-norm statistics of a retrained network are estimated anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import Tensor

from ..data.augmentation import AugmentationRanges
from ..data.base import Data
from ..data.cached import cache_bytes, compact, normalised
from ..experiment.plans import RetrainPlan
from ..training.augmentation import augmentation_ranges
from ..utils.distributed import device
from ..utils.sizes import Size, pair

_BYTES = 4  # of a float


@dataclass(frozen=True, kw_only=True)
class RecalibrationImages:
    """A fixed choice of training images, in batches (N, C, H, W): in memory, or read anew each time if they are many.

    Attributes:
        data: The data set.
        resolution: Image size in pixels.
        images: How many images.
        ranges: How far their augmentation goes; None: they are not augmented.
        kept: The batches, compact, if they are few enough.
    """

    data: Data
    resolution: Size
    images: int
    ranges: AugmentationRanges | None
    kept: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, plan: RetrainPlan, data: Data) -> "RecalibrationImages":
        """Return the images that a plan asks for."""
        config, resolution = plan.config, plan.arch.resolution
        images = min(config.recalibration_images, len(data.train))
        ranges = augmentation_ranges(config.recipe) if config.augment_recalibration else None
        num_bytes = _BYTES * images * data.channels * prod(pair(resolution))
        kept: tuple[Tensor, ...] = ()
        if images > 0 and num_bytes <= cache_bytes(device()):
            batches = data.read_calibration_batches(resolution, images, ranges=ranges)
            kept = tuple(compact(batch, data.normalise) for batch in batches)
        return cls(data=data, resolution=resolution, images=images, ranges=ranges, kept=kept)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches."""
        if not self.kept:
            yield from self.data.read_calibration_batches(self.resolution, self.images, ranges=self.ranges)
        for batch in self.kept:
            yield normalised(batch, self.data.normalise)
