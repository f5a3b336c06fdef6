"""Images of a data set with their objects, as pictures show them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.base import BatchRequest, Data, Split
from ..data.boxes import BoxSplit
from ..data.objects import BOX, CLASS
from ..experiment.box_picture import LabelledBox
from ..tasks.registry import TASKS
from ..utils.sizes import Size

_SIDE = 96  # pixels, where images can be read at a resolution only


class ShownImage(NamedTuple):
    """An image, and its objects."""

    name: str  # of its file, or its number
    pixels: Any  # uint8 (H, W, C)
    objects: Tensor  # (M, 7)

    def labelled(self, classes: Sequence[str], boxes: Tensor, labels: Tensor) -> list[LabelledBox]:
        """Return boxes (K, 4), fractions of the image, of class indices (K,), to be drawn on the image."""
        height, width = self.pixels.shape[:2]
        labelled = []
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            corners = (x1 * width, y1 * height, x2 * width, y2 * height)
            labelled.append(LabelledBox(classes[int(label)], corners))
        return labelled

    def labelled_objects(self, classes: Sequence[str]) -> list[LabelledBox]:
        """Return the objects, to be drawn on the image."""
        return self.labelled(classes, self.objects[:, BOX], self.objects[:, CLASS])


def shown_images(data: Data, split: Split, indices: Sequence[int], resolution: Size | None = None) -> list[ShownImage]:
    """Return images of a split.

    Args:
        data: The data set.
        split: One of its splits.
        indices: Of the images in the split.
        resolution: That of a network whose view is shown; None: the images are shown as they are.
    """
    if resolution is not None or not isinstance(split, BoxSplit):
        pixels, objects = seen_images(data, split, indices, resolution or _SIDE)
    else:
        pixels = [split.read(index).permute(1, 2, 0).numpy() for index in indices]
        objects = [split.objects[index] for index in indices]
    files = split.image_files if isinstance(split, BoxSplit) else ()
    shown = []
    for number, index in enumerate(indices):
        name = Path(files[index].path).name if files else f"image {index}"
        shown.append(ShownImage(name, pixels[number], objects[number]))
    return shown


def seen_images(data: Data, split: Split, indices: Sequence[int], resolution: Size) -> tuple[Any, list[Any]]:
    """Return images (N, H, W, C) of a split as a network sees them in evaluation, and their ground truth."""
    ((images, labels),) = split.batches([BatchRequest(torch.tensor(indices), resolution)], data.normalise)
    pixels = data.normalise.undone(images).permute(0, 2, 3, 1).cpu().numpy()
    return pixels, TASKS[data.task].ground_truth(labels, len(indices))
