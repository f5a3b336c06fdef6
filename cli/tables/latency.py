"""Tables of layers and of latency models."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..screen import Screen

if TYPE_CHECKING:
    from tinynas.pipelines.fit_latency import LatencyReport


def show_layers(screen: Screen, space: str, counts: Mapping[str, int], table: Path, column: str) -> None:
    """Show how many different layers of each kind a space has."""
    total = sum(counts.values())
    rows = []
    for kind, count in {**counts, "all": total}.items():
        rows.append({"kind": kind, "layers": str(count)})
    screen.table(f"Different layers of {space}", rows)
    screen.note(f"written to {table}; next: fill in its last column, {column}")


def show_fit(screen: Screen, report: "LatencyReport", table: Path | None) -> None:
    """Show the coefficients of a latency model, and its error."""
    rows = []
    for kind, (layer, mac, byte) in report.fit.model.coefficients.items():
        rows.append({"kind": kind, "us a layer": f"{layer:.3g}", "ns a MAC": f"{1e3 * mac:.3g}"})
        rows[-1]["ns a byte"] = f"{1e3 * byte:.3g}"
    screen.table(f"Latency model, fitted to {len(report.names)} networks", rows)
    worst = report.worst
    screen.note(
        f"error, a network predicted from the other {len(report.names) - 1}: {report.mean_error:.1f}% on average, at "
        f"most {abs(report.fit.errors[worst]):.1f}% ({report.names[worst]}: {report.fit.errors[worst]:+.1f}%)"
    )
    if table:
        screen.note(f"predictions for the layers written to {table}")
