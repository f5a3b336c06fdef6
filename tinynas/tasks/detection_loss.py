"""The detection loss, the assignment of anchors to objects, and distillation of detectors."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot, smooth_l1_loss

from ..arch.heads import DetectorHead
from ..data.base import Batch
from ..utils.distributed import sum_over_processes, world_size
from .detection import AnchorGrid, anchor_grid, decode
from .losses import DistillationLoss, Loss

_MATCH_IOU = 0.35  # of shapes, from which an anchor is assigned to an object beside the best one
_MIN_OBJECTNESS = 0.1  # from which a teacher's boxes and classes are learned
_BOX_WEIGHT = 1.0


class DetectionTargets(NamedTuple):
    """The K predictions that are assigned to a batch's objects, and those objects."""

    images: Tensor  # (K,) index of the image in the batch
    predictions: Tensor  # (K,) index among the P predictions of an image
    grid: AnchorGrid  # of these predictions, K rows
    boxes: Tensor  # (K, 4) of the objects
    classes: Tensor  # (K,) of the objects
    normaliser: float  # K of the whole batch, at least 1, divided by the number of processes


@dataclass(frozen=True)
class DetectionLoss(Loss[DetectionTargets]):
    """Loss of a detector's outputs (N, P, 5 + classes) on the objects of a batch: boxes, objectness and classes.

    Complete IoU loss of the boxes (Zheng et al., AAAI 2020), binary cross-entropy of objectness and classes. It is the
    sum over all images, divided by the number of assigned predictions; in data-parallel training, of the whole batch:
    the mean of the losses of all processes is that of the whole batch. `label_smoothing` is that of the classes.
    """

    head: DetectorHead
    label_smoothing: float = 0.0

    def targets(self, batch: Batch) -> DetectionTargets:
        grid = anchor_grid(self.head, batch.images.shape[-1], batch.labels.device)
        predictions, objects = assign_anchors(batch.labels, grid)
        assigned = sum_over_processes(torch.tensor(len(predictions), device=predictions.device))
        images, classes = batch.labels[objects, :2].long().T
        return DetectionTargets(
            images=images,
            predictions=predictions,
            grid=grid.take(predictions),
            boxes=batch.labels[objects, 2:6],
            classes=classes,
            normaliser=max(1, int(assigned)) / world_size(),
        )

    def __call__(self, outputs: Tensor, targets: DetectionTargets) -> Tensor:
        from torchvision.ops import complete_box_iou_loss

        assigned = outputs[targets.images, targets.predictions]  # (K, 5 + classes)
        objectness = torch.zeros_like(outputs[..., 4])
        objectness[targets.images, targets.predictions] = 1
        parts = (
            _BOX_WEIGHT * complete_box_iou_loss(decode(assigned, targets.grid), targets.boxes, reduction="sum"),
            bce(outputs[..., 4], objectness, reduction="sum"),
            bce(assigned[:, 5:], self._smoothed(targets.classes, outputs), reduction="sum"),
        )
        return torch.stack(parts).sum() / targets.normaliser

    def _smoothed(self, classes: Tensor, outputs: Tensor) -> Tensor:
        """Return smoothed one-hot labels (K, classes), with the type and on the device of the outputs."""
        count = outputs.shape[-1] - 5
        labels = one_hot(classes, count) * (1 - self.label_smoothing) + self.label_smoothing / count
        return labels.to(outputs)


def assign_anchors(objects: Tensor, grid: AnchorGrid) -> tuple[Tensor, Tensor]:
    """Assign predictions to objects (M, 6): return indices of predictions (K,) and of their objects (K,).

    An object is predicted in the cell that holds its centre and in those beside it that are nearer than half a cell; by
    the anchor whose shape overlaps most with the object's, and by all others that overlap enough.
    """
    corner, cell, anchor = grid
    sides = objects[:, 4:6] - objects[:, 2:4]  # (M, 2)
    centre = (objects[:, 2:4] + objects[:, 4:6]) / 2  # (M, 2)
    intersection = torch.minimum(sides[:, None], anchor).prod(-1)
    iou = intersection / (sides.prod(-1)[:, None] + anchor.prod(-1) - intersection)  # (M, P), of shapes
    similar = (iou > _MATCH_IOU) | (iou == iou.amax(1, keepdim=True))
    distance = ((centre[:, None] - corner) / cell - 0.5).abs()  # (M, P, 2), in cells, from the middle of the cell
    near = (distance.amax(-1) <= 1) & (distance.amin(-1) <= 0.5)
    rows, predictions = (similar & near).nonzero(as_tuple=True)
    return predictions, rows


class SoftDetectionTargets(NamedTuple):
    """What a teacher predicts for a batch: N images, P predictions each."""

    boxes: Tensor  # (N, P, 4), logits
    box_weight: Tensor  # (N, P), objectness where it is large enough, else 0
    objectness: Tensor  # (N, P), at the temperature
    classes: Tensor  # (N, P, classes), probabilities at the temperature
    normaliser: Tensor  # scalar, number of predictions with an object that the teacher expects, as in DetectionTargets


@dataclass(frozen=True)
class DetectionDistillationLoss(DistillationLoss[SoftDetectionTargets]):
    """Loss of a detector's outputs on a teacher's: its objectness, and its boxes and classes where that is large.

    The sum over all predictions, divided by the number of objects that the teacher expects, so that it weighs as much
    as the loss on labels.
    """

    temperature: float = 1.0

    def targets(self, teacher_outputs: Tensor) -> SoftDetectionTargets:
        outputs = teacher_outputs.detach()
        objectness = outputs[..., 4].sigmoid()
        return SoftDetectionTargets(
            boxes=outputs[..., :4],
            box_weight=objectness * (objectness > _MIN_OBJECTNESS),
            objectness=(outputs[..., 4] / self.temperature).sigmoid(),
            classes=(outputs[..., 5:] / self.temperature).sigmoid(),
            normaliser=sum_over_processes(objectness.sum()).clamp(min=1) / world_size(),
        )

    def __call__(self, outputs: Tensor, targets: SoftDetectionTargets) -> Tensor:
        boxes = smooth_l1_loss(outputs[..., :4], targets.boxes, reduction="none").sum(-1)
        classes = bce(outputs[..., 5:] / self.temperature, targets.classes, reduction="none").sum(-1)
        objectness = bce(outputs[..., 4] / self.temperature, targets.objectness, reduction="none")
        scale = self.temperature**2
        parts = targets.box_weight * (boxes + scale * classes) + scale * objectness
        return parts.sum() / targets.normaliser
