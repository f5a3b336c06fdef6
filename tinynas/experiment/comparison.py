"""A comparison of runs as dataclasses: series of networks, each at its accuracy and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..utils.pareto import Point, hypervolume, point_of


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
        network: What tells its network from others, if that is known.
        settings: What tells the settings of its training from others, those of a way left out, if they are known.
        deviation: Standard deviation of the accuracy over seeds, in percentage points; None of a single seed.
        seeds: From how many seeds the accuracy is the mean.
        is_measured: Whether the hypervolume of its series counts it.
        others: Further costs by name.
    """

    accuracy: float
    macs: float
    params: int
    peak_sram: int
    flash: int
    name: str = ""
    network: str = ""
    settings: str = ""
    deviation: float | None = None
    seeds: int = 1
    is_measured: bool = True
    others: Mapping[str, float] = field(default_factory=dict)

    def costs(self) -> dict[str, float]:
        """Return the costs that are known, by name."""
        counted = {"macs": self.macs, "params": self.params, "peak_sram": self.peak_sram, "flash": self.flash}
        return {**counted, **self.others}

    def position(self, costs: Sequence[str]) -> Point:
        """Return the costs of these names and the accuracy, as they are plotted."""
        return point_of(self.costs(), costs, self.accuracy)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: further costs beside the others, `name` and the spread over seeds only if there are."""
        plain: dict[str, Any] = {"accuracy": self.accuracy, **self.costs()}
        if self.deviation is not None:
            plain |= {"deviation": self.deviation, "seeds": self.seeds}
        if self.name:
            plain["name"] = self.name
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
        hypervolume: What they dominate, in percentage points times decades of each of the comparison's costs.
    """

    name: str
    data: str
    metric: str
    split: str
    line: bool
    points: tuple[ComparedPoint, ...]
    hypervolume: float = 0.0

    def positions(self, costs: Sequence[str]) -> list[Point]:
        """Return the costs of these names and the accuracy of every point."""
        return [point.position(costs) for point in self.points]

    def dominated(self, costs: Sequence[str], reference: Point) -> float:
        """Return the hypervolume of the points that count, from a reference."""
        return hypervolume([point.position(costs) for point in self.points if point.is_measured], reference)

    def with_costs(self, costs: Sequence[str]) -> "ComparedSeries":
        """Return the series with the points of which these costs are known, and no further costs."""
        points = []
        for point in self.points:
            if point.costs().keys() >= set(costs):
                others = {name: value for name, value in point.others.items() if name in costs}
                points.append(replace(point, others=others))
        return replace(self, points=tuple(points))

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
class Difference:
    """How much more accurate a network is that was retrained in some way than the same one that was retrained plain.

    Attributes:
        kind: The way.
        name: Name of the retraining.
        macs: Multiply-accumulates of the network.
        mean: Mean of the differences, paired by seed, in percentage points.
        half: Half of the mean's 95% interval, in percentage points; None of a single seed.
        seeds: How many seeds both have.
    """

    kind: str
    name: str
    macs: float
    mean: float
    half: float | None
    seeds: int

    @property
    def is_beyond_spread(self) -> bool:
        """Whether the interval does not contain 0."""
        return self.half is not None and abs(self.mean) > self.half

    def __str__(self) -> str:
        text = f"{self.mean:+.2f} percentage points"
        if self.half is None:
            return f"{text}, from one seed"
        return f"{text} (95% interval {self.mean - self.half:+.2f} to {self.mean + self.half:+.2f}, {self.seeds} seeds)"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Series of one or more runs.

    Attributes:
        series: The series, run by run.
        differences: Of the networks that were retrained in several ways.
        reference: Costs from which hypervolumes are measured.
        lowest: Accuracies from which they are measured, by metric.
        costs: Names of the costs, one or two.
        units: Units of the user's own costs, by name.
        left_out: Names of series without points whose costs are known.
    """

    series: tuple[ComparedSeries, ...]
    differences: tuple[Difference, ...] = ()
    reference: Point
    lowest: Mapping[str, float]
    costs: tuple[str, ...] = ("macs",)
    units: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "series": [item.to_dict() for item in self.series],
            "costs": list(self.costs),
            "reference": dict(zip(self.costs, self.reference, strict=True)) | self._lowest_by_key(),
            "left_out": list(self.left_out),
            "differences": [item.to_dict() for item in self.differences],
        }

    def _lowest_by_key(self) -> dict[str, float]:
        """Return the lowest accuracies: of several metrics by their names, of a single one as "accuracy"."""
        if len(self.lowest) > 1:
            return dict(self.lowest)
        return dict(zip(["accuracy"], self.lowest.values(), strict=True))
