"""What a detector gets wrong on the test split, at the threshold of scores that is best on search-val."""

from ..data.base import Data
from ..experiment.evaluation_report import ErrorReport
from ..models.model_file import SCORE_THRESHOLD
from ..models.network import Network
from ..tasks.detection_errors import best_threshold, detection_confusion, mean_iou
from ..tasks.matching import Integers, Matches, match
from ..tasks.registry import TASKS
from ..utils.distributed import device

BACKGROUND_CLASS = "background"


def detection_errors(net: Network, data: Data) -> tuple[Matches, ErrorReport]:
    """Return the matches of a detector's boxes on the test split, and its errors.

    Args:
        net: The detector.
        data: A data set of its classes.
    """
    classes, task, net = len(data.classes), TASKS[data.task], net.to(device())
    predictions, truths = task.predict(net, net.arch, data, data.val.to(device()))
    best = best_threshold(match(predictions, truths, classes))
    threshold = best.threshold if best else SCORE_THRESHOLD
    predictions, truths = task.predict(net, net.arch, data, data.test.to(device()))
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
