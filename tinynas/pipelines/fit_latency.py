"""The fit-latency command: from measured times of whole networks to the times of a space's layers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arch.arch import Arch
from ..arch.cost_table import LONGEST, read_rows, read_time, write_table
from ..arch.layers import layers_of_space
from ..arch.space import SearchSpace
from ..arch.zoo import load_arch, shipped_networks
from ..study.latency_model import FEATURES, LatencyFit, fit_latency
from ..utils.errors import FileError, TinyNASError

_COLUMNS = ("arch", "microseconds")
_SHORTEST = 1e-3  # microseconds that a network may take


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """A latency model fitted to measured networks, and its error by leave-one-out cross-validation.

    Attributes:
        names: The networks, as the file has them.
        fit: The model, and the error of every network in percent.
    """

    names: list[str]
    fit: LatencyFit

    @property
    def mean_error(self) -> float:
        """Mean absolute percentage error."""
        return float(np.abs(self.fit.errors).mean())

    @property
    def worst(self) -> int:
        """Index of the network with the largest error."""
        return int(np.abs(self.fit.errors).argmax())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: errors in percent, coefficients in microseconds."""
        coefficients = {}
        for kind, values in self.fit.model.coefficients.items():
            coefficients[kind] = dict(zip(FEATURES, values, strict=True))
        return {
            "networks": len(self.names),
            "mean_error": self.mean_error,
            "largest_error": self.fit.errors[self.worst],
            "largest_error_of": self.names[self.worst],
            "errors": dict(zip(self.names, self.fit.errors, strict=True)),
            "coefficients": coefficients,
        }


def fit_measured(measured: Path, table: Path | None = None, space: SearchSpace | None = None) -> LatencyReport:
    """Fit a latency model to measured networks, and write a table of the layers of a space with its predictions.

    Args:
        measured: CSV file with the columns `arch`, a shipped network's name or an arch's file (its path is relative to
            the CSV file's folder), and `microseconds`.
        table: Latency table to write, if any.
        space: Space whose layers are in the table.

    Raises:
        InputError: The networks are too few, or have no layers of a kind that the space has.
        FileError: A file cannot be read or written, or is not valid.
    """
    names, archs, times = _read_measured(measured)
    report = LatencyReport(names=names, fit=fit_latency(archs, times))
    if table and space:
        layers = layers_of_space(space)
        write_table(table, layers, {layer: report.fit.model.microseconds(layer) for layer in layers})
    return report


def _read_measured(path: Path) -> tuple[list[str], list[Arch], list[float]]:
    lines: dict[Arch, int] = {}
    names, times = [], []
    for line, row in read_rows(path, _COLUMNS).items():
        where = f"{path}, line {line}"
        arch, time = _load(row["arch"], path.parent, where), read_time(row["microseconds"])
        if time is None or time < _SHORTEST:
            raise FileError(
                f"{where}: microseconds must be from {_SHORTEST:g} to {LONGEST:g}, but is "
                f"{row['microseconds']!r:.60}; fix the file"
            )
        if arch in lines:
            raise FileError(f"{where} has the network of line {lines[arch]} again; keep one of the two")
        lines[arch] = line
        names.append(row["arch"])
        times.append(time)
    return names, list(lines), times


def _load(name: str, folder: Path, where: str) -> Arch:
    """Return the arch of a shipped name, or of a file in the folder. Raises FileError, which says where it is named."""
    try:
        return load_arch(name if name in shipped_networks() else folder / name)
    except TinyNASError as error:
        raise FileError(f"{where}: {error}") from None
