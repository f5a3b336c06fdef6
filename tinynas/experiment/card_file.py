"""Model cards as files: written without losing what the user has added, extended by what exports measure."""

from functools import singledispatch
from pathlib import Path
from typing import Any

from ..arch.cost import describe
from ..utils.errors import InputError
from ..utils.io import read_text, write
from ..utils.markdown import escaped, replace_section, table
from ..utils.schema import check_mapping, read_yaml
from ..utils.units import format_bytes
from .card_parts import with_metadata
from .export_report import EarlyExitExportReport, ExportReport
from .target_report import TargetReport

_OWN = "library_name: tinynas"  # line of the metadata of a card
_SECTION = "exported files"


def write_card(path: Path, card: str) -> None:
    """Write a model card; metadata that the user has added to an earlier one, such as the licence, is kept.

    A README.md that is no model card of tinynas is left as it is.

    Raises:
        FileError: The file cannot be written.
    """
    if not path.exists():
        write(path, card)
    elif is_card(path):
        write(path, _with_added(card, _metadata(read_text(path)), known=_metadata(card)))


def add_exported_files(path: Path, report: ExportReport | EarlyExitExportReport) -> None:
    """Add a section about exported files to a model card, if there is one, in place of that of an earlier export.

    Raises:
        FileError: The file cannot be read or written.
    """
    if path.exists() and is_card(path):
        write(path, replace_section(read_text(path), _SECTION, f"## Exported files\n\n{_exported(report)}"))


def is_card(path: Path) -> bool:
    """Return whether a file is a model card of tinynas. Raises FileError if it cannot be read."""
    return _OWN in read_text(path).splitlines()


def _with_added(card: str, earlier: dict[str, Any], known: dict[str, Any]) -> str:
    """Return a card with the metadata of an earlier one that it lacks."""
    added = {name: value for name, value in earlier.items() if name not in known}
    return with_metadata(card, known | added) if added else card


def _metadata(card: str) -> dict[str, Any]:
    """Return the metadata of a card; none if they cannot be read."""
    _, _, rest = card.partition("---\n")
    try:
        return dict(check_mapping(read_yaml(rest.partition("\n---")[0], "the card"), "the card"))
    except InputError:
        return {}


@singledispatch
def _exported(report: ExportReport | EarlyExitExportReport) -> str:
    """Return what exported files measured, as Markdown."""
    raise NotImplementedError


@_exported.register
def _of_network(report: ExportReport) -> str:
    rows = []
    for file in report.files[1:]:
        rows.append(
            {
                "file": escaped(file.file),
                "numbers": "int8" if file.int8 else "fp32",
                f"test {report.metric} %": f"{file.accuracy:.2f}",
                "size": format_bytes(file.bytes),
                "peak memory of activations": format_bytes(file.peak_memory),
            }
        )
    text = f"Run on {report.test_images:,} test images on the machine that exported them, not on a board"
    if any(file.int8 for file in report.files):
        text += f"; the ranges of int8 are those of {report.calibration_images:,} training images"
    return f"{text}.\n\n{table(rows)}\n\n{_on_target(report.on_target)}"


@_exported.register
def _of_early_exits(report: EarlyExitExportReport) -> str:
    rows = []
    for form in report.forms[1:]:
        rows.append(
            {
                "files": escaped(", ".join(form.parts.files if form.parts else ())),
                "": form.kind,
                "test accuracy %": f"{form.point.accuracy:.2f}",
                "average MACs": describe("macs", form.point.macs),
            }
        )
    text = f"Run on {report.test_images:,} test images on the machine that exported them, not on a board."
    return f"{text}\n\n{table(rows)}\n\n{_on_target(report.on_target)}"


def _on_target(report: TargetReport) -> str:
    """Return the target, and what TensorFlow Lite Micro computes there, if that was run."""
    text = f"The target is {report.target}."
    if report.tflm:
        text += (
            f" In TensorFlow Lite Micro, on this machine, the int8 files reach {report.tflm.accuracy:.2f}% on "
            f"{report.tflm.images:,} test images."
        )
    return text
