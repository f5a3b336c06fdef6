"""Result files of a run: front.json and metrics.json, read and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..utils.errors import FileError, InputError
from ..utils.io import read, read_json, write

COSTS = ("macs", "params", "peak_sram", "flash")  # that fronts and metrics hold for each network


def keep_earlier(run: Path, document: Mapping[str, Any]) -> None:
    """Before a front replaces a run's: copy that to earlier/ if it has other limits, to damaged/ if it is damaged."""
    if not (run / "front.json").exists():
        return
    try:
        limits = read_front(run)["limits"]
    except FileError:
        folder = run / "damaged"
    else:
        if limits == document["limits"]:
            return
        folder = run / "earlier" / ("-".join(f"{name}-{limit}" for name, limit in limits.items()) or "no-limits")
    for name in ("front.json", "front.png", "best.yaml"):
        if (run / name).exists():
            write(folder / name, read(run / name))


def read_front(run: Path) -> dict[str, Any]:
    """A run's front.json. Raises FileError if it is missing, damaged or incomplete."""
    path = run / "front.json"
    document = read_json(path)
    try:
        for entry in document["front"]:
            Arch.from_dict(entry["arch"])
            _ = [float(entry[key]) for key in ("accuracy", *COSTS)]
        _ = document["front"][document["best"]], document["space"], document["data"], document["limits"]
    except (KeyError, IndexError, TypeError, ValueError, InputError):
        raise FileError(f"{path} is damaged; run the search again with --run {run}") from None
    return dict(document)


def retrainings(run: Path) -> dict[str, dict[str, Any]]:
    """The metrics.json of every finished retraining of a run, by name, oldest first. Raises FileError."""
    found = {}
    for path in sorted(run.glob("retrain/*/metrics.json"), key=lambda path: path.stat().st_mtime):
        metrics = read_json(path)
        if not isinstance(metrics, dict) or not {"accuracy", "netaug", "teacher", "data", *COSTS} <= set(metrics):
            raise FileError(f"{path} is damaged; delete it and retrain with --resume --name {path.parent.name}")
        found[path.parent.name] = metrics
    return found
