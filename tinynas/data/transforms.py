"""Transforms of images: resizing, cropping, augmentation."""

import torch
from torch import Tensor


def stretch(image: Tensor, resolution: int) -> Tensor:
    """Bilinear, antialiased: uint8 (C, H, W) -> uint8 (C, resolution, resolution), whatever its shape was."""
    from torchvision.transforms.v2 import functional

    stretched: Tensor = functional.resize(image, [resolution, resolution])
    return stretched


def trivial_augment(images: Tensor, seed: int) -> Tensor:
    """Each image changed in one random way of random strength: uint8 (N, C, H, W), the same shape."""
    from torchvision.transforms import v2

    change = v2.TrivialAugmentWide()
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return torch.stack([change(image) for image in images])


def resize(images: Tensor, resolution: int) -> Tensor:
    """Bilinear, antialiased: (N, C, H, W) -> (N, C, resolution, resolution)."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    return torch.nn.functional.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)


def middle(image: Tensor, resolution: int, crop: float) -> Tensor:
    """The square in the middle of an image (C, H, W), `crop` of its shorter side, as (C, resolution, resolution)."""
    from torchvision.transforms import v2

    whole: Tensor = v2.CenterCrop(resolution)(v2.Resize(round(resolution / crop))(image))
    return whole
