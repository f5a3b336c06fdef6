"""The one reader of image files: training, calibration, evaluation and prediction see the same pixels.

stored as                                   read as
8 bits a channel, any colour mode           RGB, or grey for networks with one input channel
9 to 16 bits a channel                      the upper 8 bits: the format's white is white
32-bit integers, floats                     refused: neither says what white is
transparent (alpha channel or a key)        composited over white
turned (EXIF orientation 2 to 8)            as it is to be shown
several frames (GIF, TIFF, APNG, WebP)      the first frame
CMYK                                        RGB without a colour profile; profiles are ignored everywhere
"""

import io
import logging
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import FileError

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = (255, 255, 255)  # that transparent images are composited over
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "TIFF", "WEBP")  # PIL's names
_ORIENTATION = 0x0112  # EXIF tag
_TRANSPOSE = {  # from orientation to PIL's name of what makes the image upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0  # a value of the latter
_UNDEFINED = {"I": "signed or 32-bit integers", "F": "floating-point numbers"}  # modes without a defined white
_KEY_BITS = {
    "L;2": 2,
    "L;4": 4,
    "RGB;16B": 16,
}  # from how a PNG's pixels are stored to the bits of its transparency key


class UnreadableImageError(Exception):
    """Why an image cannot be read."""


class ImageFacts(NamedTuple):
    """How an image is stored."""

    format: str  # PIL's name
    mode: str  # PIL's name
    width: int  # in pixels, as it is shown
    height: int
    orientation: int  # EXIF: 1 is upright, 2 to 8 are mirrored and turned
    transparent: bool
    animated: bool


def read_image(file: str | Path, channels: int = 3, *, reduction: int = 1) -> Tensor:
    """Read an image file.

    Args:
        file: Path of a file in one of FORMATS.
        channels: 3 for RGB, 1 for grey.
        reduction: 1, 2, 4 or 8: how many times smaller a JPEG is decoded, in less time. Its pixels are then about the
            means of so many pixels in both directions. Other formats are not decoded smaller.

    Returns:
        uint8 (channels, H, W), as the table above says.

    Raises:
        FileError: The file cannot be read or decoded, or its pixels have no defined white.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        with without_pil_messages(), _opened(read_regular_file(file), reduction) as (image, orientation):
            pixels = np.array(decoded(image, orientation, mode))
    except UnreadableImageError as error:
        raise FileError(f"cannot read the image {file}: {error}; remove or replace it") from None
    except OSError as error:
        raise FileError(f"cannot read the image {file}: {error.strerror}") from None
    height, width = pixels.shape[:2]
    return torch.from_numpy(pixels.reshape(height, width, channels)).permute(2, 0, 1)


def read_regular_file(file: str | Path) -> bytes:
    """Return the content of a file that is no folder, pipe or device, of which reading may never end.

    Raises:
        OSError: It cannot be read.
        UnreadableImageError: It is not a regular file.
    """
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise UnreadableImageError("it is not a regular file")
    with open(file, "rb") as opened:
        return opened.read()


def check_image(content: bytes) -> ImageFacts:
    """Decode the content of an image file and return how it is stored.

    Raises:
        UnreadableImageError: `read_image` could not read it.
    """
    with _opened(content) as (image, orientation):
        decoded(image, orientation, "RGB")
        width, height = image.size
        if orientation > 4 and image.format != "TIFF":  # PIL has TIFF's size as it is shown
            width, height = height, width
        return ImageFacts(
            format=image.format or "",
            mode=image.mode,
            width=width,
            height=height,
            orientation=orientation,
            transparent=image.has_transparency_data,
            animated=_is_animated(image),
        )


@contextmanager
def without_pil_messages() -> Iterator[None]:
    """Drop PIL's warnings, about damaged EXIF data and large images, and its log messages, in the body.

    In another such body it does nothing: to change a log level takes as long as to read a small image. Not for one of
    several threads.
    """
    log = logging.getLogger("PIL")
    level = log.level
    if level == logging.CRITICAL:
        yield
        return
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@cache
def image_endings() -> frozenset[str]:
    """Return the endings of the files that are read, such as ".png", in lower case."""
    from PIL import Image

    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in FORMATS)


@contextmanager
def _opened(content: bytes, reduction: int = 1) -> Iterator[tuple["Image", int]]:
    """Open an image file's content, load its pixels, and give the image and its EXIF orientation.

    A JPEG is decoded smaller by the reduction, 1, 2, 4 or 8.

    Raises:
        UnreadableImageError: That failed, or the body did.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.format == "JPEG" and reduction > 1:
                image.draft(None, (image.width // reduction, image.height // reduction))
            yield image, _load(image)
    except UnreadableImageError:
        raise
    except Exception as error:  # PIL raises almost anything for a corrupt image
        if not content:
            reason = "it is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = "it is not an image, or in a format that is not read"
        elif isinstance(error, Image.DecompressionBombError):
            reason = _too_many_pixels(error)
        else:
            reason = "it is damaged"
        raise UnreadableImageError(reason) from None


def _too_many_pixels(error: Exception) -> str:
    """Return why an image is too large, from PIL's error, which has the numbers of pixels that it has and may have."""
    numbers = re.findall(r"(\d+) pixels", str(error))
    if len(numbers) != 2:
        return "it has too many pixels"
    return f"it has {int(numbers[0]):,} pixels, but at most {int(numbers[1]):,} are read"


def _load(image: "Image") -> int:
    """Load the pixels, and return the EXIF orientation."""
    _scale_key(image)
    if image.format == "TIFF":  # whose orientation PIL forgets when it loads the pixels, which turns them
        orientation = _orientation(image)
        image.load()
        return orientation
    image.load()  # before the EXIF data, which PIL loads a PNG's pixels for: that could fail, and not again later
    return _orientation(image)


def _orientation(image: "Image") -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or no valid one."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data, without which the image is shown as it is stored
        return 1
    return orientation if orientation in range(1, 9) else 1


def _is_animated(image: "Image") -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second frame is damaged, and not used
        return True


def decoded(image: "Image", orientation: int, mode: str) -> "Image":
    """Return a loaded image in the mode "L" or "RGB".

    Raises:
        UnreadableImageError: Its pixels have no defined white.
    """
    from PIL import Image

    stored_mode = image.mode
    is_scaled = stored_mode == "I" and image.format == "PPM"  # by PIL, to 16 bits
    image = _upright(image, orientation)
    if stored_mode.startswith("I;16") or is_scaled:
        image = _eight_bits(image)
    elif stored_mode in _UNDEFINED:
        raise UnreadableImageError(
            f"its pixels are {_UNDEFINED[stored_mode]}, which do not say what white is (8 or 16 bits a channel do)"
        )
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode)
    background = Image.new("RGBA", image.size, BACKGROUND)
    return Image.alpha_composite(background, image.convert("RGBA")).convert(mode)


def _scale_key(image: "Image") -> None:
    """Scale the transparency key of a PNG to the 8 bits a channel that PIL decodes the pixels to.

    To be called before the pixels are loaded, which forgets how they are stored.
    A colour of 16 bits a channel is thus transparent if its upper 8 bits are those of the key.
    """
    key = image.info.get("transparency")
    tiles: Any = getattr(image, "tile", None)
    if image.format != "PNG" or key is None or not tiles:
        return
    bits = _KEY_BITS.get(tiles[0].args)
    if bits == 16:
        image.info["transparency"] = tuple([value >> 8 for value in key])
    elif bits is not None:
        image.info["transparency"] = key * 255 // (2**bits - 1)


def _upright(image: "Image", orientation: int) -> "Image":
    """Return a loaded image turned as its EXIF orientation says."""
    from PIL.Image import Transpose

    if orientation == 1 or image.format == "TIFF":
        return image
    return image.transpose(Transpose[_TRANSPOSE[orientation]])


def _eight_bits(image: "Image") -> "Image":
    """Return the upper 8 bits of a grey image of more; a transparent level becomes an alpha channel."""
    from PIL import Image

    levels = np.array(image)
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags[_BITS_PER_SAMPLE][0] if _BITS_PER_SAMPLE in tags else 16
    grey = (levels >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    key = image.info.get("transparency")
    if key is None:
        return Image.fromarray(grey)
    alpha = np.where(levels == key, 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
