"""Figures of detectors beside mAP, as evaluations report them. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PERCENT_FIGURES = (  # of `DetectionFigures`
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar",
    "ar_small",
    "ar_medium",
    "ar_large",
    "voc_ap50",
    "voc_ap50_11_points",
)


@dataclass(frozen=True, kw_only=True)
class DetectionFigures:
    """Figures of a detector on a split, in percent; means are over the classes that have objects.

    Those by COCO's protocol are means over IoU 0.50 to 0.95, but for ap75, and of 100 detections an image. Small
    objects have up to 32 x 32 pixels of the original image, large ones from 96 x 96 on. None: there are none of the
    size, or the sizes of images are unknown.

    Attributes:
        ap75: COCO's average precision at IoU 0.75.
        ap_by_class: COCO's average precision by class name; None for a class without objects.
        ap_small: COCO's average precision of small objects.
        ap_medium: Of medium objects.
        ap_large: Of large objects.
        ar: COCO's average recall.
        ar_small: COCO's average recall of small objects.
        ar_medium: Of medium objects.
        ar_large: Of large objects.
        voc_ap50: VOC's average precision at IoU 0.5, at all points of recall, as from VOC 2010 on.
        voc_ap50_11_points: VOC's average precision at IoU 0.5, at 11 points of recall, as VOC 2007's.
    """

    ap75: float
    ap_by_class: Mapping[str, float | None] = field(default_factory=dict)
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None
    ar: float
    ar_small: float | None = None
    ar_medium: float | None = None
    ar_large: float | None = None
    voc_ap50: float
    voc_ap50_11_points: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as reports have it."""
        return vars(self) | {"ap_by_class": dict(self.ap_by_class)}
