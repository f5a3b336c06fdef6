"""What an exported network takes on its target, as a part of export.json: counted, measured, and limited."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..arch.cost import MEASURED
from ..arch.targets import COUNTS_ONLY
from ..utils.schema import check_list, check_mapping
from .result_file import read_entries, read_fields

_ALLOWED_OVER_ESTIMATES = 0.01


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a network on its target.

    Attributes:
        name: Name of the cost, as in `Cost`, or of what only a program measures: "arena_64bit", "cycles".
        of: The file or part that it is of; "" for the whole network.
        counted: Counted from the arch; None if it cannot be counted.
        measured: Measured by another program, or of the file; None if nothing here measures it.
        limit: Limit that the search had, if any.
    """

    name: str
    of: str = ""
    counted: float | None = None
    measured: float | None = None
    limit: float | None = None

    @property
    def largest(self) -> float:
        """The larger of the counted and the measured value."""
        return max(self.counted or 0.0, self.measured or 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded. What a compiler estimates was searched with random weights: 1% is allowed."""
        allowed = _ALLOWED_OVER_ESTIMATES if self.name in MEASURED else 0.0
        return self.limit is not None and self.largest > (1 + allowed) * self.limit


@dataclass(frozen=True, kw_only=True)
class TflmRun:
    """The int8 files of a network in TensorFlow Lite Micro (TFLM) on images, beside LiteRT's reference kernels.

    Attributes:
        images: Number of images.
        accuracy: The task's metric in TFLM, in percent; of early exits at the model's threshold.
        disagreement: Fraction of the images whose class is not PyTorch's; None of detectors.
        differing: Images with an int8 output that differs from the reference kernels'.
        largest_step: Largest of these differences, in steps of int8.
        operator_step: The same of the operators one by one on such an image, where outputs differ by more than a step;
            otherwise `largest_step`.
    """

    images: int
    accuracy: float
    disagreement: float | None
    differing: int
    largest_step: int
    operator_step: int


@dataclass(frozen=True, kw_only=True)
class TargetReport:
    """The network on the target that it is exported for.

    Attributes:
        target: Name of the target.
        searched_for: Name of the target that the network was searched for; None if it was not searched.
        figures: Memory, file sizes and times.
        tflm: The int8 files in TFLM; None if they were not run there.
        files: Names of the files that were compiled for the target's accelerator.
        notes: What there is to know besides, such as operators that an accelerator leaves to the CPU.
    """

    target: str
    searched_for: str | None = None
    figures: tuple[Figure, ...] = ()
    tflm: TflmRun | None = None
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the entry `on_target` of export.json."""
        return {
            "target": self.target,
            "searched_for": self.searched_for,
            "figures": [asdict(figure) for figure in self.figures],
            "tflm": asdict(self.tflm) if self.tflm else None,
            "files": list(self.files),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, plain: object) -> "TargetReport":
        """Return the entry that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        where = "on_target"
        if plain is None:  # in files that are older than targets
            return cls(target=COUNTS_ONLY)
        values: Mapping[str, Any] = check_mapping(plain, where)
        tflm = values.get("tflm")
        return read_fields(
            cls,
            values,
            where,
            figures=read_entries(Figure, values.get("figures"), "figures"),
            tflm=None if tflm is None else read_fields(TflmRun, check_mapping(tflm, "tflm"), "tflm"),
            files=tuple(check_list(values.get("files"), "files")),
            notes=tuple(check_list(values.get("notes"), "notes")),
        )
