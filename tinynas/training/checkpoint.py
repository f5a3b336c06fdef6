"""Checkpoints of a training: model, optimizer, gradient scaler, counters."""

import io
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..utils.distributed import broadcast_from_rank0, rank, world_size
from ..utils.errors import FileError, TrainingError
from ..utils.io import read, write
from .averaging import WeightAverage
from .checkpoint_digest import add_digest, is_intact
from .divergence import check_finite, divergence
from .precision import MixedPrecision
from .progress import Progress
from .recipe import Recipe

_SAVE_SECONDS = 60.0
_MAX_SKIPPED = 10  # steps in a row
_READ_TOGETHER = 20  # results of steps on a GPU
_COUNTERS = ("step", "seconds", "skipped", "loss_sum", "updates")  # of a checkpoint


class TrainingState:
    """Model, optimizer, average of weights and counters of a training, loaded from its checkpoint if there is one.

    In data-parallel training only the process of rank 0 reads the checkpoint. It sends the content, or its initial
    state if there is no checkpoint, to all others: they need not share its folder.

    Raises:
        FileError: The checkpoint is corrupt, or of another network.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        precision: MixedPrecision,
        recipe: Recipe,
        path: Path,
        *,
        average: WeightAverage | None = None,
    ) -> None:
        self.parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scaler": precision.scaler}
        if average is not None:
            self.parts["average"] = average
        self.recipe = recipe
        self.path = path
        self.step = 0
        self.seconds = 0.0
        self.skipped = 0
        self.loss_sum = 0.0  # of the epoch so far
        self.updates = 0  # of the epoch so far
        self.skipped_in_a_row = 0
        self.diverging = False  # whether the last step shows that training diverges
        self._unread: list[Tensor] = []  # results of the last steps
        self._first_step = 0  # of the epoch in this process
        self._clock = self._saved_at = self._epoch_began = time.perf_counter()
        if world_size() > 1 or path.exists():
            self._load(broadcast_from_rank0(self._read_or_serialise))

    def begin_epoch(self, *, resumed: bool) -> None:
        """Start an epoch, or resume one that an earlier process had begun."""
        self._epoch_began = time.perf_counter()
        self._first_step = self.step
        if not resumed:
            self.loss_sum = 0.0
            self.updates = 0

    def progress(self, epochs: int, steps_per_epoch: int, lr: float) -> Progress:
        """Return the progress after a step with this learning rate."""
        if self.step % steps_per_epoch == 0:
            self.read()
        return Progress(
            step=self.step,
            steps=steps_per_epoch * epochs,
            epoch=-(-self.step // steps_per_epoch),
            epochs=epochs,
            ends_epoch=self.step % steps_per_epoch == 0,
            loss=self.loss_sum / self.updates if self.updates else None,
            lr=lr,
            batches_per_second=(self.step - self._first_step) / (time.perf_counter() - self._epoch_began),
            seconds=self.seconds,
            skipped=self.skipped,
        )

    def add(self, result: Tensor) -> None:
        """Add what `train_step` returned.

        Results on a GPU are read some steps at a time, and at the end of an epoch: it has to be waited for.

        Raises:
            TrainingError: Ten steps in a row did not update the weights.
        """
        self.step += 1
        self.seconds += time.perf_counter() - self._clock
        self._unread.append(result)
        if result.device.type == "cpu" or len(self._unread) == _READ_TOGETHER:
            self.read()

    def read(self) -> None:
        """Count the steps whose results have not been read.

        Raises:
            TrainingError: Ten steps in a row did not update the weights.
        """
        if not self._unread:
            return
        first = self.step - len(self._unread) + 1
        results = torch.stack(self._unread).tolist()
        self._unread = []
        for step, (loss, skipped) in enumerate(results, first):
            self._count(loss, bool(skipped), step)

    def _count(self, loss: float, skipped: bool, step: int) -> None:
        """Count a step, given its number."""
        if not skipped:
            self.loss_sum += loss
            self.updates += 1
            self.skipped_in_a_row = 0
            self.diverging = False
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        rescaled = self.parts["scaler"].is_enabled() and math.isfinite(loss)  # fp16 tries a smaller scale next
        self.diverging = not rescaled
        if self.skipped_in_a_row == _MAX_SKIPPED:
            raise self._divergence(f"{_MAX_SKIPPED} steps in a row up to step {step}")

    def check(self, *, ends_training: bool) -> None:
        """Check at the end of an epoch that the training has not diverged.

        Raises:
            TrainingError: Weights or batch-norm statistics are not finite, or the training ends with steps that did
                not update the weights.
        """
        check_finite(self.parts["model"], self.recipe, checkpoint=self.path)
        if ends_training and self.skipped == self.step:
            raise self._divergence(f"all {self.step} steps")
        if ends_training and self.diverging:
            last = "step" if self.skipped_in_a_row == 1 else f"{self.skipped_in_a_row} steps"
            raise self._divergence(f"the last {last} of {self.step}")

    def _divergence(self, steps: str) -> TrainingError:
        problem = f"{steps} had a loss or gradient that is not finite"
        return divergence(problem, self.recipe, checkpoint=self.path)

    def resume_clock(self) -> None:
        """Count time again; evaluation and writing since the step are not part of the training time."""
        self._clock = time.perf_counter()

    def save(self, *, at_once: bool) -> None:
        """Write the checkpoint, at once or if the last one is old; not while the training seems to diverge.

        Only the process of rank 0 writes.

        Raises:
            TrainingError: Weights or batch-norm statistics are not finite. A previous checkpoint is kept.
        """
        if rank() > 0:
            return
        if not at_once and time.perf_counter() - self._saved_at < _SAVE_SECONDS:
            return
        self.read()
        if self.diverging:
            return
        check_finite(self.parts["model"], self.recipe, checkpoint=self.path)
        write(self.path, self._serialise())
        self._saved_at = time.perf_counter()

    def _serialise(self) -> bytes:
        """Return the content of a checkpoint of the present state."""
        content: dict[str, Any] = {}
        for name, part in self.parts.items():
            content[name] = part.state_dict()
        for name in _COUNTERS:
            content[name] = getattr(self, name)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return add_digest(buffer.getvalue())

    def _read_or_serialise(self) -> bytes:
        """Return the content of the checkpoint, or what it would be before the first step."""
        return read(self.path) if self.path.exists() else self._serialise()

    def _load(self, raw: bytes) -> None:
        content = _parse(raw, self.path)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
            for name in _COUNTERS:
                setattr(self, name, content[name])
        except Exception:  # torch raises almost anything
            raise _corrupt(self.path) from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what a training has written; its weights are under "model".

    Raises:
        FileError: The file is missing or corrupt.
    """
    return _parse(read(path), path)


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint. Raises FileError, which names the path."""
    try:
        if not is_intact(raw):
            raise ValueError
        content = dict(torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu"))
        content["model"].keys()  # of another file of torch, this raises an error
        return content
    except Exception:  # corrupt bytes make torch raise almost anything
        raise _corrupt(path) from None


def _corrupt(path: Path) -> FileError:
    return FileError(f"the checkpoint {path} is corrupt or of another network; delete it to train from the start")
