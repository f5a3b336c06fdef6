"""Which of a detector's predictions learn which objects: task-aligned assignment, all images of a batch at once.

An object is learned by the predictions that are the best at it already, by their score for its class and the overlap
of their boxes (Feng et al., ICCV 2021, section 3.2), among the positions within its box.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..arch.detector_head import SIDES
from .detection import Positions

_BEST = 10  # predictions that learn an object, at most
_SCORE_POWER, _OVERLAP_POWER = 0.5, 6.0  # of the alignment: score^a * IoU^b
_TINY = 1e-9


class Objects(NamedTuple):
    """The objects of a batch of N images, padded to M an image, and where they can be learned."""

    boxes: Tensor  # (N, M, 4)
    classes: Tensor  # (N, M)
    candidates: Tensor  # (N, M, P), whether a position may learn an object; no position where there is no object

    def first(self, count: int) -> "Objects":
        """Return the objects for a detector with the first positions only."""
        return self._replace(candidates=self.candidates[..., :count])


class Assignment(NamedTuple):
    """What each prediction learns."""

    boxes: Tensor  # (N, P, 4), of the object; any box where there is none
    classes: Tensor  # (N, P), of the object
    quality: Tensor  # (N, P), 0 where there is no object: the score to learn, as large as the best overlap for the best


def pad_objects(labels: Tensor, images: int, at: Positions) -> Objects:
    """Return the objects of a batch, by image.

    An object can be learned at the positions within its box, and at those whose cells hold its centre.

    Args:
        labels: (M, 8): index of the image, class, box, and what is not read here; images in ascending order.
        images: Number of images.
        at: The positions of the predictions.
    """
    image = labels[:, 0].long()
    counts = torch.zeros(images, dtype=torch.int64, device=labels.device).scatter_add_(0, image, torch.ones_like(image))
    first = counts.cumsum(0) - counts
    number = torch.arange(len(labels), device=labels.device) - first[image]
    padded = labels.new_zeros(images, max(1, int(counts.max())), 1 + SIDES)
    padded[image, number] = labels[:, 1 : 2 + SIDES]
    boxes = padded[..., 1:]  # (N, M, 4); an empty one where there is no object
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    is_inside = (at.centre > boxes[:, :, None, :2]) & (at.centre < boxes[:, :, None, 2:])  # (N, M, P, 2)
    is_near = (at.centre - centre[:, :, None]).abs() <= at.stride / 2
    exists = torch.arange(padded.shape[1], device=labels.device) < counts[:, None]
    candidates = (is_inside.all(-1) | is_near.all(-1)) & exists[..., None]
    return Objects(boxes=boxes, classes=padded[..., 0].long(), candidates=candidates)


@torch.no_grad()
def assign(objects: Objects, boxes: Tensor, logits: Tensor) -> Assignment:
    """Assign objects to predictions.

    A prediction that is among the best for several objects learns the one that its box overlaps most.

    Args:
        objects: Those of the batch.
        boxes: The predicted boxes (N, P, 4).
        logits: The predicted classes (N, P, classes).
    """
    predictions = boxes.shape[1]
    overlaps = _overlaps(objects.boxes[:, :, None], boxes[:, None])  # (N, M, P)
    of_class = objects.classes[..., None].expand(-1, -1, predictions)
    scores = logits.sigmoid().transpose(1, 2).gather(1, of_class)  # (N, M, P)
    alignment = scores**_SCORE_POWER * overlaps**_OVERLAP_POWER * objects.candidates
    best = alignment.topk(min(_BEST, predictions)).indices
    is_best = torch.zeros_like(objects.candidates).scatter_(2, best, True) & (alignment > _TINY)
    chosen = torch.where(is_best, overlaps, -1.0).argmax(1, keepdim=True)  # (N, 1, P), the object
    learned = torch.zeros_like(is_best).scatter_(1, chosen, True) & is_best
    alignment = alignment * learned
    largest = alignment.amax(2, keepdim=True).clamp(min=_TINY)
    quality = alignment / largest * (overlaps * learned).amax(2, keepdim=True)
    return Assignment(
        boxes=objects.boxes.gather(1, chosen[:, 0, :, None].expand(-1, -1, SIDES)),
        classes=objects.classes.gather(1, chosen[:, 0]),
        quality=quality.sum(1),
    )


def _overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersections over union of boxes (..., 4)."""
    corner, opposite = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (opposite - corner).clamp(min=0).prod(-1)
    return intersection / (_areas(first) + _areas(second) - intersection).clamp(min=_TINY)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
