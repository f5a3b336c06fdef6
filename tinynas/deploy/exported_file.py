"""Exported files of any format: their preprocessing and metadata, and how they run any number of images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.model_file import Model
from ..tasks.registry import TASKS
from ..utils.io import to_json
from ..utils.sizes import Size, pair, size_of


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file that was written from a model, and how to run it.

    Attributes:
        kind: The format, as tables show it.
        name: The file's name.
        content: The file's bytes.
        run: Runs the file on one thread: images (N, C, H, W) -> the network's outputs.
        int8: Whether weights and activations are int8; otherwise they are fp32.
        calibration: The criterion that chose the ranges of int8, if tinynas chose them.
        output_error: Root mean square difference of the int8 outputs from fp32 on calibration images, relative to fp32.
    """

    kind: str
    name: str
    content: bytes
    run: Callable[[Tensor], Tensor]
    int8: bool = False
    calibration: str | None = None
    output_error: float | None = None


def run_in_batches(run: Callable[[np.ndarray], np.ndarray], images: Tensor, batch: int | None) -> Tensor:
    """Run a function that takes exactly `batch` images on any number of images (N, C, H, W).

    The last batch is padded with zeros, whose outputs are dropped. If `batch` is None, all images are one batch.
    """
    size, count = batch or len(images), len(images)
    missing = -count % size
    if missing:
        padding = torch.zeros_like(images[:1]).expand(missing, -1, -1, -1)
        images = torch.cat([images, padding])
    outputs = [torch.from_numpy(run(part.numpy())) for part in torch.split(images, size)]
    return torch.cat(outputs)[:count]


def preprocessing(model: Model) -> dict[str, object]:
    """Return how an image becomes the network's input.

    The image is converted to `mode` (a name of PIL). Its shorter side is resized to `resize` pixels and a square of
    `crop` pixels is cut out of the centre; if `stretch` is set, both sides are resized to `resize` instead. Where
    `crop` is a height and a width, so is `resize`: the image is made as small as it can be with at least that height
    and that width. `interpolation` is bilinear or bicubic, antialiased. The pixel values are divided by 255; then
    `mean` is subtracted and the result divided by `std`, per channel.
    """
    arch = model.net.arch
    return {
        "mode": "L" if arch.in_channels == 1 else "RGB",
        "resize": resized_size(model),
        "crop": arch.resolution,
        "stretch": TASKS[arch.task].stretches,
        "interpolation": model.interpolation,
        "mean": list(model.normalise.mean),
        "std": list(model.normalise.std),
    }


def metadata(model: Model) -> dict[str, str]:
    """Return the metadata of a model's exported files; class names and preprocessing are JSON."""
    return {
        "format": "tinynas 1",
        "data": model.data,
        "classes": to_json(model.classes),
        "preprocessing": to_json(preprocessing(model)),
    }


def resized_size(model: Model) -> Size:
    """Return what an image is resized to before its centre is cut out: its shorter side, or least height and width."""
    arch = model.net.arch
    if TASKS[arch.task].stretches:
        return arch.resolution
    height, width = pair(arch.resolution)
    return size_of((round(height / model.crop), round(width / model.crop)))
