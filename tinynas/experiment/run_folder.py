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
from pathlib import Path
from typing import Any

from ..utils.errors import FileError, InputError
from ..utils.io import read_text, write_yaml
from ..utils.schema import check_mapping, read_yaml
from ..utils.settings import with_current_keys
from .config import RetrainConfig, SupernetConfig

RUNS = Path("runs")
EXITS = "sidenet.safetensors"


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

    Settings that the file of an older version lacks are added, and older names of settings are replaced.
    """
    plain = json.loads(json.dumps(config))
    written = read_config(path) if path.exists() else {}
    there = with_current_keys(with_current_keys(written, SupernetConfig), RetrainConfig)
    for key, was, asked in _differences(there, plain):
        raise FileError(
            f"{path.parent} is of another configuration: {key} is {_short(was)} there, {_short(asked)} here; "
            "choose another folder"
        )
    if written != plain:
        write_yaml(path, plain)


def read_config(path: Path) -> dict[str, Any]:
    """A config.yaml. Raises FileError."""
    try:
        return dict(check_mapping(read_yaml(read_text(path), str(path)), str(path)))
    except InputError as error:
        raise FileError(str(error)) from None


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
