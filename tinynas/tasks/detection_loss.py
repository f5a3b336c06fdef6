"""The detection loss, and distillation of detectors."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot, smooth_l1_loss

from ..arch.arch import Arch
from ..arch.detector_head import SIDES
from ..data.base import Batch
from ..utils.distributed import sum_over_processes, world_size
from .assignment import Assignment, Objects, assign, pad_objects
from .detection import Positions, decode, positions_of
from .losses import DistillationLoss, Loss

_BOX_WEIGHT = 3.75
_MIN_SCORE = 0.1  # from which a teacher's boxes are learned


class DetectionTargets(NamedTuple):
    """The objects of a batch, and the positions that can learn them."""

    objects: Objects
    at: Positions


@dataclass(frozen=True)
class DetectionLoss(Loss[DetectionTargets]):
    """Loss of a detector's outputs (N, P, 4 + classes) on the objects of a batch: classes and boxes.

    Binary cross-entropy of the classes, whose targets are as large as the prediction is good (Feng et al., ICCV 2021,
    section 3.3), and complete IoU loss of the boxes (Zheng et al., AAAI 2020), weighted by the same. It is the sum over
    all images, divided by the sum of the targets; in data-parallel training, of the whole batch: the mean of the losses
    of all processes is that of the whole batch. `label_smoothing` is that of the classes.

    A network of fewer feature maps than `arch` has the first of its predictions.
    """

    arch: Arch
    label_smoothing: float = 0.0

    def targets(self, batch: Batch) -> DetectionTargets:
        at = positions_of(self.arch, batch.images.shape[-1], batch.labels.device)
        return DetectionTargets(pad_objects(batch.labels, len(batch.images), at), at)

    def __call__(self, outputs: Tensor, targets: DetectionTargets) -> Tensor:
        from torchvision.ops import complete_box_iou_loss

        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # from mixed precision
        predictions = outputs.shape[1]
        boxes, logits = decode(outputs, targets.at.first(predictions)), outputs[..., SIDES:]
        assignment = assign(targets.objects.first(predictions), boxes, logits)
        quality = assignment.quality
        known = torch.where(quality[..., None] > 0, assignment.boxes, boxes.detach())  # else a box without area
        of_boxes = quality * complete_box_iou_loss(boxes, known)
        parts = bce(logits, self._scores(assignment, outputs), reduction="sum"), _BOX_WEIGHT * of_boxes.sum()
        return torch.stack(parts).sum() / (sum_over_processes(quality.sum()).clamp(min=1) / world_size())

    def _scores(self, assignment: Assignment, outputs: Tensor) -> Tensor:
        """Return the scores to learn (N, P, classes)."""
        count = outputs.shape[-1] - SIDES
        labels = one_hot(assignment.classes, count) * (1 - self.label_smoothing) + self.label_smoothing / count
        return labels * assignment.quality[..., None]


class SoftDetectionTargets(NamedTuple):
    """What a teacher predicts for a batch: N images, P predictions each."""

    boxes: Tensor  # (N, P, 4), distances to the sides, before the softplus
    box_weight: Tensor  # (N, P), the best score where it is large enough, else 0
    classes: Tensor  # (N, P, classes), probabilities at the temperature
    normaliser: Tensor  # scalar, the sum of the best scores, as that of DetectionLoss


@dataclass(frozen=True)
class DetectionDistillationLoss(DistillationLoss[SoftDetectionTargets]):
    """Loss of a detector's outputs on a teacher's: its classes, and its boxes where it sees an object.

    The sum over all predictions, divided by the sum of the teacher's scores, so that it weighs as much as the loss on
    labels. A network of fewer feature maps learns from the first of the teacher's predictions.
    """

    temperature: float = 1.0

    def targets(self, teacher_outputs: Tensor) -> SoftDetectionTargets:
        outputs = teacher_outputs.detach()
        score = outputs[..., SIDES:].sigmoid().amax(-1)
        return SoftDetectionTargets(
            boxes=outputs[..., :SIDES],
            box_weight=score * (score > _MIN_SCORE),
            classes=(outputs[..., SIDES:] / self.temperature).sigmoid(),
            normaliser=sum_over_processes(score.sum()).clamp(min=1) / world_size(),
        )

    def __call__(self, outputs: Tensor, targets: SoftDetectionTargets) -> Tensor:
        first = slice(outputs.shape[1])
        boxes = smooth_l1_loss(outputs[..., :SIDES], targets.boxes[:, first], reduction="none").sum(-1)
        logits = outputs[..., SIDES:] / self.temperature
        classes = bce(logits, targets.classes[:, first], reduction="none").sum(-1)
        return (targets.box_weight[:, first] * boxes + self.temperature**2 * classes).sum() / targets.normaliser
