"""export.json as dataclasses: the files that were exported from a model, and what they measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..arch.cost import Cost
from ..utils.schema import check_list, check_mapping
from .result_file import read_cost, read_entries, read_fields, to_dicts
from .target_report import TargetReport
from .threshold_point import ThresholdPoint, read_point, read_points


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """Measurements of an exported file, or of the network in PyTorch.

    Attributes:
        kind: "torch", or the file's format.
        int8: Whether weights and activations are int8.
        file: Name of the file.
        accuracy: The task's metric on the test split, in percent.
        difference: Largest absolute difference from the outputs of PyTorch.
        bytes: Size of the file.
        latency: Median seconds of one run of `batch` images on one thread.
        peak_memory: Bytes of activations that one image needs at most.
        calibration: The criterion that chose the ranges of an int8 file; None if another program chose them.
        output_error: Root mean square difference of the int8 outputs from fp32 on calibration images, relative to fp32.
    """

    kind: str
    int8: bool
    file: str
    accuracy: float
    difference: float
    bytes: int
    latency: float
    peak_memory: int
    calibration: str | None = None
    output_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Content of the export.json of a network without early exits.

    Attributes:
        model: Path of the model file.
        data: The data set.
        metric: What accuracies are measured as: "accuracy", or "mAP" of detectors.
        test_images: Images of the test split.
        calibration_images: Training images that set the ranges of int8.
        qat: Epochs of quantization-aware fine-tuning.
        batch: Images that the files take at a time; None: any number.
        classes: Names of the classes, in the order of the outputs.
        preprocessing: How an image becomes the network's input.
        cost: Counted cost.
        files: The network in PyTorch first, then every file.
        on_target: What the network takes on its target.
    """

    model: str
    data: str
    metric: str = "accuracy"
    test_images: int
    calibration_images: int
    qat: int = 0
    batch: int | None
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    cost: Cost
    files: tuple[FileReport, ...]
    on_target: TargetReport

    def to_dict(self) -> dict[str, Any]:
        """Return the content of export.json."""
        return {
            "model": self.model,
            "data": self.data,
            "metric": self.metric,
            "test_images": self.test_images,
            "calibration_images": self.calibration_images,
            "qat": self.qat,
            "batch": self.batch,
            "classes": list(self.classes),
            "preprocessing": dict(self.preprocessing),
            **self.cost.to_dict(),
            "files": to_dicts(self.files),
            "on_target": self.on_target.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: object) -> "ExportReport":
        """Return the report that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "the file")
        return read_fields(
            cls,
            values,
            "the file",
            classes=tuple(check_list(values.get("classes"), "classes")),
            preprocessing=check_mapping(values.get("preprocessing"), "preprocessing"),
            cost=read_cost(values),
            files=read_entries(FileReport, values.get("files"), "files"),
            on_target=TargetReport.from_dict(values.get("on_target")),
        )


@dataclass(frozen=True, kw_only=True)
class PartFiles:
    """Measurements of the files of all parts of a network with early exits, run one after another.

    Attributes:
        files: Names of the files, in the order in which they run.
        difference: Largest absolute difference from the outputs of PyTorch, at any exit.
        bytes: Size of all files.
        latency: Seconds of an image on average, on one thread.
        worst_latency: Seconds of an image that runs through all parts.
        mainnet_latency: Seconds of the network without early exits, in the same format.
    """

    files: tuple[str, ...]
    difference: float
    bytes: int
    latency: float
    worst_latency: float
    mainnet_latency: float


@dataclass(frozen=True, kw_only=True)
class FormReport:
    """Measurements of a network with early exits on the test split, in PyTorch or as files.

    Attributes:
        kind: "torch", or the format and its precision, such as "ONNX fp32" or "TFLite int8".
        int8: Whether weights and activations are int8.
        point: Thresholds, accuracy and average MACs.
        shares: Fraction of the images that take each exit.
        saved: Fraction of the network's MACs that early exits save on average.
        mainnet_accuracy: Accuracy of the network without early exits, in percent.
        temperatures: Temperature of each exit.
        points: Accuracy and average MACs at other thresholds; only int8 files have them, since fp32 files compute what
            PyTorch does.
        parts: What the files measured; None in PyTorch.
    """

    kind: str
    int8: bool
    point: ThresholdPoint
    shares: tuple[float, ...]
    saved: float
    mainnet_accuracy: float
    temperatures: tuple[float, ...]
    points: tuple[ThresholdPoint, ...] | None = None
    parts: PartFiles | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return an entry of `forms` in export.json."""
        plain: dict[str, Any] = {} if self.parts else {"int8": self.int8}
        plain |= {"kind": self.kind, **self.point.to_dict()}
        plain |= {"shares": list(self.shares), "saved": self.saved, "mainnet_accuracy": self.mainnet_accuracy}
        plain["temperatures"] = list(self.temperatures)
        if self.points is not None:
            plain["points"] = [point.to_dict() for point in self.points]
        if self.parts:
            plain |= {"int8": self.int8, **asdict(self.parts), "files": list(self.parts.files)}
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> "FormReport":
        """Return the entry that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        where = "an entry of forms"
        values = check_mapping(plain, where)
        parts, points = None, None
        if "files" in values:
            parts = read_fields(PartFiles, values, where, files=tuple(check_list(values["files"], "files")))
        if values.get("int8"):
            points = read_points(ThresholdPoint, values.get("points"), "points")
        return read_fields(
            cls,
            values,
            where,
            point=read_point(ThresholdPoint, values, where),
            shares=tuple(check_list(values.get("shares"), "shares")),
            temperatures=tuple(check_list(values.get("temperatures"), "temperatures")),
            points=points,
            parts=parts,
        )


@dataclass(frozen=True, kw_only=True)
class EarlyExitExportReport:
    """Content of the export.json of a network with early exits.

    Attributes:
        model: Path of the model file.
        data: The data set.
        test_images: Images of the test split.
        calibration_images: Training images that set the ranges of int8.
        rule: The rule whose score is compared with the thresholds.
        classes: Names of the classes, in the order of the outputs.
        preprocessing: How an image becomes the network's input.
        cost: Counted cost of an image that runs through all exits.
        forms: The network in PyTorch first, then as files.
        on_target: What the files take on their target.
    """

    model: str
    data: str
    test_images: int
    calibration_images: int
    rule: str = "confidence"
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    cost: Cost
    forms: tuple[FormReport, ...]
    on_target: TargetReport

    def to_dict(self) -> dict[str, Any]:
        """Return the content of export.json."""
        return {
            "model": self.model,
            "data": self.data,
            "test_images": self.test_images,
            "calibration_images": self.calibration_images,
            "rule": self.rule,
            "thresholds": list(self.forms[0].point.thresholds),
            "classes": list(self.classes),
            "preprocessing": dict(self.preprocessing),
            **self.cost.to_dict(),
            "forms": [form.to_dict() for form in self.forms],
            "on_target": self.on_target.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: object) -> "EarlyExitExportReport":
        """Return the report that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "the file")
        forms = []
        for entry in check_list(values.get("forms"), "forms"):
            forms.append(FormReport.from_dict(entry))
        return read_fields(
            cls,
            values,
            "the file",
            classes=tuple(check_list(values.get("classes"), "classes")),
            preprocessing=check_mapping(values.get("preprocessing"), "preprocessing"),
            cost=read_cost(values),
            forms=tuple(forms),
            on_target=TargetReport.from_dict(values.get("on_target")),
        )
