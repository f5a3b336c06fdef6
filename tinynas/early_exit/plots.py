"""The picture of early exits: accuracy over average MACs, and how far confidence can be trusted."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..utils.units import format_count

_FEW = 10  # images, fewer of which show nothing of a confidence


def exits_picture(document: Mapping[str, Any]) -> bytes:
    """A PNG of what sidenet.json says: the curve with its bounds, and a reliability diagram."""
    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    _curve(left, document)
    _reliability(right, document)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _curve(axes: Axes, document: Mapping[str, Any]) -> None:
    curve, mainnet = document["curve"], document["mainnet"]
    axes.plot(*_points(document["oracle"]), "k:", linewidth=1, label="oracle: exits where that is right")
    axes.plot(*_points(document["random"]), "--", color="0.6", linewidth=1, label="exits by chance")
    axes.plot(*_points([(point["macs"], point["accuracy"]) for point in curve]), color="C0", label="all thresholds")
    for point, text, offset, side in ((curve[0], "0", (6, -3), "left"), (curve[-1], "over 1", (4, -12), "right")):
        axes.plot(point["macs"], point["accuracy"], "o", color="C0", markersize=4)
        place = (point["macs"], point["accuracy"])
        axes.annotate(f"threshold {text}", place, xytext=offset, textcoords="offset points", fontsize=7, ha=side)
    chosen = f"chosen: {document['threshold']:.3f}, {document['accuracy']:.2f}%"
    axes.plot(document["macs"], document["accuracy"], "D", color="C1", zorder=4, label=chosen)
    label = f"MainNet: {mainnet['accuracy']:.2f}%, {format_count(mainnet['macs'])}"
    axes.plot(mainnet["macs"], mainnet["accuracy"], "*", color="C3", markersize=11, zorder=4, label=label)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.set_xlabel("MACs of an image, on average")
    axes.set_ylabel("accuracy on the test split (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    where = f"Exits at {', '.join(document['taps'])}" if document["taps"] else "Cascade"
    axes.set_title(f"{where}, {document['data']}", fontsize=11)


def _reliability(axes: Axes, document: Mapping[str, Any]) -> None:
    axes.plot([0, 100], [0, 100], "k:", linewidth=1)
    for number, one in enumerate(document["exits"]):
        for name, style in (("reliability_before", "--"), ("reliability", "-")):
            bins = [each for each in one[name] if each[0] >= _FEW]
            before = name.endswith("before")
            error = one["calibration_error_before" if before else "calibration_error"]
            label = f"{one['name']}, {'before' if before else 'calibrated'}: ECE {error:.1f}"
            xs, ys = [100 * each[1] for each in bins], [100 * each[2] for each in bins]
            look: dict[str, Any] = {"color": f"C{number}", "alpha": 0.5 if before else 1.0}
            axes.plot(xs, ys, style, marker=".", linewidth=1, label=label, **look)
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("right (%)")
    axes.set_title("Reliability", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left")


def _points(points: Any) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]
