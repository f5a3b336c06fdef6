"""Small image files in many stored forms, with the pixels that a reader must return; PNG and TIFF files by hand."""

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # EXIF tag
SHOWN = {  # from orientation to what turns stored pixels into those to be shown, by the EXIF standard
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}

_rng = np.random.default_rng(0)
COLOUR = _rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
OTHER = _rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)  # for second frames
GREY = _rng.integers(0, 256, (5, 7), dtype=np.uint8)
ALPHA = _rng.choice(np.array([0, 80, 128, 255], np.uint8), (5, 7))
DEEP = _rng.integers(0, 65536, (5, 7)).astype(np.uint16)
DEEP_COLOUR = _rng.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
DEEP_ALPHA = ALPHA.astype(np.uint16) * 257
PALETTE = _rng.integers(0, 256, (16, 3), dtype=np.uint8)
INDICES = _rng.integers(0, 16, (5, 7)).astype(np.uint8)
PALETTE_ALPHA = np.array([0, 80, 128, 255] * 4, np.uint8)
TILES = np.kron(_rng.integers(0, 256, (2, 3, 3)), np.ones((16, 16, 1))).astype(np.uint8)  # that JPEG keeps, nearly
GREY_TILES = TILES[:, :, 0].copy()


class Picture(NamedTuple):
    """An image file and its pixels.

    Attributes:
        name: A file name with the usual ending.
        content: The file.
        pixels: uint8 (H, W, 3) as RGB.
        tolerance: Largest error of a lossy format.
        opaque: Whether no pixel is transparent.
        upper: Whether these are the upper 8 of 16 bits.
    """

    name: str
    content: bytes
    pixels: np.ndarray
    tolerance: int = 0
    opaque: bool = True
    upper: bool = False


def encoded(pixels, form, mode=None, **settings):
    """An image file as PIL writes it."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(stream, form, **settings)
    return stream.getvalue()


def rgb(grey):
    """Grey pixels (H, W) as RGB."""
    return np.repeat(grey[:, :, None], 3, 2).astype(np.uint8)


def over_white(pixels, alpha):
    """Pixels (H, W, 3) composited over white."""
    weight = alpha[:, :, None] / 255
    return np.floor(pixels * weight + 255 * (1 - weight) + 0.5).astype(np.uint8)


def stacked(*channels):
    """Channels (H, W) or (H, W, C) as (H, W, C)."""
    return np.dstack(channels)


def exif(orientation):
    """EXIF data with an orientation."""
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes()


def png(samples, bits, colour_type, *chunks, interlaced=False):
    """A PNG file of samples (H, W) or (H, W, C) with this many bits; `chunks` come before the pixels."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    passes = [samples]
    if interlaced:
        starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        passes = [samples[top::down, left::right] for top, left, down, right in starts]
    lines = [b"\0" + packed(row, bits) for part in passes if part.shape[1] for row in part]
    parts = [("IHDR", header), *chunks, ("IDAT", zlib.compress(b"".join(lines))), ("IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name.encode(), content) for name, content in parts)


def chunk(name, content):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def packed(row, bits):
    """Samples as bytes, the most significant bit first."""
    if bits == 16:
        return row.astype(">u2").tobytes()
    digits = (row.reshape(-1, 1) >> np.arange(bits)[::-1]) & 1
    return np.packbits(digits.astype(np.uint8)).tobytes()


def tiff(samples, bits, *, photometric=1, order="<", kind=1):
    """A TIFF file of samples (H, W) or (H, W, C); kind 1 is unsigned integers, 2 signed ones, 3 floats."""
    height, width, channels = *samples.shape[:2], samples.size // samples.shape[0] // samples.shape[1]
    if bits == 12:
        content = b"".join(packed(row, 12) for row in samples)
    else:
        content = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    content += bytes(len(content) % 2)
    folder = 8 + len(content)
    after = folder + 2 + 11 * 12 + 4  # where the bits of several channels lie
    tags = {256: width, 257: height, 258: bits if channels == 1 else after, 259: 1, 262: photometric, 273: 8}
    tags |= {277: channels, 278: height, 279: len(content), 284: 1, 339: kind}
    entries = b""
    for tag, value in tags.items():
        entry = (tag, 3, channels, after) if tag == 258 and channels > 1 else (tag, 4, 1, value)
        entries += struct.pack(order + "HHII", *entry)
    magic = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, folder)
    rest = struct.pack(order + "I" + "H" * channels, 0, *[bits] * channels)
    return magic + content + struct.pack(order + "H", len(tags)) + entries + rest


def big(*values):
    """16-bit numbers as a PNG file has them."""
    return struct.pack(f">{len(values)}H", *values)


def palette(indices, **info):
    """An image of mode P."""
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.tobytes())
    image.info.update(info)
    return image


def bilevel():
    white = GREY > 127
    yield Picture("bilevel.png", png(white.astype(np.uint8), 1, 0), rgb(white * 255))
    yield Picture("bilevel.tiff", encoded(GREY > 127, "TIFF"), rgb(white * 255))
    yield Picture("bilevel.pbm", encoded(GREY > 127, "PPM"), rgb(white * 255))
    clear = over_white(rgb(white * 255), np.where(white, 255, 0))
    yield Picture("bilevel-key.png", png(white.astype(np.uint8), 1, 0, ("tRNS", big(0))), clear, opaque=False)


def grey():
    for bits, key in ((2, 2), (4, 13), (8, GREY[2, 3])):
        levels = GREY >> (8 - bits)
        shown = rgb(levels.astype(int) * 255 // (2**bits - 1))
        yield Picture(f"grey{bits}.png", png(levels, bits, 0), shown)
        clear = over_white(shown, np.where(levels == key, 0, 255))
        yield Picture(f"grey{bits}-key.png", png(levels, bits, 0, ("tRNS", big(key))), clear, opaque=False)
    clear = over_white(rgb(GREY), ALPHA)
    yield Picture("grey-alpha.png", png(stacked(GREY, ALPHA), 8, 4), clear, opaque=False)
    grey_alpha = Image.fromarray(stacked(GREY, ALPHA), "LA")
    yield Picture("grey-alpha.tif", encoded(grey_alpha, "TIFF"), clear, opaque=False)
    yield Picture("grey.jpg", encoded(GREY_TILES, "JPEG", quality=100), rgb(GREY_TILES), tolerance=1)
    yield Picture("grey.bmp", encoded(GREY, "BMP"), rgb(GREY))
    yield Picture("grey.gif", encoded(GREY, "GIF"), rgb(GREY))
    yield Picture("grey-white-is-zero.tif", tiff(255 - GREY, 8, photometric=0), rgb(GREY))


def palettes():
    shown = PALETTE[INDICES]
    entries = ("PLTE", PALETTE.tobytes())
    yield Picture("palette.png", png(INDICES, 4, 3, entries), shown)
    yield Picture("palette.gif", encoded(palette(INDICES), "GIF"), shown)
    yield Picture("palette.bmp", encoded(palette(INDICES), "BMP"), shown)
    yield Picture("palette.tif", encoded(palette(INDICES), "TIFF"), shown)
    alpha = ("tRNS", PALETTE_ALPHA.tobytes())
    clear = over_white(shown, PALETTE_ALPHA[INDICES])
    yield Picture("palette-alphas.png", png(INDICES, 4, 3, entries, alpha), clear, opaque=False)
    clear = over_white(shown, np.where(INDICES == 3, 0, 255))
    alpha = ("tRNS", b"\xff\xff\xff\0")
    yield Picture("palette-key.png", png(INDICES, 8, 3, entries, alpha), clear, opaque=False)
    yield Picture("palette-key.gif", encoded(palette(INDICES), "GIF", transparency=3), clear, opaque=False)


def colour():
    yield Picture("colour.png", encoded(COLOUR, "PNG"), COLOUR)
    yield Picture("colour-interlaced.png", png(COLOUR, 8, 2, interlaced=True), COLOUR)
    key = big(*COLOUR[2, 3])
    clear = COLOUR.copy()
    clear[2, 3] = 255
    yield Picture("colour-key.png", png(COLOUR, 8, 2, ("tRNS", key)), clear, opaque=False)
    clear = over_white(COLOUR, ALPHA)
    yield Picture("colour-alpha.png", encoded(stacked(COLOUR, ALPHA), "PNG"), clear, opaque=False)
    yield Picture("colour-alpha.tif", encoded(stacked(COLOUR, ALPHA), "TIFF"), clear, opaque=False)
    content = encoded(stacked(COLOUR, ALPHA), "WEBP", lossless=True, exact=True)
    yield Picture("colour-alpha.webp", content, clear, opaque=False)
    yield Picture("colour-alpha.qoi", encoded(stacked(COLOUR, ALPHA), "QOI"), clear, opaque=False)
    for form, ending in (("BMP", "bmp"), ("PCX", "pcx"), ("TIFF", "tif"), ("PPM", "ppm"), ("QOI", "qoi")):
        yield Picture(f"colour.{ending}", encoded(COLOUR, form), COLOUR)
    yield Picture("colour.webp", encoded(COLOUR, "WEBP", lossless=True), COLOUR)
    yield Picture("colour.jp2", encoded(COLOUR, "JPEG2000"), COLOUR)
    settings = {"quality": 100, "subsampling": 0}
    yield Picture("colour.jpg", encoded(TILES, "JPEG", **settings), TILES, tolerance=2)
    yield Picture("colour-progressive.jpg", encoded(TILES, "JPEG", progressive=True, **settings), TILES, tolerance=2)
    yield Picture("colour.avif", encoded(TILES, "AVIF", quality=100, subsampling="4:4:4"), TILES, tolerance=2)
    yield Picture("colour-under-another-name.jpg", encoded(COLOUR, "PNG"), COLOUR)


def cmyk():
    inks = np.concatenate([TILES, np.full_like(GREY_TILES, 60)[:, :, None]], 2)
    shown = np.round((255 - inks[:, :, :3].astype(float)) * (255 - 60) / 255).astype(np.uint8)
    image = Image.fromarray(inks, "CMYK")
    yield Picture("cmyk.jpg", encoded(image, "JPEG", quality=100, subsampling=0), shown, tolerance=3)
    yield Picture("cmyk.tif", encoded(image, "TIFF"), shown, tolerance=1)


def deep():
    """More than 8 bits a channel."""
    upper = rgb(DEEP >> 8)
    for name, content in {
        "deep.png": png(DEEP, 16, 0),
        "deep.tif": tiff(DEEP, 16),
        "deep-big-endian.tif": tiff(DEEP, 16, order=">"),
        "deep-white-is-zero.tif": tiff(65535 - DEEP, 16, photometric=0),
        "deep.pgm": b"P5 7 5 65535\n" + DEEP.astype(">u2").tobytes(),
        "deep.jp2": encoded(DEEP, "JPEG2000"),
    }.items():
        yield Picture(name, content, upper, upper=True)
    yield Picture("twelve-bits.tif", tiff(DEEP >> 4, 12), upper, upper=True)
    shown = rgb(np.round((DEEP >> 6) / 1023 * 255))
    yield Picture("ten-bits.pgm", b"P5 7 5 1023\n" + (DEEP >> 6).astype(">u2").tobytes(), shown, tolerance=1)
    clear = over_white(upper, np.where(DEEP[2, 3] == DEEP, 0, 255))
    content = png(DEEP, 16, 0, ("tRNS", big(DEEP[2, 3])))
    yield Picture("deep-key.png", content, clear, opaque=False, upper=True)
    clear = over_white(upper, ALPHA)
    content = png(stacked(DEEP, DEEP_ALPHA), 16, 4)
    yield Picture("deep-alpha.png", content, clear, opaque=False, upper=True)
    upper = (DEEP_COLOUR >> 8).astype(np.uint8)
    yield Picture("deep-colour.png", png(DEEP_COLOUR, 16, 2), upper, upper=True)
    yield Picture("deep-colour.tif", tiff(DEEP_COLOUR, 16, photometric=2), upper, upper=True)
    yield Picture("deep-colour-big-endian.tif", tiff(DEEP_COLOUR, 16, photometric=2, order=">"), upper, upper=True)
    clear = over_white(upper, ALPHA)
    content = png(stacked(DEEP_COLOUR, DEEP_ALPHA), 16, 6)
    yield Picture("deep-colour-alpha.png", content, clear, opaque=False, upper=True)
    clear = upper.copy()
    clear[2, 3] = 255
    content = png(DEEP_COLOUR, 16, 2, ("tRNS", big(*DEEP_COLOUR[2, 3])))
    yield Picture("deep-colour-key.png", content, clear, opaque=False, upper=True)


def turned():
    """Every EXIF orientation in every format that has one."""
    for orientation, show in SHOWN.items():
        name = f"turned{orientation}"
        yield Picture(f"{name}.png", encoded(COLOUR, "PNG", exif=exif(orientation)), show(COLOUR))
        yield Picture(f"{name}.webp", encoded(COLOUR, "WEBP", lossless=True, exif=exif(orientation)), show(COLOUR))
        yield Picture(f"{name}.tif", encoded(COLOUR, "TIFF", exif=exif(orientation)), show(COLOUR))
        settings = {"quality": 100, "subsampling": 0, "exif": exif(orientation)}
        yield Picture(f"{name}.jpg", encoded(TILES, "JPEG", **settings), show(TILES), tolerance=2)
        settings["subsampling"] = "4:4:4"
        yield Picture(f"{name}.avif", encoded(TILES, "AVIF", **settings), show(TILES), tolerance=2)
        clear = show(over_white(COLOUR, ALPHA))
        content = encoded(stacked(COLOUR, ALPHA), "PNG", exif=exif(orientation))
        yield Picture(f"{name}-alpha.png", content, clear, opaque=False)
        content = encoded(DEEP, "PNG", exif=exif(orientation))
        yield Picture(f"{name}-deep.png", content, show(rgb(DEEP >> 8)), upper=True)
    damaged = {"exif": b"Exif\0\0no such thing", "quality": 100, "subsampling": 0}
    yield Picture("turned-damaged.jpg", encoded(TILES, "JPEG", **damaged), TILES, tolerance=2)
    yield Picture("turned9.png", encoded(COLOUR, "PNG", exif=exif(9)), COLOUR)


def animated():
    """Several frames, of which the first counts."""
    frames = {"save_all": True, "append_images": [Image.fromarray(OTHER)]}
    yield Picture("frames.png", encoded(COLOUR, "PNG", **frames), COLOUR)
    yield Picture("frames.tif", encoded(COLOUR, "TIFF", **frames), COLOUR)
    yield Picture("frames.webp", encoded(COLOUR, "WEBP", lossless=True, **frames), COLOUR)
    frames["append_images"] = [palette(INDICES[::-1].copy())]
    yield Picture("frames.gif", encoded(palette(INDICES), "GIF", **frames), PALETTE[INDICES])
    clear = over_white(PALETTE[INDICES], np.where(INDICES == 3, 0, 255))
    content = encoded(palette(INDICES), "GIF", transparency=3, disposal=2, **frames)
    yield Picture("frames-key.gif", content, clear, opaque=False)
    frames["append_images"] = [Image.fromarray(stacked(OTHER, np.full_like(ALPHA, 255)))]
    clear = over_white(COLOUR, ALPHA)
    content = encoded(stacked(COLOUR, ALPHA), "WEBP", lossless=True, exact=True, **frames)
    yield Picture("frames-alpha.webp", content, clear, opaque=False)
    yield Picture("frames-alpha.png", encoded(stacked(COLOUR, ALPHA), "PNG", **frames), clear, opaque=False)


KINDS = (bilevel, grey, palettes, colour, cmyk, deep, turned, animated)
PICTURES = {picture.name: picture for kind in KINDS for picture in kind()}


ENDINGS = {".jpg": "JPEG", ".jfif": "JPEG", ".gif": "GIF", ".avif": "AVIF", ".webp": "WEBP", ".bmp": "BMP"}


def fill(root, tree):
    """Write files: "*" in a name stands for a count of images, a number for that one; texts are texts."""
    for number, (name, content) in enumerate(tree.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, str):
            path.write_text(content)
        else:
            for i in range(content):
                pixels = np.full((9, 8, 3), (20 * number, i, 200), np.uint8)
                content = encoded(pixels, ENDINGS.get(path.suffix.lower(), "PNG"))
                (path.parent / path.name.replace("*", f"{i:02}")).write_bytes(content)
