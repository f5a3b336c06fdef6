"""Tables of exported files."""

from pathlib import Path
from typing import Any

from tinynas.arch.cost import describe
from tinynas.utils.units import format_bytes

from ..screen import Row, Screen
from .cells import fraction, percent


def show_export(screen: Screen, folder: Path, export: dict[str, Any], margin: float) -> None:
    """Show exported files beside the model in PyTorch."""
    rows, names = [], []
    for file in export["files"]:
        rows.append(
            {
                "": f"{file['kind']} int8" if file["int8"] else f"{file['kind']} fp32",
                f"test {export['metric']} %": percent(file["accuracy"]),
                "outputs differ by": f"{file['difference']:.2g}",
                "file": format_bytes(file["bytes"]),
                f"latency, batch {export['batch'] or 1}": describe("latency", file["latency"]),
                "peak memory": format_bytes(file["peak_memory"]),
            }
        )
        names.append(file["file"])
    screen.table(f"{export['model']} on {export['test_images']} test images of {export['data']}", rows)
    accuracy = export["files"][0]["accuracy"]  # of the model in PyTorch
    for file in export["files"]:
        if file["int8"]:
            _warn_if_below(screen, file["file"], accuracy - file["accuracy"], margin)
    flash = format_bytes(export["flash"])
    screen.note(f"measured on one thread; peak memory counts activations only; the int8 weights take {flash} of flash")
    screen.note(f"written to {folder}: {', '.join(names[1:])}, export.json")


def show_export_of_exits(screen: Screen, folder: Path, export: dict[str, Any], margin: float) -> None:
    """Show the exported files of a network with early exits beside it in PyTorch."""
    rows, names = [], []
    for form in export["forms"]:
        row = {
            "": form["kind"],
            "MainNet %": percent(form["mainnet_accuracy"]),
            "with exits %": percent(form["accuracy"]),
            "average MACs": describe("macs", form["macs"]),
            "saved": fraction(form["saved"]),
        }
        rows.append(row | _file_cells(form))
        names += form.get("files", [])
    images = f"{export['test_images']} test images of {export['data']}"
    screen.table(f"{export['model']} on {images}, threshold {export['threshold']:.4g}", rows)
    accuracy = export["forms"][0]["accuracy"]  # of the model in PyTorch
    for form in export["forms"]:
        if form["int8"]:
            _warn_if_below(screen, form["kind"], accuracy - form["accuracy"], margin)
    screen.note("measured on one thread, one image at a time; latency is the average over the test images")
    screen.note(f"written to {folder}: {', '.join(names)}, export.json")


def _file_cells(form: dict[str, Any]) -> Row:
    """Return the cells that are measured of files; they are empty for the model in PyTorch."""
    titles = {"latency": "latency", "worst_latency": "worst latency", "mainnet_latency": "MainNet's latency"}
    has_files = "files" in form
    cells = {
        "outputs differ by": f"{form['difference']:.2g}" if has_files else "",
        "files": format_bytes(form["bytes"]) if has_files else "",
    }
    for name, title in titles.items():
        cells[title] = describe("latency", form[name]) if has_files else ""
    return cells


def _warn_if_below(screen: Screen, name: str, loss: float, margin: float) -> None:
    """Warn of an int8 file that loses more accuracy than the margin, in percentage points."""
    if loss > margin:
        screen.note(
            f"warning: {name} loses {loss:.2f} percentage points (margin {margin:g}); "
            "calibrate on more images (--calibration 5000), or deploy the fp32 file"
        )
