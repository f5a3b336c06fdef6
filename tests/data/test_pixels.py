import numpy as np
import pytest
import torch
from PIL import Image

from tinynas.data.pixels import to_pixels
from tinynas.utils.errors import InputError

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
RGB = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4


GREY_IMAGES = {
    "array": GREY,
    "array with channels": GREY[:, :, None],
    "doubles": GREY / 255,
    "floats": (GREY / 255).astype(np.float32),
    "tensor": torch.from_numpy(GREY)[None],
    "tensor of floats": torch.from_numpy(GREY)[None] / 255,
    "tensor of halves": torch.from_numpy(GREY)[None].half() / 255,
    "PIL": Image.fromarray(GREY),
}
RGB_IMAGES = {
    "array": RGB,
    "doubles": RGB / 255,
    "tensor": torch.from_numpy(RGB).permute(2, 0, 1),
    "PIL": Image.fromarray(RGB),
    "reversed view": RGB[::-1].copy()[::-1],
}


@pytest.mark.parametrize("image", GREY_IMAGES.values(), ids=GREY_IMAGES)
def test_grey_images_of_all_types_are_the_same_pixels(image):
    pixels = to_pixels(image, "x")
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.from_numpy(GREY)[None])


@pytest.mark.parametrize("image", RGB_IMAGES.values(), ids=RGB_IMAGES)
def test_colour_images_of_all_types_are_the_same_pixels(image):
    assert torch.equal(to_pixels(image, "x"), torch.from_numpy(RGB).permute(2, 0, 1))


def test_pil_images_of_other_modes_are_converted():
    transparent = Image.fromarray(np.dstack([RGB, np.zeros((4, 5), np.uint8)]))
    assert (to_pixels(transparent, "x") == 255).all(), "over white"
    palette = Image.fromarray(RGB).quantize(64)
    assert torch.equal(to_pixels(palette, "x"), to_pixels(palette.convert("RGB"), "x"))
    assert to_pixels(Image.fromarray(GREY > 100), "x").unique().tolist() == [0, 255]
    assert torch.equal(to_pixels(Image.fromarray(GREY.astype(np.uint16) * 256 + 7), "x")[0], torch.from_numpy(GREY))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("photo.png", "train[3] is of the type str; expected a PIL image"),
        (None, "train[3] is of the type NoneType"),
        (np.zeros((4, 5, 2), np.uint8), "train[3] has the shape (4, 5, 2); expected an array (H, W) or (H, W, C)"),
        (np.zeros((0, 5), np.uint8), "has the shape (0, 5)"),
        (torch.zeros(4, 5, 3), "train[3] has the shape (4, 5, 3); expected a tensor (C, H, W) with 1 or 3"),
        (torch.zeros(1, 3, 4, 5), "has the shape (1, 3, 4, 5)"),
        (GREY.astype(np.int64), "train[3] is of int64; expected uint8, or floats from 0 to 1"),
        (GREY.astype(np.float32), "has values from 0 to 228; expected uint8, or floats from 0 to 1, not normalised"),
        (GREY / 255 - 0.5, "has values from -0.5 to 0.3941"),
        (np.full((4, 5), np.nan), "has values from nan to nan"),
        (np.array([[0.5, np.inf]]), "to inf"),
        (Image.fromarray(GREY.astype(np.float32)), "cannot be used: its pixels are floating-point numbers"),
    ],
)
def test_other_images_are_named_in_one_line(image, message):
    with pytest.raises(InputError) as raised:
        to_pixels(image, "train[3]")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
