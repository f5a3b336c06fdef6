import io
import os
import re
import shutil
import struct
import subprocess
import time

import numpy as np
import pytest
import torchvision
from PIL import Image

from pictures import COLOUR, DEEP, GREY, PICTURES, encoded, png, tiff
from tinynas.data.images import UnreadableImageError, check_image, image_endings, read_image, without_pil_messages
from tinynas.utils.errors import FileError

every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


def pixels_of(folder, picture, channels=3):
    """What the reader returns, (H, W, C)."""
    file = folder / picture.name
    file.write_bytes(picture.content)
    return read_image(file, channels).permute(1, 2, 0).numpy()


def difference(pixels, expected):
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    return np.abs(pixels.astype(int) - expected).max()


@every_picture
def test_pixels_are_those_that_the_format_means(picture, tmp_path):
    assert difference(pixels_of(tmp_path, picture), picture.pixels) <= picture.tolerance


@every_picture
def test_one_channel_is_the_luma_of_these_pixels(picture, tmp_path):
    luma = picture.pixels @ np.array([0.299, 0.587, 0.114])
    is_grey = (picture.pixels == picture.pixels[:, :, :1]).all()
    tolerance = picture.tolerance + (0 if is_grey else 1)
    assert difference(pixels_of(tmp_path, picture, 1), np.round(luma)[:, :, None]) <= tolerance


@every_picture
def test_facts_say_how_it_is_stored(picture):
    facts = check_image(picture.content)
    assert (facts.height, facts.width) == picture.pixels.shape[:2]
    assert facts.transparent == (not picture.opaque)
    assert facts.animated == picture.name.startswith("frames")
    orientation = re.match(r"turned([1-8])", picture.name)
    assert facts.orientation == (int(orientation[1]) if orientation else 1)


@every_picture
def test_cut_files_are_errors_or_the_right_pixels(picture, tmp_path):
    length = len(picture.content)
    for cut in sorted({0, 1, 10, 30, *range(length // 9, length, length // 9), length - 1}):
        try:
            pixels = pixels_of(tmp_path, picture._replace(content=picture.content[:cut]))
        except FileError:
            continue
        assert difference(pixels, picture.pixels) <= picture.tolerance, cut


def decodes(content):
    """Whether PIL loads the pixels of an image file."""
    try:
        with without_pil_messages(), Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # PIL raises almost anything
        return False
    return True


@pytest.mark.parametrize("name", ["colour.png", "grey.jpg", "frames.gif", "deep.tif", "turned6.png"])
def test_flipped_bits_that_make_decoding_fail_are_errors(name, caplog):
    """Whatever PIL has read ahead: it decodes a PNG for its EXIF data, and does not fail a second time."""
    errors = 0
    for place in range(len(PICTURES[name].content)):
        content = bytearray(PICTURES[name].content)
        content[place] ^= 1 << place % 8
        try:
            with without_pil_messages():
                check_image(bytes(content))
        except UnreadableImageError as error:
            errors += str(error) == "it is damaged"
        else:
            assert decodes(content), place
    assert errors > 3
    assert not caplog.records, "what PIL logs would be lines beside the error"


def torchvision_reads(picture):
    """Whether torchvision returns these pixels: it drops alpha, refuses CMYK, and does not turn WebP."""
    if not picture.opaque or picture.name == "cmyk.jpg":
        return False
    return picture.name.endswith((".png", ".jpg", ".gif")) or picture.name == "colour.webp"


OF_TORCHVISION = [picture for picture in PICTURES.values() if torchvision_reads(picture)]


@pytest.mark.skipif(not hasattr(torchvision.io, "decode_image"), reason="deprecated, and removed by now")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("picture", OF_TORCHVISION, ids=lambda picture: picture.name)
def test_pixels_are_those_of_torchvision(picture, tmp_path):
    file = tmp_path / picture.name
    file.write_bytes(picture.content)
    mode = torchvision.io.ImageReadMode.RGB
    theirs = torchvision.io.decode_image(str(file), mode, apply_exif_orientation=True).numpy()
    if theirs.dtype == np.uint16:
        theirs = theirs >> 8
    if theirs.ndim == 4:  # frames
        theirs = theirs[0]
    assert difference(read_image(file).numpy(), theirs.astype(np.uint8)) <= min(picture.tolerance, 1)


TURNED_BY_US_ALONE = re.compile(r"turned[2-8].*(png|webp)")  # ImageMagick 6 turns JPEG and TIFF files only
OF_IMAGE_MAGICK = [picture for picture in PICTURES.values() if not TURNED_BY_US_ALONE.match(picture.name)]


def image_magick():
    """The name of ImageMagick's program, under which other programs may be installed; None without it."""
    for name in ("magick", "convert", "convert-im6.q16"):
        if shutil.which(name) and b"ImageMagick" in subprocess.run([name, "-version"], capture_output=True).stdout:
            return name
    return None


@pytest.mark.parametrize("picture", OF_IMAGE_MAGICK, ids=lambda picture: picture.name)
def test_pixels_are_those_of_image_magick(picture, tmp_path):
    program = image_magick()
    if program is None:
        pytest.skip("ImageMagick is not installed")
    file = tmp_path / picture.name
    file.write_bytes(picture.content)
    words = [program, f"{file}[0]", "-auto-orient", "-background", "white", "-alpha", "remove", "-depth", "8", "rgb:-"]
    run = subprocess.run(words, capture_output=True)
    if run.returncode:
        pytest.skip("ImageMagick does not read it here")
    ours = read_image(file).permute(1, 2, 0).numpy()
    assert difference(ours, np.frombuffer(run.stdout, np.uint8).reshape(ours.shape)) <= max(picture.tolerance, 1)


DAMAGED = {
    "empty.png": (b"", "it is empty"),
    "text.png": (b"not an image\n", "it is not an image, or in a format that is not read"),
    "cut.png": (encoded(COLOUR, "PNG")[:-30], "it is damaged"),
    "drawing.eps": (encoded(COLOUR, "EPS"), "it is not an image, or in a format that is not read"),
    "bomb.png": (
        png(GREY, 8, 0, ("IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))),
        "it has 10,000,000,000 pixels, but at most 178,956,970 are read",
    ),
    "integers.tif": (
        tiff(DEEP.astype(np.int32), 32),
        "its pixels are signed or 32-bit integers, which do not say what white is (8 or 16 bits a channel do)",
    ),
    "signed.tif": (
        tiff(DEEP.astype(np.int16), 16, kind=2),
        "its pixels are signed or 32-bit integers, which do not say what white is (8 or 16 bits a channel do)",
    ),
    "floats.tif": (
        tiff(DEEP.astype(np.float32), 32, kind=3),
        "its pixels are floating-point numbers, which do not say what white is (8 or 16 bits a channel do)",
    ),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_cannot_be_read_say_why(name, channels, tmp_path):
    content, reason = DAMAGED[name]
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UnreadableImageError) as unreadable, without_pil_messages():
        check_image(content)
    assert str(unreadable.value) == reason
    start = time.monotonic()
    with pytest.raises(FileError) as error:
        read_image(file, channels)
    assert str(error.value) == f"cannot read the image {file}: {reason}; remove or replace it"
    assert time.monotonic() - start < 2


def test_paths_without_a_file_say_why(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(FileError) as error:
            read_image(tmp_path / f"{name}.png")
        assert str(error.value) == (
            f"cannot read the image {tmp_path}/{name}.png: it is not a regular file; remove or replace it"
        )
    with pytest.raises(FileError, match=r"none\.png: No such file or directory"):
        read_image(tmp_path / "none.png")


def test_endings_are_those_of_the_formats_that_are_read():
    for picture in PICTURES.values():
        assert os.path.splitext(picture.name)[1] in image_endings()
    assert {".jpeg", ".jfif", ".jpe", ".apng", ".dib"} & image_endings() == {".jpeg", ".jfif", ".jpe", ".apng"}
