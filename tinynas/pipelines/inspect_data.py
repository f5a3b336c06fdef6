"""The data command: what a data set was understood to be, and a picture of what a network sees of it."""

from pathlib import Path

import torch
from torch import Tensor

from ..arch.arch import MAX_RESOLUTION
from ..data.base import BatchRequest, Data
from ..data.labels import class_labels
from ..data.objects import BOX, CLASS
from ..data.registry import load_data
from ..data.summary import DataSummary, summarise
from ..experiment.contact_sheet import Shown, contact_sheet
from ..tasks.registry import TASKS
from ..utils.errors import InputError
from ..utils.io import write
from ..utils.rng import generator
from ..utils.sizes import Size, format_size, pair

_ROWS, _COLUMNS = 12, 8  # most classes on a contact sheet, and images of each
_SIDE = 96  # largest default resolution, in pixels


def inspect_data(name: str, out: Path, *, resolution: Size | None = None) -> DataSummary:
    """Describe a data set, and write a contact sheet of training images as a network sees them in evaluation.

    Images that cannot be read are among what was left out.

    Args:
        name: "NAME" or "NAME:PATH".
        out: The PNG file to write.
        resolution: Pixels of what the network sees, a number or height and width; by default the images' own, but at
            most 96.

    Raises:
        InputError: There is no such data set, or the resolution is not from 1 to 2048.
        FileError: A file is missing or corrupt.
    """
    data = load_data(name, skip_unreadable=True)
    summary = summarise(data, name)
    if resolution is None:
        resolution = min(_SIDE, max(summary.sizes[1])) if summary.sizes else _SIDE
    if not 0 < max(pair(resolution)) <= MAX_RESOLUTION:
        raise InputError(
            f"the resolution must be from 1 to {MAX_RESOLUTION} pixels, but is {format_size(resolution)}; "
            "choose another"
        )
    title = f"{name}: training images at {format_size(pair(resolution))}, as a network sees them"
    write(out, contact_sheet(_rows(data, resolution), title))
    return summary


def _rows(data: Data, resolution: Size) -> list[tuple[str, list[Shown]]]:
    """Return training images of the first classes: of each class always the same ones, chosen at random."""
    of_image, of_class = class_labels(data.train)
    order = torch.from_numpy(generator(0, "contact sheet").permutation(len(of_class)))
    rows: list[tuple[str, list[Shown]]] = []
    for label, name in enumerate(data.classes):
        chosen = order[of_class[order] == label]
        indices = list(dict.fromkeys(of_image[chosen].tolist()))[:_COLUMNS]
        if indices and len(rows) < _ROWS:
            rows.append((name, _shown(data, torch.tensor(indices), resolution)))
    return rows


def _shown(data: Data, indices: Tensor, resolution: Size) -> list[Shown]:
    """Return images of the training split, as a network sees them in evaluation, with their objects."""
    task = TASKS[data.task]
    ((images, labels),) = data.train.batches([BatchRequest(indices, resolution)], data.normalise)
    pixels = data.normalise.undone(images).permute(0, 2, 3, 1).numpy()
    shown = []
    for image, truth in zip(pixels, task.ground_truth(labels, len(indices)), strict=True):
        boxes = []
        for row in truth.tolist() if task.predicts_boxes else []:
            boxes.append((tuple(row[BOX]), data.classes[int(row[CLASS])]))
        shown.append(Shown(pixels=image, boxes=boxes))
    return shown
