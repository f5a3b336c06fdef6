"""Pictures of what a trained model errs in: confusion matrix and, of a detector, precision over recall."""

from pathlib import Path

import torch

from ..data.base import Data
from ..experiment.evaluation_report import ErrorReport
from ..models.model_file import SCORE_THRESHOLD
from ..tasks.detection_errors import (
    RECALLS,
    best_threshold,
    detection_confusion,
    mean_iou,
    precision_over_recall,
)
from ..tasks.matching import Integers, Matches, match
from ..tasks.metrics import confusion
from ..utils.io import write
from .trained_model import TrainedModel

CONFUSION, PRECISION_RECALL = "confusion.png", "precision-recall.png"
BACKGROUND_CLASS = "background"


def draw_errors(model: TrainedModel, data: Data, folder: Path) -> ErrorReport:
    """Write confusion.png, of the test split, and of a detector precision-recall.png to a folder.

    Returns:
        What the confusion matrix shows.
    """
    from ..experiment.error_plots import confusion_plot, precision_recall_plot

    folder.mkdir(parents=True, exist_ok=True)
    if not model.task.predicts_boxes:
        predicted, labels = map(torch.tensor, model.predictions(data, data.test))
        report = ErrorReport(
            classes=data.classes, confusion=count_rows(confusion(predicted, labels, len(data.classes)).numpy())
        )
        write(folder / CONFUSION, confusion_plot(report, title="Test images by class and prediction"))
        return report
    matches, report = detection_errors(model, data)
    title = f"Test objects at IoU 0.5 and scores above {report.threshold:.2f}"
    write(folder / CONFUSION, confusion_plot(report, title=title))
    curves = {data.classes[index]: curve.tolist() for index, curve in precision_over_recall(matches).items()}
    picture = precision_recall_plot(RECALLS.tolist(), curves, title="Precision over recall at IoU 0.5, as VOC's")
    write(folder / PRECISION_RECALL, picture)
    return report


def detection_errors(model: TrainedModel, data: Data) -> tuple[Matches, ErrorReport]:
    """Return the matches of a detector's boxes on the test split, and its errors."""
    classes = len(data.classes)
    predictions, truths = model.predictions(data, data.val)
    best = best_threshold(match(predictions, truths, classes))
    threshold = best.threshold if best else SCORE_THRESHOLD
    predictions, truths = model.predictions(data, data.test)
    matches = match(predictions, truths, classes)
    report = ErrorReport(
        classes=(*data.classes, BACKGROUND_CLASS),
        confusion=count_rows(detection_confusion(matches, predictions, truths, threshold)),
        threshold=threshold,
        f1=best.f1 if best else 0.0,
        mean_iou=mean_iou(matches, threshold),
    )
    return matches, report


def count_rows(counts: Integers) -> tuple[tuple[int, ...], ...]:
    """Return the rows of a matrix of counts."""
    return tuple(tuple(row) for row in counts.tolist())
