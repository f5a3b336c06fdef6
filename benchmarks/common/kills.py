"""Commands that are killed at random moments and resumed, and what must hold afterwards."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from tinynas.training.checkpoint import read_checkpoint
from tinynas.utils.errors import FileError

Progress = Callable[[Path], object]

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # the same sums in the same order
_TIMEOUT = 300.0  # seconds without progress after which a command counts as hanging


def run_with_kills(
    start: Sequence[str | Path],
    resume: Sequence[str | Path],
    folder: Path,
    progress: Progress,
    result: str,
    *,
    kills: int,
    seconds: float,
    rng: np.random.Generator,
) -> int:
    """Run a command that is killed with SIGKILL again and again, and resumed, until it has ended by itself.

    A command is killed after a random time since it was started or, three times in four, since it has made progress.

    Args:
        start: The command.
        resume: The command that continues it.
        folder: Where both run.
        progress: Returns what changes in the folder whenever the command has made progress; it is false until the
            command can be resumed.
        result: Pattern of the file that is written last: a command that is killed after that is not resumed.
        kills: How often it is killed at most.
        seconds: Largest time after which it is killed.
        rng: Draws the times.

    Returns:
        How often it was killed before it ended.

    Raises:
        RuntimeError: The command failed, made no progress, or left a damaged file.
    """
    killed = 0
    command = start
    while killed < kills:
        before = progress(folder)
        with subprocess.Popen(command, cwd=folder, env=ONE_THREAD, stdout=subprocess.DEVNULL) as process:
            if killed % 4:
                _wait_for_progress(process, folder, progress, before)
            time.sleep(rng.uniform(0, seconds))
            process.kill()
        if process.returncode >= 0:
            _check_ended(command, process.returncode)
            return killed
        killed += 1
        damaged = damaged_files(folder)
        if damaged:
            raise RuntimeError(f"killed at a bad moment, {command} left the damaged files {', '.join(damaged)}")
        if written(result)(folder):
            return killed
        if progress(folder):
            command = resume
    last = subprocess.run(command, cwd=folder, env=ONE_THREAD, stdout=subprocess.DEVNULL, check=False)
    _check_ended(command, last.returncode)
    return killed


def written(pattern: str) -> Progress:
    """Return a function that returns when the files of a pattern were written, in nanoseconds."""

    def times(folder: Path) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}

    return times


def evaluations(folder: Path) -> int:
    """Return the number of evaluations in the journal of the folder's run.

    They are a search's progress, where the file itself is also written when a network is begun: a network whose process
    is killed three times is given up, so that a search that is killed must evaluate a network before the next kill.
    """
    journal = folder / "run" / "study.journal"
    return journal.read_bytes().count(b'"values":[') if journal.exists() else 0


def damaged_files(folder: Path) -> list[str]:
    """Return the names of the files in a run folder that are not complete; the last line of a log may be cut off."""
    damaged = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and not _is_complete(path):
            damaged.append(str(path.relative_to(folder)))
    return damaged


def same_weights(file: Path, other: Path) -> bool:
    """Return whether two checkpoints, or two model files, hold the same weights to the bit."""
    weights, others = _read_weights(file), _read_weights(other)
    if weights.keys() != others.keys():
        return False
    return all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".pt":
        return dict(read_checkpoint(path)["model"])
    return load_file(path)


def _is_complete(path: Path) -> bool:
    """Return whether a file can be read to its end."""
    try:
        if path.suffix == ".jsonl":
            for line in path.read_text().splitlines()[:-1]:
                json.loads(line)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            return isinstance(yaml.safe_load(path.read_text()), dict)
        elif path.suffix in (".pt", ".safetensors"):
            _read_weights(path)
    except (ValueError, yaml.YAMLError, FileError, OSError):
        return False
    except Exception as error:  # of safetensors, whose class has no public name
        if type(error).__name__ == "SafetensorError":
            return False
        raise
    return True


def _wait_for_progress(process: subprocess.Popen[bytes], folder: Path, progress: Progress, before: object) -> None:
    """Wait until there is progress, or the process has ended."""
    deadline = time.monotonic() + _TIMEOUT
    while process.poll() is None and progress(folder) == before:
        if time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"no progress in {_TIMEOUT:.0f} s in {folder}")
        time.sleep(0.005)


def _check_ended(command: Sequence[str | Path], code: int) -> None:
    if code:
        raise RuntimeError(f"{command} ended with exit code {code}")
