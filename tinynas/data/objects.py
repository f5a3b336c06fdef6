"""The rows that describe objects: the columns of `BoxSplit.objects` and of a batch's labels, by name.

An object is a row of 7 floats: class index, x1, y1, x2, y2 (left, top, right, bottom) as fractions of the image, its
area in pixels of the original image, and its kind. The labels of a batch are such rows behind the index of the image in
the batch, (M, 8).

Objects of the kinds CROWD and DIFFICULT are not trained on. Evaluation knows them: a detection of them is neither right
nor wrong.
"""

from math import nan

import torch
from torch import Tensor

CLASS = 0
BOX = slice(1, 5)
AREA = 5
KIND = 6
COLUMNS = 7
LABEL_COLUMNS = COLUMNS + 1  # of a batch's labels, with the index of the image in front
WITHOUT_AREA = 5  # columns of rows that have a class and a box only

OBJECT = 0  # kinds
CROWD = 1  # a region with several objects of the class, as COCO annotates them
DIFFICULT = 2  # an object that VOC marks as difficult


def complete(objects: Tensor, pixels: float = nan) -> Tensor:
    """Return objects (M, 7); those of rows (M, 5), class and box, have their box's area, and the kind OBJECT.

    Args:
        objects: Rows of 7 columns, which are returned as they are, or of 5.
        pixels: Width times height of the image; by default unknown, and so are the areas, which are NaN.
    """
    if objects.shape[1] != WITHOUT_AREA:
        return objects
    x1, y1, x2, y2 = objects[:, BOX].T
    areas = (x2 - x1) * (y2 - y1) * pixels
    return torch.cat([objects, areas[:, None], torch.full_like(areas[:, None], OBJECT)], 1)


def only_trained_on(objects: Tensor) -> Tensor:
    """Return the objects (M, 7) that detectors are trained on: neither crowds nor difficult ones."""
    return objects[objects[:, KIND] == OBJECT]
