"""Tables of trained models: evaluations, predictions, early exits."""

from pathlib import Path
from typing import Any

from tinynas.arch.cost import Cost, describe
from tinynas.experiment.early_exit_report import EarlyExitReport
from tinynas.experiment.evaluation_report import EvaluationReport
from tinynas.utils.text import counted
from tinynas.utils.units import format_seconds, threshold_text

from ..screen import Row, Screen
from .cells import COST_TITLES, cost_cells, fraction, is_uneven, note_undrawable, percent, warn_if_untrained
from .detectors import show_detector


def show_evaluation(screen: Screen, report: EvaluationReport) -> None:
    """Show the accuracy of a model, over all classes and by class."""
    evaluation, title = report.evaluation, f"{report.model} on the test split of {report.data}"
    uneven = is_uneven(evaluation.chance)
    if evaluation.ap50 is None:
        accuracies: list[tuple[str, float | None]] = [("all classes", evaluation.accuracy)]
        if uneven:
            accuracies.append(("balanced, the mean over classes", evaluation.balanced_accuracy))
        accuracies += evaluation.by_class.items()
        screen.table(title, [{"": name, f"{report.metric} %": percent(accuracy)} for name, accuracy in accuracies])
    else:
        show_detector(screen, title, evaluation)
    sizes = []
    for resolution, other in report.resolutions.items():
        row = {"resolution": str(resolution), f"{report.metric} %": percent(other.accuracy)}
        if uneven:
            row["balanced accuracy %"] = percent(other.balanced_accuracy)
        sizes.append(row | cost_cells(other.cost))
    if sizes:
        screen.table("At other image sizes", sizes)
    advice = "check that images and labels are like those that the model was trained on"
    warn_if_untrained(screen, report.metric, evaluation.accuracy, evaluation.chance, split="test", advice=advice)
    costs = cost_cells(evaluation.cost) | {COST_TITLES["macs"]: describe("macs", evaluation.macs)}
    screen.note(", ".join(f"{title} {text}" for title, text in costs.items()))


def show_predictions(screen: Screen, folder: Path, predictions: list[dict[str, Any]]) -> None:
    """Show the classes or the boxes predicted for images."""
    rows, drawn = [], []
    written = "predictions.json"
    for prediction in predictions:
        rows.append({"image": Path(prediction["image"]).name, "": _prediction_text(prediction)})
        if "picture" in prediction:
            written = "predictions.json and pictures"
            for box in prediction["boxes"]:
                drawn.append(box["class"])
    screen.table("Predictions", rows, left=2)
    note_undrawable(screen, drawn, instead="the numbers of the classes")
    screen.note(f"written to {folder}: {written}")


def _prediction_text(prediction: dict[str, Any]) -> str:
    """Return "cat 0.91, dog 0.05", with the exit if there are early exits; "nothing" for no box."""
    parts = []
    for name, probability in prediction.get("classes", {}).items():
        parts.append(f"{name} {probability:.2f}")
    for box in prediction.get("boxes", []):
        parts.append(f"{box['class']} {box['score']:.2f}")
    text = ", ".join(parts) or "nothing"
    return f"{text} (exit {prediction['exit']})" if "exit" in prediction else text


def show_early_exits(screen: Screen, folder: Path, report: EarlyExitReport) -> None:
    """Show a network with early exits beside the network without, its exits, and other thresholds."""
    images = f"{report.test_images} test images of {report.data}"
    mainnet, chosen = report.mainnet_cost, report.point
    with_exits = _comparison_row("with exits", chosen.accuracy, chosen.macs, report.worst_case)
    with_exits["saved"] = fraction(1 - chosen.macs / mainnet.macs)
    rows = [_comparison_row("MainNet", report.mainnet_accuracy, mainnet.macs, mainnet), with_exits]
    if report.unchanged_accuracy is not None:
        rows.insert(0, _comparison_row("before joint training", report.unchanged_accuracy, mainnet.macs, mainnet))
    screen.table(f"{report.title} on {images}, {report.point.text}", rows)
    if report.joint_epochs:
        screen.note(
            f"the model's weights have changed: {counted(report.joint_epochs, 'epoch')} of training with its exits"
        )
    if chosen.macs >= mainnet.macs:
        screen.note("these exits save nothing: no threshold that was allowed lets enough images exit early")
    if report.exit_seconds:
        average = sum(entry.share * seconds for entry, seconds in zip(report.exits, report.exit_seconds, strict=True))
        screen.note(f"average time of an image in PyTorch on this machine: {format_seconds(average)}")
    _show_exits(screen, report)
    _show_losses(screen, report)
    screen.note(
        "ECE: expected calibration error, in percentage points; peak SRAM includes side heads and the activations "
        "that are kept while one runs"
    )
    note_undrawable(screen, [report.title, report.data], instead="escapes")
    screen.note(f"written to {folder}: sidenet.safetensors, sidenet.json, sidenet.png, README.md")


def _comparison_row(name: str, accuracy: float, macs: float, worst_case: Cost) -> Row:
    costs = cost_cells(worst_case)
    worst_macs = costs.pop(COST_TITLES["macs"])
    row = {"": name, "test accuracy %": percent(accuracy), "average MACs": describe("macs", macs), "saved": ""}
    return row | {"worst MACs": worst_macs} | costs


def _show_exits(screen: Screen, report: EarlyExitReport) -> None:
    """Show every exit: the images that exit there, and its accuracy and calibration over all images."""
    rows = []
    for entry in report.exits:
        rows.append(
            {
                "exit": entry.name,
                "MACs": describe("macs", entry.macs),
                "images %": f"{100 * entry.share:.1f}",
                "accuracy, all images %": percent(entry.accuracy),
                "temperature": f"{entry.temperature:.2f}",
                "ECE before": f"{entry.calibration_error_before:.2f}",
                "ECE calibrated": f"{entry.calibration_error:.2f}",
            }
        )
    screen.table("Exits", rows)


def _show_losses(screen: Screen, report: EarlyExitReport) -> None:
    """Show the cheapest threshold for some losses of accuracy on search-val."""
    rows = []
    for entry in report.losses:
        rows.append(
            {
                "percentage points lost on search-val": f"{entry.allowed:g}",
                "threshold": threshold_text(entry.thresholds),
                "test accuracy %": percent(entry.accuracy),
                "average MACs": describe("macs", entry.macs),
                "saved": fraction(entry.saved),
            }
        )
    screen.table("Other thresholds", rows, left=0)
