"""Commands on digits that are killed at random moments until there were enough kills, beside uninterrupted ones."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .kills import ONE_THREAD, Progress, evaluations, run_with_kills, same_weights, written

TINYNAS = [sys.executable, "-m", "tinynas.cli"]
_SPACE = ["--space", "micro-v1", "--flops", "300K"]
_SEARCH = [*TINYNAS, "search", "--run", "run", *_SPACE]
_RESUME_SEARCH = [*TINYNAS, "search", "--run", "run", "--resume"]
_RETRAIN = [*TINYNAS, "retrain", "run", "--name", "killed", "--netaug", "--epochs", "40", "--batch-size", "128"]
_RESUME_RETRAIN = [*TINYNAS, "retrain", "run", "--name", "killed", "--resume"]
_SECONDS = 1.5  # after the start or after progress, within which a command is killed
_TRAINING = ["--epochs", "1", "--batch-size", "128"]
_TRIALS = ["--trials", "40"]


def kill_supernet_training(folder: Path, kills: int) -> dict[str, Any]:
    """Kill searches while they train their supernet, which has the time of almost all of the command."""
    training = [*_SEARCH, "--epochs", "12", "--batch-size", "128", "--trials", "2"]
    return _kill(folder, None, training, _RESUME_SEARCH, written("run/supernet.pt"), "run/front.json", kills)


def kill_search(folder: Path, kills: int) -> dict[str, Any]:
    """Kill searches whose supernet is trained."""
    trained = _trained_run(folder)
    (trained / "run" / "front.json").unlink()
    searching = [*_SEARCH, *_TRAINING, "--pareto", *_TRIALS]
    return _kill(folder, trained, searching, searching, evaluations, "run/front.json", kills)


def kill_retraining(folder: Path, kills: int) -> dict[str, Any]:
    """Kill retrainings with NetAug of a searched run's best network."""
    trained = _trained_run(folder)
    progress = written("run/retrain/killed/checkpoint.pt")
    return _kill(folder, trained, _RETRAIN, _RESUME_RETRAIN, progress, "run/retrain/killed/metrics.json", kills)


def _trained_run(folder: Path) -> Path:
    """Return a folder with a run whose supernet is trained for an epoch and searched for two networks."""
    trained = folder / "trained"
    if not (trained / "run" / "front.json").exists():
        trained.mkdir(parents=True)
        _run([*_SEARCH, *_TRAINING, "--trials", "2"], trained)
    return trained


def _kill(
    folder: Path,
    source: Path | None,
    start: list[str],
    resume: list[str],
    progress: Progress,
    result: str,
    kills: int,
) -> dict[str, Any]:
    """Compare commands that were killed with one that was not.

    Args:
        folder: Folder of the copies.
        source: What each command starts from; None: an empty folder.
        start: The command.
        resume: The command that continues it.
        progress: Returns what changes whenever the command has made progress.
        result: File that is written last.
        kills: How often the command is killed in all; it is begun again whenever it has ended.

    Returns:
        kills: How often it was killed.
        commands: How many commands were killed until they ended by themselves.
        equal: How many of them ended with the files of the uninterrupted command, to the bit.
    """
    whole = _copy(source, folder / "whole")
    _run(start, whole)
    rng = np.random.default_rng(0)
    killed, commands, equal = 0, 0, 0
    while killed < kills:
        copy = _copy(source, folder / f"killed-{commands}")
        killed += run_with_kills(start, resume, copy, progress, result, kills=kills - killed, seconds=_SECONDS, rng=rng)
        if not (copy / result).exists():
            _run(resume, copy)
        commands += 1
        if _same_results(whole, copy):
            equal += 1
            shutil.rmtree(copy)  # the others are kept, to be looked into
    return {"kills": killed, "commands": commands, "equal": equal}


def _copy(source: Path | None, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    if source is None:
        target.mkdir(parents=True)
    else:
        shutil.copytree(source, target)
    return target


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, env=ONE_THREAD, stdout=subprocess.DEVNULL, check=True)


def _same_results(whole: Path, killed: Path) -> bool:
    """Return whether two folders have the same weights, Pareto front and metrics, but for times."""
    same = same_weights(whole / "run" / "supernet.pt", killed / "run" / "supernet.pt")
    same &= _without_times(whole / "run" / "front.json") == _without_times(killed / "run" / "front.json")
    for model in whole.glob("run/retrain/*/model.safetensors"):
        other = killed / model.relative_to(whole)
        same &= same_weights(model, other)
        metrics = "metrics.json"
        same &= _without_times(model.with_name(metrics)) == _without_times(other.with_name(metrics))
    return same


def _without_times(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    content.pop("seconds", None)
    return content
