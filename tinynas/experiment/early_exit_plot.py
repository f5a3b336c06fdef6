"""The plot of a network with early exits: accuracy over average MACs, and how reliable its confidence is."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..utils.units import format_count
from .early_exit_report import Bin, EarlyExitReport, Pair
from .plots import render

_MIN_IMAGES = 10  # a bin of fewer images says nothing about a confidence


def early_exit_plot(report: EarlyExitReport) -> bytes:
    """Return a PNG: the curve of all thresholds between its bounds, and a reliability diagram."""
    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    _plot_curve(left, report)
    _plot_reliability(right, report)
    return render(figure)


def _plot_curve(axes: Axes, report: EarlyExitReport) -> None:
    _plot_pairs(axes, report.oracle, ":", "black", "exits by an oracle that knows the labels")
    _plot_pairs(axes, report.random, "--", "0.6", "exits at random")
    _plot_pairs(axes, [(point.macs, point.accuracy) for point in report.curve], "-", "C0", "thresholds for all exits")
    first, last, chosen = report.curve[0], report.curve[-1], report.point
    _annotate(axes, first.macs, first.accuracy, "threshold 0", offset=(6, -3), side="left")
    _annotate(axes, last.macs, last.accuracy, "threshold over 1", offset=(4, -12), side="right")
    label = f"chosen: {report.point.text}, {chosen.accuracy:.2f}%"
    axes.plot(chosen.macs, chosen.accuracy, "D", color="C1", zorder=4, label=label)
    macs = report.mainnet_cost.macs
    label = f"MainNet: {report.mainnet_accuracy:.2f}%, {format_count(macs)}"
    axes.plot(macs, report.mainnet_accuracy, "*", color="C3", markersize=11, zorder=4, label=label)
    axes.xaxis.set_major_formatter(FuncFormatter(_format_macs))
    axes.set_xlabel("average MACs of an image")
    axes.set_ylabel("accuracy on the test split (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    axes.set_title(f"{report.title}, {report.data}", fontsize=11)


def _plot_pairs(axes: Axes, pairs: Sequence[Pair], style: str, colour: str, label: str) -> None:
    macs = [pair[0] for pair in pairs]
    accuracies = [pair[1] for pair in pairs]
    axes.plot(macs, accuracies, style, color=colour, linewidth=1.5 if style == "-" else 1, label=label)


def _annotate(axes: Axes, macs: float, accuracy: float, text: str, *, offset: tuple[int, int], side: str) -> None:
    axes.plot(macs, accuracy, "o", color="C0", markersize=4)
    axes.annotate(text, (macs, accuracy), xytext=offset, textcoords="offset points", fontsize=7, ha=side)


def _plot_reliability(axes: Axes, report: EarlyExitReport) -> None:
    axes.plot([0, 100], [0, 100], ":", color="black", linewidth=1)
    for number, entry in enumerate(report.exits):
        colour = f"C{number}"
        label = f"{entry.name}, before: ECE {entry.calibration_error_before:.1f}"
        _plot_bins(axes, entry.reliability_before, "--", colour, 0.5, label)
        label = f"{entry.name}, calibrated: ECE {entry.calibration_error:.1f}"
        _plot_bins(axes, entry.reliability, "-", colour, 1.0, label)
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("correct (%)")
    axes.set_title("Reliability", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left")


def _plot_bins(axes: Axes, bins: Sequence[Bin], style: str, colour: str, alpha: float, label: str) -> None:
    confidences, accuracies = [], []
    for images, confidence, accuracy in bins:
        if images >= _MIN_IMAGES:
            confidences.append(100 * confidence)
            accuracies.append(100 * accuracy)
    axes.plot(confidences, accuracies, style, color=colour, alpha=alpha, marker=".", linewidth=1, label=label)


def _format_macs(value: float, position: int | None) -> str:
    return format_count(value)
