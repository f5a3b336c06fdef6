"""Pictures of what a trained model errs in: confusion matrix and, of a detector, precision over recall."""

from pathlib import Path

import torch

from ..data.base import Data
from ..experiment.evaluation_report import ErrorReport
from ..tasks.detection_errors import RECALLS, precision_over_recall
from ..tasks.metrics import confusion
from ..utils.io import write
from .detection_errors import count_rows, detection_errors
from .trained_model import TrainedModel

CONFUSION, PRECISION_RECALL = "confusion.png", "precision-recall.png"


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
    matches, report = detection_errors(model.main.net, data)
    title = f"Test objects at IoU 0.5 and scores above {report.threshold:.2f}"
    write(folder / CONFUSION, confusion_plot(report, title=title))
    curves = {data.classes[index]: curve.tolist() for index, curve in precision_over_recall(matches).items()}
    picture = precision_recall_plot(RECALLS.tolist(), curves, title="Precision over recall at IoU 0.5, as VOC's")
    write(folder / PRECISION_RECALL, picture)
    return report
