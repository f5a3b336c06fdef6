"""The run folder: what is written where, and how it is read back.

runs/NAME/
  config.yaml    everything resolved      supernet.pt    the supernet's checkpoint
  space.yaml     the search space         study.journal  the Optuna studies (JournalStorage)
  log.jsonl      a line an epoch          search.yaml    limits and settings of the newest search
  front.json, front.png, best.yaml        what it found
  earlier/       the same of searches with other limits
  compare.png    the newest comparison
  retrain/NAME/  config.yaml, log.jsonl, checkpoint.pt, metrics.json, model.safetensors
  retrain/NAME/sidenet/, cascade/  early exits: sidenet.safetensors, sidenet.json, sidenet.png
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .arch import Arch, check_mapping, read_yaml
from .choices import DetectorChoices
from .data import Data
from .detection import fit_anchors
from .errors import FileError, InputError
from .files import append_line, read, read_json, read_text, write, write_yaml
from .shipped import load_space, shipped_spaces
from .space import SearchSpace
from .supernet import Supernet
from .tasks import check_task
from .training import read_checkpoint

RUNS = Path("runs")
EXITS = "sidenet.safetensors"
COSTS = ("macs", "params", "peak_sram", "flash")  # that fronts and metrics hold for each network


def newest(pattern: str) -> Path:
    """The file last written among those in runs/ that match. Raises FileError if there is none."""
    found = list(RUNS.glob(pattern))
    if not found:
        raise FileError(f"no {pattern} in {RUNS}; `tinynas search --flops 50M` makes a run")
    return max(found, key=lambda path: path.stat().st_mtime)


def delivered(model: Path | None) -> Path:
    """The file of a delivered model, given by itself or by its folder; by default the newest. Raises FileError."""
    path = model or newest("*/retrain/*/model.safetensors")
    if path.is_dir() and (path / EXITS).exists():
        return path / EXITS
    return path / "model.safetensors" if path.is_dir() else path


def settle_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a folder's config.yaml, or check that the one there says the same. Raises FileError.

    Settings that the file does not know, since an older tinynas wrote it, are added.
    """
    plain = json.loads(json.dumps(config))
    there = read_config(path) if path.exists() else {}
    for key, was, asked in _differences(there, plain):
        raise FileError(
            f"{path.parent} is of another configuration: {key} is {_short(was)} there, {_short(asked)} here; "
            "choose another folder"
        )
    if there != plain:
        write_yaml(path, plain)


def space_text(run: Path, space: str) -> str:
    """The YAML of a run's search space: as the run keeps it, else a shipped one or a file's. Raises FileError."""
    if (run / "space.yaml").exists():
        return read_text(run / "space.yaml")
    load_space(space)  # names what is wrong with it
    return shipped_spaces().get(space) or read_text(Path(space))


def space_for(data: Data, text: str, where: str) -> SearchSpace:
    """A space from YAML, with the data's colours and classes and, for detectors, anchors. Raises InputError."""
    space = SearchSpace.from_dict(read_yaml(text, where))
    check_task(space.task, data)
    if isinstance(space.head, DetectorChoices):
        space = replace(space, head=fit_anchors(space.head, data))
    return replace(space, in_channels=data.channels, classes=len(data.classes))


def read_supernet(run: Path, data: Data) -> Supernet:
    """A run's trained supernet, for the data it was trained on. Raises FileError."""
    path = run / "space.yaml"
    supernet = Supernet(space_for(data, read_text(path), str(path)))
    try:
        supernet.load_state_dict(read_checkpoint(run / "supernet.pt")["model"])
    except RuntimeError:
        shape = f"{len(data.classes)} classes and {data.channels} colours"
        trained_on = read_config(run / "config.yaml").get("data")
        raise FileError(
            f"the supernet of {run}, trained on {trained_on}, is of other data than one of {shape}"
        ) from None
    return supernet


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


def read_config(path: Path) -> dict[str, Any]:
    """A config.yaml. Raises FileError."""
    try:
        return dict(check_mapping(read_yaml(read_text(path), str(path)), str(path)))
    except InputError as error:
        raise FileError(str(error)) from None


class Log:
    """A log.jsonl. What a resumed training repeats replaces what the killed one had written after its checkpoint.

    With `tensorboard` the figures are also written as scalars, beside it. Raises InputError if that is not installed.
    """

    def __init__(self, path: Path, *, tensorboard: bool = False) -> None:
        self.path = path
        self._opened = False
        if tensorboard and not find_spec("tensorboard"):
            raise InputError("--tensorboard needs the package tensorboard: pip install 'tinynas[tensorboard]'")
        self._tensorboard = tensorboard
        self._writer: Any = None

    def add(self, record: dict[str, Any]) -> None:
        """Append a record that has a "step". Raises FileError."""
        if not self._opened and self.path.exists():
            lines = [line for line in read_text(self.path).splitlines() if _step_of(line) < record["step"]]
            write(self.path, "".join(f"{line}\n" for line in lines))
        self._opened = True
        append_line(self.path, record)
        if self._tensorboard:
            self._write_scalars(record)

    def _write_scalars(self, record: dict[str, Any]) -> None:
        if not self._writer:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=record["step"])
        for name, value in record.items():
            self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()


def last_record(path: Path) -> dict[str, Any]:
    """The last whole record of a log.jsonl, or an empty one."""
    lines = [line for line in read_text(path).splitlines() if _step_of(line) < float("inf")]
    return dict(json.loads(lines[-1])) if lines else {}


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # half a line, from a write that was cut off


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


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What is there and not the same here: its name and both values."""
    for key, was in there.items():
        asked = here.get(key)
        if isinstance(was, dict) and isinstance(asked, dict):
            yield from _differences(was, asked, f"{of}{key}.")
        elif was != asked:
            yield of + key, was, asked


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
