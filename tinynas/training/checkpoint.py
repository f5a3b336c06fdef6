"""Checkpoints of a training: model, optimizer, gradient scaler, counters."""

import io
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import nn
from torch.optim import Optimizer

from ..utils.errors import FileError, TrainingError
from ..utils.io import read, write
from .precision import Arithmetic, Gradient
from .progress import Progress

_SAVE_SECONDS = 60.0
_MOST_SKIPPED = 10  # steps in a row
_COUNTERS = ("step", "seconds", "skipped", "loss_sum", "updates")  # of a checkpoint


class _State:
    """What a checkpoint holds: model, optimizer, and how far the training is."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, arithmetic: Arithmetic, path: Path) -> None:
        self.parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scaler": arithmetic.scaler}
        self.path = path
        self.step, self.first, self.seconds, self.skipped = 0, 0, 0.0, 0
        self.loss_sum, self.updates = 0.0, 0  # of the epoch so far
        self.skipped_in_a_row = 0
        self.clock = self.saved_at = self.began = time.perf_counter()
        if path.exists():
            self._load()

    def begin_epoch(self, *, anew: bool) -> None:
        """An epoch begins, or goes on where a killed process was."""
        self.began, self.first = time.perf_counter(), self.step
        if anew:
            self.loss_sum, self.updates = 0.0, 0

    def progress(self, epochs: int, per_epoch: int, rate: float) -> Progress:
        """After a step of this rate."""
        return Progress(
            step=self.step,
            steps=per_epoch * epochs,
            epoch=-(-self.step // per_epoch),
            epochs=epochs,
            ends_epoch=self.step % per_epoch == 0,
            loss=self.loss_sum / max(1, self.updates),
            lr=rate,
            batches_per_second=(self.step - self.first) / (time.perf_counter() - self.began),
            seconds=self.seconds,
            skipped=self.skipped,
        )

    def count(self, gradient: Gradient) -> None:
        """Note a step. Raises TrainingError if it is one too many without update."""
        self.step += 1
        self.seconds += time.perf_counter() - self.clock
        if gradient.finite:
            self.loss_sum += gradient.loss
            self.updates += 1
            self.skipped_in_a_row = 0
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row == _MOST_SKIPPED:
            kept = f"the last good checkpoint is {self.path}" if self.path.exists() else "there is no checkpoint yet"
            raise TrainingError(
                f"the training diverged: {_MOST_SKIPPED} steps in a row up to step {self.step} had a loss or gradient "
                f"that is not finite; {kept}; try a lower --lr, or --clip 1"
            )

    def resume_clock(self) -> None:
        """What came since the step, evaluation and writing, is no training time."""
        self.clock = time.perf_counter()

    def save(self, at_once: bool) -> None:
        """Write the checkpoint, at once or if the last one is old; not while steps are being skipped."""
        if self.skipped_in_a_row or (not at_once and time.perf_counter() - self.saved_at < _SAVE_SECONDS):
            return
        content: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {name: getattr(self, name) for name in _COUNTERS}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write(self.path, buffer.getvalue())
        self.saved_at = time.perf_counter()

    def _load(self) -> None:
        content = read_checkpoint(self.path)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
            for name in _COUNTERS:
                setattr(self, name, content[name])
        except Exception:  # torch raises almost anything
            raise _damaged(self.path) from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a training has written; its weights are under "model". Raises FileError."""
    raw = read(path)
    try:
        if ZipFile(io.BytesIO(raw)).testzip():  # torch.load does not look at the checksums
            raise ValueError
        return dict(torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu"))
    except Exception:  # damaged bytes make torch raise almost anything
        raise _damaged(path) from None


def _damaged(path: Path) -> FileError:
    advice = "delete it to train again from the start"
    return FileError(f"the checkpoint {path} is damaged or of another network; {advice}")
