"""Synthetic photographs: JPEG files about as hard to decode as real ones, always the same for the same number."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from tinynas.utils.rng import generator

WIDTH, HEIGHT = 500, 375
QUALITY = 88
CELLS = ((4, 45.0), (16, 30.0), (60, 18.0), (200, 11.0), (400, 8.0))  # along a side of a layer; its contrast
TEXTURES = 6  # layers of each kind, of which every photograph has another part, mirrored or not
SHAPES = 8  # with straight edges
COMPLETE = "complete"  # file that says that all photographs of a folder are there


def photograph_files(folder: Path, count: int, *, scale: int = 1) -> list[str]:
    """Return the files of photographs, of 500x375 pixels or `scale` times as wide and high; make them if need be."""
    folder = folder / f"photographs-{count}-{scale}"
    files = [folder / f"{number:06}.jpg" for number in range(count)]
    if not (folder / COMPLETE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(partial(_save, scale=scale), range(count), files, chunksize=50):
                pass
        (folder / COMPLETE).touch()
    return list(map(str, files))


def photograph(number: int, *, scale: int = 1) -> Image.Image:
    """Return a photograph: smooth noise at several scales, and shapes with sharp edges."""
    rng = generator(0, "photograph", number)
    width, height = scale * WIDTH, scale * HEIGHT
    pixels = np.full((height, width, 3), rng.uniform(80, 160, 3), np.float32)
    for kind, (_, contrast) in enumerate(CELLS):
        texture = _textures(scale)[kind][int(rng.integers(TEXTURES))]
        top, left = rng.integers(height), rng.integers(width)
        part = texture[top : top + height, left : left + width]
        pixels += contrast * rng.uniform(0.5, 1.5) * part[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    for _ in range(SHAPES):
        (top, bottom), (left, right) = np.sort(rng.integers(height, size=2)), np.sort(rng.integers(width, size=2))
        pixels[top:bottom, left:right] += rng.uniform(-40, 40, 3).astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@cache
def _textures(scale: int) -> list[list[np.ndarray]]:
    """Return layers of smooth noise by their kind: (2 height, 2 width, 3), grey with some colour."""
    rng = generator(0, "textures", scale)
    width, height = scale * WIDTH, scale * HEIGHT
    textures = []
    for cells, _ in CELLS:
        layers = []
        for _ in range(TEXTURES):
            small = rng.normal(size=(2 * scale * cells * HEIGHT // WIDTH, 2 * scale * cells, 1))
            small = small + 0.3 * rng.normal(size=(*small.shape[:2], 3))
            channels = [_enlarged(small[:, :, channel], 2 * width, 2 * height) for channel in range(3)]
            layers.append(np.stack(channels, 2))
        textures.append(layers)
    return textures


def _enlarged(noise: np.ndarray, width: int, height: int) -> np.ndarray:
    image = Image.fromarray(noise.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _save(number: int, path: Path, *, scale: int) -> None:
    photograph(number, scale=scale).save(path, quality=QUALITY)
