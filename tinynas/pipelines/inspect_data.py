"""The data command: what a data set was understood to be, and a picture of what a network sees of it."""

from pathlib import Path
from typing import Any

import torch

from ..arch.arch import MAX_RESOLUTION
from ..data.base import Data
from ..data.labels import class_labels
from ..data.registry import load_data
from ..data.summary import DataSummary, summarise
from ..experiment.box_picture import draw_boxes, picture_sheet
from ..experiment.contact_sheet import contact_sheet
from ..utils.errors import InputError
from ..utils.io import write
from ..utils.rng import generator
from ..utils.sizes import Size, format_size, pair
from .shown_boxes import seen_images, shown_images

_ROWS, _COLUMNS = 12, 8  # most classes on a contact sheet, and images of each
_SIDE = 96  # largest default resolution, in pixels
_PICTURES = 6  # images with boxes on a sheet
_PICTURE_SIDE = 440  # pixels of their longer side


def inspect_data(name: str, out: Path, *, resolution: Size | None = None) -> DataSummary:
    """Describe a data set, and write a sheet of training images: of each class, or with boxes.

    Images that cannot be read are among what was left out.

    Args:
        name: "NAME" or "NAME:PATH".
        out: The PNG file to write.
        resolution: Pixels of what the network sees, a number or height and width; by default the images' own, but at
            most 96 for classification.

    Raises:
        InputError: There is no such data set, or the resolution is not from 1 to 2048.
        FileError: A file is missing or corrupt.
    """
    if resolution is not None:
        _check_resolution(resolution)
    data = load_data(name, skip_unreadable=True)
    summary = summarise(data, name, resolution=resolution)
    if data.task == "detect":
        seen = f" at {format_size(pair(resolution))}, as a network sees them" if resolution is not None else ""
        write(out, picture_sheet(_pictures(data, resolution), f"{name}: training images{seen}"))
        return summary
    if resolution is None:
        resolution = min(_SIDE, max(summary.sizes[1])) if summary.sizes else _SIDE
    title = f"{name}: training images at {format_size(pair(resolution))}, as a network sees them"
    write(out, contact_sheet(_rows(data, resolution), title))
    return summary


def _check_resolution(resolution: Size) -> None:
    """Raise InputError unless there can be networks of an image size."""
    if not 0 < max(pair(resolution)) <= MAX_RESOLUTION:
        raise InputError(
            f"the resolution must be from 1 to {MAX_RESOLUTION} pixels, but is {format_size(resolution)}; "
            "choose another"
        )


def _rows(data: Data, resolution: Size) -> list[tuple[str, list[Any]]]:
    """Return training images of the first classes: of each class always the same ones, chosen at random."""
    of_image, of_class = class_labels(data.train)
    order = torch.from_numpy(generator(0, "contact sheet").permutation(len(of_class)))
    rows: list[tuple[str, list[Any]]] = []
    for label, name in enumerate(data.classes):
        chosen = order[of_class[order] == label]
        indices = of_image[chosen][:_COLUMNS]
        if len(indices) and len(rows) < _ROWS:
            pixels, _ = seen_images(data, data.train, indices.tolist(), resolution)
            rows.append((name, list(pixels)))
    return rows


def _pictures(data: Data, resolution: Size | None) -> list[tuple[str, Any]]:
    """Return training images with their boxes, and captions: as they are, or as a network of a resolution sees them."""
    pictures = []
    for image in shown_images(data, data.train, _images_of_many_classes(data), resolution):
        caption = image.name
        if resolution is None:
            height, width = image.pixels.shape[:2]
            caption += f", {width}x{height}"
        boxes = image.labelled_objects(data.classes)
        pictures.append((caption, draw_boxes(image.pixels, boxes, data.classes, _PICTURE_SIDE, exact=True)))
    return pictures


def _images_of_many_classes(data: Data) -> list[int]:
    """Return the indices of training images, always the same ones: such that they show many classes, then others."""
    of_image, of_class = class_labels(data.train)
    order = generator(0, "contact sheet").permutation(len(data.train)).tolist()
    classes: dict[int, set[int]] = {}
    for image, label in zip(of_image.tolist(), of_class.tolist(), strict=True):
        classes.setdefault(image, set()).add(label)
    chosen: list[int] = []
    shown: set[int] = set()
    for index in order:
        if classes.get(index, set()) - shown and len(chosen) < _PICTURES:
            chosen.append(index)
            shown |= classes[index]
    for index in sorted(order, key=lambda index: index not in classes):
        if index not in chosen and len(chosen) < _PICTURES:
            chosen.append(index)
    return chosen
