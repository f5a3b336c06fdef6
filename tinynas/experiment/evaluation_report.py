"""Evaluations of a trained model as dataclasses: what the eval command returns, and a model's resolutions.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..arch.cost import Cost
from ..tasks.chance import Chance
from ..tasks.detection_figures import DetectionFigures
from ..utils.schema import check_list, check_mapping
from ..utils.sizes import Size
from .result_file import read_by_class, read_chance, read_cost, read_detection, read_fields


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of a model on the test split, and its cost.

    Attributes:
        accuracy: The task's metric, in percent.
        balanced_accuracy: Of a classifier, mean over the classes of `by_class`, in percent.
        ap50: Of a detector, mean average precision at IoU 0.5 by COCO's protocol, in percent.
        by_class: Accuracy by class name, in percent; of a detector, what `ap50` is the mean of. None for a class that
            does not occur in the split.
        chance: Of a classifier, chance level.
        detection: Of a detector, other figures.
        macs: MACs of an average image.
        cost: Counted cost; with early exits, of an image that runs through all of them.
    """

    accuracy: float
    balanced_accuracy: float | None = None
    ap50: float | None = None
    by_class: Mapping[str, float | None] = field(default_factory=dict)
    chance: Chance | None = None
    detection: DetectionFigures | None = None
    macs: float
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: without the figures of the other task, which are None."""
        plain: dict[str, Any] = {"accuracy": self.accuracy}
        if self.balanced_accuracy is not None:
            plain["balanced_accuracy"] = self.balanced_accuracy
        if self.ap50 is not None:
            plain["ap50"] = self.ap50
        plain["by_class"] = dict(self.by_class)
        if self.chance is not None:
            plain["chance"] = self.chance.to_dict()
        if self.detection is not None:
            plain["detection"] = self.detection.to_dict()
        return {**plain, **self.cost.to_dict(), "macs": self.macs}

    @classmethod
    def from_dict(cls, plain: object) -> "Evaluation":
        """Return the evaluation that `to_dict` made plain, of a model without early exits.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "an evaluation")
        return read_fields(
            cls,
            values,
            "an evaluation",
            by_class=read_by_class(values),
            cost=read_cost(values),
            chance=read_chance(values),
            detection=read_detection(values),
        )


@dataclass(frozen=True, kw_only=True)
class ErrorReport:
    """Which classes a model takes for others on the test split.

    Attributes:
        classes: Names of the classes; of a detector, the last one is "background".
        confusion: Counts, of a class's images or objects in every row, by what they are taken for. A detector's row of
            background has the boxes where there is no object, its column the objects that are missed.
        threshold: Of a detector, the score that boxes exceed; it has the highest F1 on search-val, or is predict's
            default if no box is right there.
        f1: Of a detector, that F1, 0 to 1.
        mean_iou: Of a detector, the mean IoU of its right boxes with their objects; None without any.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    threshold: float | None = None
    f1: float | None = None
    mean_iou: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; a classifier's is without threshold, F1 and IoU."""
        plain: dict[str, Any] = {"classes": list(self.classes), "confusion": [list(row) for row in self.confusion]}
        if self.threshold is not None:
            plain |= {"threshold": self.threshold, "f1": self.f1, "mean_iou": self.mean_iou}
        return plain


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """A model's evaluation, and those at other image sizes if there are any.

    Attributes:
        model: Path of the model file.
        data: The data set.
        metric: What accuracies are measured as: "accuracy", or "mAP" of detectors.
        evaluation: At the model's own image size.
        resolutions: At other image sizes, by pixels along a side.
        errors: Which classes are taken for others, if pictures of that were drawn; not read back from files.
    """

    model: str
    data: str
    metric: str = "accuracy"
    evaluation: Evaluation
    resolutions: Mapping[Size, Evaluation] = field(default_factory=dict)
    errors: ErrorReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the content of resolutions.json, if there are other image sizes."""
        plain = {"model": self.model, "data": self.data, "metric": self.metric, **self.evaluation.to_dict()}
        if self.errors is not None:
            plain["errors"] = self.errors.to_dict()
        if self.resolutions:
            points = []
            for resolution, evaluation in self.resolutions.items():
                points.append({"resolution": resolution, **evaluation.to_dict()})
            plain["resolutions"] = points
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> "EvaluationReport":
        """Return the report that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "the file")
        resolutions = {}
        for point in check_list(values.get("resolutions", []), "resolutions"):
            size = read_fields(_Resolution, check_mapping(point, "resolutions"), "an entry of resolutions")
            resolutions[size.resolution] = Evaluation.from_dict(point)
        evaluation = Evaluation.from_dict(values)
        return read_fields(cls, values, "the file", evaluation=evaluation, resolutions=resolutions, errors=None)


@dataclass(frozen=True, kw_only=True)
class _Resolution:
    resolution: Size
