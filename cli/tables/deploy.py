"""Tables of exported files."""

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from tinynas.arch.cost import describe
from tinynas.experiment.export_report import EarlyExitExportReport, ExportReport, PartFiles
from tinynas.experiment.target_report import TargetReport, TflmRun
from tinynas.utils.text import counted
from tinynas.utils.units import format_bytes

from ..screen import Row, Screen
from .cells import TARGET_TITLES, fraction, percent

_COUNTS = ("macs", "params", "min_macs", "cycles")  # figures that are no bytes


@singledispatch
def show_export(report: ExportReport | EarlyExitExportReport, screen: Screen, folder: Path, margin: float) -> None:
    """Show exported files beside the model in PyTorch."""
    raise NotImplementedError


@show_export.register
def _show_files(report: ExportReport, screen: Screen, folder: Path, margin: float) -> None:
    rows, names = [], []
    for file in report.files:
        rows.append(
            {
                "": f"{file.kind} int8" if file.int8 else f"{file.kind} fp32",
                f"test {report.metric} %": percent(file.accuracy),
                "outputs differ by": f"{file.difference:.2g}",
                "file": format_bytes(file.bytes),
                f"latency, batch {report.batch or 1}": describe("latency", file.latency),
                "peak memory": format_bytes(file.peak_memory),
            }
        )
        names.append(file.file)
    screen.table(f"{report.model} on {report.test_images} test images of {report.data}", rows)
    in_torch = report.files[0]
    for file in report.files:
        if file.int8:
            _warn_if_below(screen, file.file, in_torch.accuracy - file.accuracy, margin)
        if file.calibration and file.output_error is not None:
            screen.note(
                f"{file.file}: int8 ranges by {file.calibration}; on {report.calibration_images} training images the "
                f"outputs differ by {100 * file.output_error:.1f}% (root mean square)"
            )
    screen.note("measured on one thread of this machine; peak memory counts activations of one image only")
    if any(file.int8 and file.kind == "TFLite" for file in report.files):
        screen.note("TFLite rows are LiteRT's fast kernels for PCs; a microcontroller computes what TFLM does, below")
    _show_target(screen, report.on_target, report.metric)
    _note_written(screen, folder, names[1:], report.on_target)


@show_export.register
def _show_forms(report: EarlyExitExportReport, screen: Screen, folder: Path, margin: float) -> None:
    rows: list[Row] = []
    names: list[str] = []
    for form in report.forms:
        row = {
            "": form.kind,
            "MainNet %": percent(form.mainnet_accuracy),
            "with exits %": percent(form.point.accuracy),
            "average MACs": describe("macs", form.point.macs),
            "saved": fraction(form.saved),
        }
        rows.append(row | _file_cells(form.parts))
        if form.parts:
            names += form.parts.files
    images = f"{report.test_images} test images of {report.data}"
    screen.table(f"{report.model} on {images}, {report.forms[0].point.text}", rows)
    in_torch = report.forms[0]
    for form in report.forms:
        if form.int8:
            _warn_if_below(screen, form.kind, in_torch.point.accuracy - form.point.accuracy, margin)
    screen.note("measured on one thread, one image at a time; latency is the average over the test images")
    _show_target(screen, report.on_target, "accuracy")
    _note_written(screen, folder, names, report.on_target)


_FIGURE_TITLES = TARGET_TITLES | {
    "arena_64bit": "TFLM arena, 64-bit, here",
    "cycles": "Vela cycles",
    "latency": "Vela time",
    "peak_sram": "peak SRAM",
    "macs": "MACs (FLOPs)",
    "params": "params",
    "flash": "flash",
}


def _show_target(screen: Screen, report: TargetReport, metric: str) -> None:
    """Show what the network takes on its target: counted, measured by another program, and limited by its search."""
    rows = []
    for figure in report.figures:
        title = _FIGURE_TITLES[figure.name]
        row = {"": f"{title}, {figure.of}" if figure.of else title}
        for column, value in (("counted", figure.counted), ("measured", figure.measured), ("limit", figure.limit)):
            row[column] = "" if value is None else _exact(figure.name, value)
        rows.append(row)
    if rows:
        screen.table(f"On {report.target}", rows)
    if report.tflm:
        screen.note(_tflm_text(report.tflm, metric))
    for note in report.notes:
        screen.note(note)


def _note_written(screen: Screen, folder: Path, names: Sequence[str], report: TargetReport) -> None:
    screen.note(f"written to {folder}: {', '.join(list(names) + list(report.files))}, export.json")


def _tflm_text(run: TflmRun, metric: str) -> str:
    """Return what the int8 files did in TFLM, in one line."""
    text = f"in TFLM: {percent(run.accuracy)}% {metric} on {run.images} test images; "
    if run.disagreement is not None:
        text += f"{fraction(run.disagreement)} get another class than in torch; "
    if not run.differing:
        return text + "all outputs are those of LiteRT's reference kernels"
    return text + (
        f"outputs are those of LiteRT's reference kernels but on {counted(run.differing, 'image')}, by at most "
        f"{counted(run.largest_step, 'step')} of int8"
        + ("" if run.operator_step == run.largest_step else "; each operator alone differs by at most 1 step")
    )


def _exact(name: str, value: float) -> str:
    return describe(name, value) if name == "latency" else f"{value:,.0f}" + ("" if name in _COUNTS else " B")


def _file_cells(parts: PartFiles | None) -> Row:
    """Return the cells that are measured of files; they are empty for the model in PyTorch."""
    if parts is None:
        return dict.fromkeys(("outputs differ by", "files", "latency", "worst latency", "MainNet's latency"), "")
    return {
        "outputs differ by": f"{parts.difference:.2g}",
        "files": format_bytes(parts.bytes),
        "latency": describe("latency", parts.latency),
        "worst latency": describe("latency", parts.worst_latency),
        "MainNet's latency": describe("latency", parts.mainnet_latency),
    }


def _warn_if_below(screen: Screen, name: str, loss: float, margin: float) -> None:
    """Warn of an int8 file that loses more accuracy than the margin, in percentage points."""
    if loss > margin:
        screen.note(
            f"warning: {name} loses {loss:.2f} percentage points (margin {margin:g}); "
            "calibrate on more images (--calibration 5000), fine-tune (--to tflite --qat 3), or deploy the fp32 file"
        )
