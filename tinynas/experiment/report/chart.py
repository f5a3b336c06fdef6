"""Charts of the report: where axes, ticks, lines and points lie; the template draws them as inline SVG.

Units are those of the drawing, about a pixel each. Colours are in the page's style sheet: they suit light and dark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log10
from typing import NamedTuple

from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH, HEIGHT = 380, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 44  # margins of the axes
COLOURS = 8  # in the style sheet; further series repeat them
_TICKS = 6  # at most on an axis
# Times its lowest value that a log axis ends at, below which its ticks are evenly spaced.
_NARROW = {2: 8.0, 10: 3.0}
_KIB = 1024
_PAD = 0.05  # of the range, on both sides


class Tick(NamedTuple):
    """A tick of an axis: where it lies, and its label."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of a chart.

    Attributes:
        title: What is shown, with its unit.
        low: Value at its beginning.
        high: Value at its end.
        label: Returns the label of a value.
        log: Base of the ticks of a logarithmic axis, 2 for bytes or 10; None if it is linear.
        whole: Whether only whole numbers have ticks.
    """

    title: str
    low: float
    high: float
    label: Callable[[float], str]
    log: int | None = None
    whole: bool = False

    @classmethod
    def around(
        cls,
        values: Sequence[float],
        title: str,
        label: Callable[[float], str],
        *,
        log: int | None = None,
        whole: bool = False,
    ) -> "Axis":
        """Return the axis on which all values, at least one, have some space around them."""
        low, high = min(values), max(values)
        if log:
            return cls(title=title, low=low / 1.15, high=high * 1.15, label=label, log=log)
        pad = _PAD * (high - low) or _PAD * abs(high) or 1.0
        return cls(title=title, low=low - pad, high=high + pad, label=label, whole=whole)

    def fraction(self, value: float) -> float:
        """Return where a value lies on the axis, 0 to 1."""
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return the values that have a tick."""
        if self.log and self.high / self.low > _NARROW[self.log]:
            steps = (1, 2, 5) if self.log == 10 else (1,)
            inside = self._inside(LogLocator(base=self.log, subs=steps).tick_values(self.low, self.high))
            if len(inside) <= _TICKS:
                return inside
            return self._inside(LogLocator(base=self.log, numticks=_TICKS).tick_values(self.low, self.high))
        unit = _KIB if self.log == 2 and self.low >= _KIB else 1
        locator = MaxNLocator(_TICKS, steps=[1, 2, 5, 10], integer=self.whole)
        return self._inside([unit * value for value in locator.tick_values(self.low / unit, self.high / unit)])

    def _inside(self, values: Sequence[float]) -> list[float]:
        """Return the values that lie on the axis."""
        return [float(value) for value in values if self.low <= value <= self.high]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point of a series.

    Attributes:
        x: Its value on the horizontal axis.
        y: Its value on the vertical axis.
        text: What is shown of it when it is pointed at.
        select: Id of the part of the page that it shows when it is clicked; "" for none.
        deviation: Of `y`, drawn as an error bar; 0 has none.
    """

    x: float
    y: float
    text: str
    select: str = ""
    deviation: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that are drawn alike.

    Attributes:
        label: Its name in the legend.
        marks: The points, in the order of the line.
        line: "straight", "step" (which rises at a point), or "" for none.
        points: Whether the points are drawn.
        faint: Whether they are small and transparent.
        dashed: Whether the line is.
    """

    label: str
    marks: Sequence[Mark]
    line: str = ""
    points: bool = True
    faint: bool = False
    dashed: bool = False


class Point(NamedTuple):
    """A point where it is drawn."""

    x: float
    y: float
    mark: Mark
    low: float  # end of the error bar
    high: float


@dataclass(frozen=True, kw_only=True)
class DrawnSeries:
    """A series where it is drawn: its points, and its line as an SVG path."""

    series: Series
    colour: int
    points: list[Point]
    path: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of lines and points.

    Attributes:
        title: Its title.
        x: The horizontal axis.
        y: The vertical axis.
        series: What it shows.
        limits: Values of `x` at which a vertical line is drawn, by the line's name in the legend.
        diagonal: Whether a line joins the ends of the axes.
        note: What there is to know besides.
    """

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    limits: dict[str, float] = field(default_factory=dict)
    diagonal: bool = False
    note: str = ""

    def at_x(self, value: float) -> float:
        """Return where a value of the horizontal axis is drawn."""
        return round(LEFT + self.x.fraction(value) * (WIDTH - LEFT - RIGHT), 1)

    def at_y(self, value: float) -> float:
        """Return where a value of the vertical axis is drawn."""
        return round(HEIGHT - BOTTOM - self.y.fraction(value) * (HEIGHT - TOP - BOTTOM), 1)

    @property
    def x_ticks(self) -> list[Tick]:
        """The ticks of the horizontal axis."""
        return [Tick(self.at_x(value), self.x.label(value)) for value in self.x.ticks()]

    @property
    def y_ticks(self) -> list[Tick]:
        """The ticks of the vertical axis."""
        return [Tick(self.at_y(value), self.y.label(value)) for value in self.y.ticks()]

    @property
    def shown_limits(self) -> list[Tick]:
        """The limits that lie on the horizontal axis."""
        shown = []
        for name, value in self.limits.items():
            if self.x.low <= value <= self.x.high:
                shown.append(Tick(self.at_x(value), name))
        return shown

    @property
    def drawn(self) -> list[DrawnSeries]:
        """The series where they are drawn."""
        drawn = []
        for number, series in enumerate(self.series):
            points = [self._point(mark) for mark in series.marks]
            path = _path(points, steps=series.line == "step") if series.line else ""
            drawn.append(DrawnSeries(series=series, colour=number % COLOURS, points=points, path=path))
        return drawn

    def _point(self, mark: Mark) -> Point:
        low, high = self.at_y(mark.y - mark.deviation), self.at_y(mark.y + mark.deviation)
        return Point(self.at_x(mark.x), self.at_y(mark.y), mark, low, high)


def _path(points: Sequence[Point], *, steps: bool) -> str:
    """Return an SVG path through points."""
    parts = []
    for number, point in enumerate(points):
        if steps and number:
            parts.append(f"H{point.x}")
        parts.append(f"{'L' if number else 'M'}{point.x} {point.y}")
    return " ".join(parts)
