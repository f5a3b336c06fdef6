"""errors.json as dataclasses: what a model gets wrong on the test split, and how far its confidence is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..utils.schema import check_list, check_mapping
from .early_exit_report import Bin
from .evaluation_report import ErrorReport
from .result_file import read_entries, read_fields, read_tuples, to_dicts


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test image that a classifier takes for another class.

    Attributes:
        truth: Its class.
        predicted: What the classifier takes it for.
        confidence: Probability of that class, 0 to 1.
        image: Number of the image in the test split.
        picture: What the classifier sees of it, a PNG file in base64.
    """

    truth: str
    predicted: str
    confidence: float
    image: int
    picture: str


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far a classifier's confidence, the probability of the predicted class, is the probability to be right.

    Attributes:
        error: Expected calibration error, in percentage points (Guo et al., ICML 2017, section 2).
        bins: Bins of the reliability diagram: images, mean confidence, fraction that is correct.
    """

    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class ErrorAnalysis:
    """Content of errors.json.

    Attributes:
        errors: Which classes are taken for others.
        calibration: Of a classifier, how far its confidence is right.
        mistakes: Of a classifier, the wrong predictions of which it is most confident, in descending order.
    """

    errors: ErrorReport
    calibration: Calibration | None = None
    mistakes: Sequence[Mistake] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the content of errors.json."""
        calibration = self.calibration and {
            "error": self.calibration.error,
            "bins": [list(entry) for entry in self.calibration.bins],
        }
        return {
            "errors": self.errors.to_dict(),
            "calibration": calibration,
            "mistakes": to_dicts(self.mistakes),
        }

    @classmethod
    def from_dict(cls, plain: object) -> "ErrorAnalysis":
        """Return the analysis that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "the file")
        calibration = None
        if values.get("calibration") is not None:
            plain_calibration = check_mapping(values["calibration"], "calibration")
            bins = read_tuples(plain_calibration, "bins", size=3)
            calibration = read_fields(Calibration, plain_calibration, "calibration", bins=bins)
        return cls(
            errors=_read_errors(values.get("errors")),
            calibration=calibration,
            mistakes=read_entries(Mistake, values.get("mistakes"), "mistakes"),
        )


def _read_errors(plain: object) -> ErrorReport:
    values = check_mapping(plain, "errors")
    rows = read_tuples(values, "confusion", size=len(check_list(values.get("classes"), "classes")))
    return read_fields(ErrorReport, values, "errors", classes=tuple(values["classes"]), confusion=rows)
