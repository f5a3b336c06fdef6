"""How far the random changes of training images go, where settings say so."""

from dataclasses import dataclass

from torch import Tensor

_FILE_CROP_SCALE = 0.25  # smallest area of a crop of an image file, where no setting says


@dataclass(frozen=True, kw_only=True)
class AugmentationRanges:
    """How far random changes of an image go. By default a data set crops in its own way and changes no colours.

    Attributes:
        crop_scale: Smallest area of a random crop, as a fraction of the image's; None: the data set's own way.
        brightness: Largest relative change of brightness.
        saturation: Largest relative change of saturation.
        mirror: Whether half of the images are mirrored, where the data set allows it.
        reach: How far a data set's own shifts and crops go, as a fraction: of the largest shift of images in memory,
            which is at least a pixel, of the largest part that a crop cuts off an image file, and of the range by which
            objects with boxes become larger or smaller.
    """

    crop_scale: float | None = None
    brightness: float = 0.0
    saturation: float = 0.0
    mirror: bool = True
    reach: float = 1.0

    @property
    def changes_each(self) -> bool:
        """Whether images in memory are changed one by one: cropped, or in their colours."""
        return self.crop_scale is not None or self.brightness > 0 or self.saturation > 0

    @property
    def file_crop_scale(self) -> float:
        """The smallest area of a random crop of an image file, as a fraction of the image's."""
        if self.crop_scale is not None:
            return self.crop_scale
        return 1 - self.reach * (1 - _FILE_CROP_SCALE)

    def shift(self, largest: int) -> int:
        """Return the largest shift in pixels, from a data set's own; 0 if it has none, or if images are cropped."""
        if not largest or self.crop_scale is not None:
            return 0
        return max(1, int(self.reach * largest))

    def crop(self, image: Tensor, resolution: tuple[int, int], default: float) -> Tensor:
        """Return a random part of an image, resized: uint8 (C, H, W) to uint8 (C, height, width).

        The part has a random area, from the smallest to the whole image, and an aspect ratio between 3:4 and 4:3
        (Szegedy et al., CVPR 2015). Random numbers are those of PyTorch's global generator.

        Args:
            image: The image.
            resolution: Height and width of the result.
            default: Smallest area, if there is no `crop_scale`.
        """
        from torchvision.transforms import v2

        scale = default if self.crop_scale is None else self.crop_scale
        cropped: Tensor = v2.RandomResizedCrop(resolution, (scale, 1.0))(image)
        return cropped

    def jitter(self, image: Tensor) -> Tensor:
        """Change brightness and saturation of an image, uint8 (C, H, W), by random factors, in random order.

        A factor is drawn uniformly between 1 minus and 1 plus the largest change. Grey images have no saturation.
        Random numbers are those of PyTorch's global generator; none are drawn if there is nothing to change.
        """
        if not (self.brightness or self.saturation):
            return image
        from torchvision.transforms import v2

        jittered: Tensor = v2.ColorJitter(brightness=self.brightness, saturation=self.saturation)(image)
        return jittered


DEFAULT_RANGES = AugmentationRanges()
