"""A comparison of runs as dataclasses: series of networks, each at its accuracy and cost."""

from dataclasses import asdict, dataclass
from typing import Any

from ..utils.pareto import Point


@dataclass(frozen=True, kw_only=True)
class ComparedPoint:
    """One network of a series, at one threshold if it has early exits.

    Attributes:
        accuracy: The series' metric, in percent.
        macs: Multiply-accumulates for one image; with early exits on average.
        params: Parameters.
        peak_sram: Bytes.
        flash: Bytes.
        name: Its name within the series, if it has one.
    """

    accuracy: float
    macs: float
    params: int
    peak_sram: int
    flash: int
    name: str = ""

    @property
    def position(self) -> Point:
        """MACs and accuracy, as they are plotted."""
        return self.macs, self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; `name` only if there is one."""
        plain = asdict(self)
        if not self.name:
            del plain["name"]
        return plain


@dataclass(frozen=True, kw_only=True)
class ComparedSeries:
    """Networks that belong together: a Pareto front, or the networks of a run retrained in one way.

    Attributes:
        name: What they are.
        data: The data set of their accuracies.
        metric: What accuracies are measured as.
        split: The split of the data set: "search-val" or "test".
        line: Whether they are alternatives to choose from, and are joined by a line.
        points: The networks.
        hypervolume: What they dominate, in percentage points times decades of MACs.
    """

    name: str
    data: str
    metric: str
    split: str
    line: bool
    points: tuple[ComparedPoint, ...]
    hypervolume: float = 0.0

    def positions(self) -> list[Point]:
        """Return MACs and accuracy of every point."""
        return [point.position for point in self.points]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "data": self.data,
            "metric": self.metric,
            "split": self.split,
            "line": self.line,
            "points": [point.to_dict() for point in self.points],
            "hypervolume": self.hypervolume,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Series of one or more runs.

    Attributes:
        series: The series, run by run.
        reference: MACs and accuracy from which hypervolumes are measured.
    """

    series: tuple[ComparedSeries, ...]
    reference: Point

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        macs, accuracy = self.reference
        return {
            "series": [item.to_dict() for item in self.series],
            "reference": {"macs": macs, "accuracy": accuracy},
        }
