"""Cells of tables: accuracies, costs, ranges."""

from collections.abc import Iterable
from typing import Protocol

from tinynas.arch.cost import describe
from tinynas.tasks.chance import Chance
from tinynas.utils.fonts import undrawable

from ..screen import Row, Screen

COST_TITLES = {"macs": "MACs (FLOPs)", "params": "params", "peak_sram": "peak SRAM", "flash": "flash"}
TARGET_TITLES = {  # of costs that some targets have
    "peak_sram_inplace_dw": "in-place SRAM",
    "peak_sram_tflm": "TFLM arena",
    "peak_sram_tflm_cmsis_nn": "CMSIS-NN arena",
    "peak_sram_vela": "Vela SRAM",
    "file_tflite": "TFLite file",
    "file_vela": "Vela file",
    "latency": "latency",
}
_HARDLY_ANY_MAP = 0.5  # percent, below which a detector has learned next to nothing


class Costs(Protocol):
    """Anything with the four costs that tables show."""

    @property
    def macs(self) -> float:
        """Multiply-accumulates."""

    @property
    def params(self) -> int:
        """Parameters."""

    @property
    def peak_sram(self) -> int:
        """Bytes."""

    @property
    def flash(self) -> int:
        """Bytes."""


def cost_cells(costs: Costs) -> Row:
    """Return the four cells of a cost."""
    cells = {}
    for name, title in COST_TITLES.items():
        cells[title] = describe(name, getattr(costs, name))
    return cells


def percent(value: float | None) -> str:
    """Return an accuracy in percent, without the sign, which stands in the column's title; "-" if there is none."""
    return "-" if value is None else f"{value:.2f}"


def percent_with_error(value: float, error: float | None) -> str:
    """Return an accuracy and its standard error, if that is known: "81.20 ± 0.85"."""
    return percent(value) if error is None else f"{percent(value)} ± {error:.2f}"


def fraction(value: float) -> str:
    """Return a fraction between 0 and 1 as a percentage: 0.253 is "25.3%"."""
    return f"{100 * value:.1f}%"


def value_range(low: str, high: str) -> str:
    """Return "LOW to HIGH", or only LOW if they are equal."""
    return low if low == high else f"{low} to {high}"


def is_uneven(chance: Chance | None) -> bool:
    """Return whether classes differ in their numbers of images, so that balanced accuracy is shown as well."""
    return chance is not None and chance.is_uneven


def warn_if_untrained(
    screen: Screen, metric: str, accuracy: float, chance: Chance | None, *, split: str, advice: str
) -> None:
    """Warn of an accuracy that needs no learning: at chance level of a classifier, an mAP below 0.5% of a detector."""
    if chance is not None and chance.explains(accuracy):
        screen.note(
            f"warning: accuracy {accuracy:.1f}% on {split} is at chance: always predicting {chance.largest_class!r}, "
            f"the largest class, gives {chance.accuracy:.1f}% (standard error {chance.standard_error:.1f} on "
            f"{chance.images} images); {advice}"
        )
    if metric == "mAP" and accuracy < _HARDLY_ANY_MAP:
        screen.note(
            f"warning: mAP {accuracy:.2f}% on {split} is close to 0: the detector finds hardly any object; {advice}"
        )


def note_undrawable(screen: Screen, names: Iterable[str], *, instead: str) -> None:
    """Say which names are not in a picture since no font has their characters, and what is drawn instead."""
    missing = undrawable(names)
    if missing:
        screen.note(
            f"no installed font has the characters of {', '.join(missing)}: pictures show {instead}; install a font "
            "with these characters, such as Noto Sans CJK"
        )
