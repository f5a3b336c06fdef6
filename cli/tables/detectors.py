"""Tables of detectors' figures, by COCO's protocol and VOC's."""

from tinynas.experiment.evaluation_report import ErrorReport, Evaluation

from ..screen import Row, Screen
from .cells import percent

_COCO, _VOC = "COCO", "VOC"


def show_detector(screen: Screen, title: str, evaluation: Evaluation) -> None:
    """Show the figures of a detector over all classes, each with its protocol, and those by class."""
    figures = evaluation.detection
    rows = [_row("mAP, IoU 0.50 to 0.95", _COCO, evaluation.accuracy), _row("AP50", _COCO, evaluation.ap50)]
    if figures is not None:
        rows += [
            _row("AP75", _COCO, figures.ap75),
            _row("AP, small objects", _COCO, figures.ap_small),
            _row("AP, medium objects", _COCO, figures.ap_medium),
            _row("AP, large objects", _COCO, figures.ap_large),
            _row("AR, 100 detections an image", _COCO, figures.ar),
            _row("AR, small objects", _COCO, figures.ar_small),
            _row("AR, medium objects", _COCO, figures.ar_medium),
            _row("AR, large objects", _COCO, figures.ar_large),
            _row("AP50, all points (from 2010 on)", _VOC, figures.voc_ap50),
            _row("AP50, 11 points (until 2009)", _VOC, figures.voc_ap50_11_points),
        ]
    screen.table(title, rows, left=2)
    by_class = []
    for name, ap50 in evaluation.by_class.items():
        row = {"class": name, "COCO's AP50 %": percent(ap50)}
        if figures is not None:
            row["COCO's mAP %"] = percent(figures.ap_by_class.get(name))
        by_class.append(row)
    if by_class:
        screen.table("By class", by_class)
    if figures is not None:
        screen.note("small: up to 32 x 32 pixels of the original image; large: from 96 x 96 on")


def show_errors(screen: Screen, errors: ErrorReport, folder: str) -> None:
    """Say which pictures of errors were written, and of a detector its threshold and mean IoU."""
    if errors.threshold is None:
        screen.note(f"written to {folder}: confusion.png")
        return
    iou = "-" if errors.mean_iou is None else f"{errors.mean_iou:.3f}"
    why = f"which have the best F1 on search-val ({errors.f1:.3f})" if errors.f1 else "as no box on search-val is right"
    screen.note(f"at scores above {errors.threshold:.3f}, {why}: mean IoU of right boxes {iou}")
    screen.note(f"written to {folder}: confusion.png, precision-recall.png")


def _row(figure: str, protocol: str, value: float | None) -> Row:
    return {"": figure, "protocol": protocol, "%": percent(value)}
