"""The one training loop: any model, any objective; killed at any moment, it resumes to the same weights."""

import ctypes
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .data import Data, generator
from .errors import FileError, TrainingError, require
from .files import read, write
from .objectives import Objective
from .parallel import average, rank, world

_SAVE_SECONDS = 60.0
_MOST_SKIPPED = 10  # steps in a row
_COUNTERS = ("step", "seconds", "skipped", "loss_sum", "updates")  # of a checkpoint


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, linear warm-up, then cosine to zero, set anew at every step."""

    epochs: int = 20  # passes over the training images
    batch_size: int = 32  # images a step
    lr: float = 0.1  # learning rate at the end of warm-up
    warmup: float = 1.0  # epochs of warm-up, from 0
    momentum: float = 0.9  # Nesterov momentum
    weight_decay: float = 4e-5  # L2 penalty, not on norms and biases
    smoothing: float = 0.1  # label smoothing
    clip: float = 0.0  # largest L2 norm of a step's gradient; 0 does not clip
    seed: int = 0  # of initial weights, order, augmentation, and sampled subnets

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr"):
            require(getattr(self, name) > 0, f"{name} > 0", **{name: getattr(self, name)})
        for name in ("warmup", "momentum", "weight_decay", "smoothing", "clip", "seed"):
            require(getattr(self, name) >= 0, f"{name} >= 0", **{name: getattr(self, name)})
        require(self.momentum < 1 and self.smoothing < 1, "momentum < 1 and smoothing < 1", recipe=self)

    def rate(self, epoch: float) -> float:
        """Learning rate at a fractional epoch."""
        warmup = min(self.warmup, self.epochs / 2)
        if epoch < warmup:
            return self.lr * epoch / warmup
        return self.lr * (1 + cos(pi * (epoch - warmup) / (self.epochs - warmup))) / 2


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is, after one more step."""

    step: int
    steps: int
    epoch: int  # that the step was in, from 1
    epochs: int
    ends_epoch: bool
    loss: float  # mean over the epoch so far
    lr: float
    images_per_second: float
    seconds: float  # spent on all steps so far, in this process and before
    skipped: int  # steps without update so far, their loss or gradient being not finite


def train(
    model: nn.Module,
    objective: Callable[[int], Objective],
    data: Data,
    recipe: Recipe,
    *,
    resolutions: Sequence[int],
    checkpoint: Path,
    before_epoch: Callable[[int, Optimizer], None] = lambda epoch, optimizer: None,
    after_step: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Train the model in place, going on from the checkpoint if there is one.

    `objective` gives an epoch's objective, counted from 0; `before_epoch` runs when an epoch begins. Each step has
    one of the resolutions. A step whose loss or gradient is not finite is skipped; ten in a row raise TrainingError,
    and the last checkpoint before them stays. Raises FileError if the checkpoint is damaged. Under torchrun it is
    data-parallel: the batch is shared out, and the first process writes and reports.
    """
    _keep_memory()
    optimizer = _optimizer(model, recipe)
    state = _State(model, optimizer, checkpoint)
    per_epoch = data.steps_per_epoch(recipe.batch_size)
    device = next(model.parameters()).device
    model.train()
    for epoch in range(state.step // per_epoch, recipe.epochs):
        start = state.step % per_epoch
        if start == 0:
            before_epoch(epoch, optimizer)
            state.loss_sum, state.updates = 0.0, 0
        losses, began = objective(epoch), time.perf_counter()
        batches = data.training_batches(recipe.batch_size, resolutions, seed=recipe.seed, epoch=epoch, start=start)
        for i, (images, labels) in enumerate(batches, start):
            rate = recipe.rate(epoch + (i + 0.5) / per_epoch)
            rng = generator(recipe.seed, "objective", state.step)
            gradient = _backward(model, losses, images.to(device), labels.to(device), rng, clip=recipe.clip)
            if gradient.finite:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            state.count(gradient)
            progress = Progress(
                step=state.step,
                steps=per_epoch * recipe.epochs,
                epoch=epoch + 1,
                epochs=recipe.epochs,
                ends_epoch=i + 1 == per_epoch,
                loss=state.loss_sum / max(1, state.updates),
                lr=rate,
                images_per_second=(i + 1 - start) * len(labels) * world() / (time.perf_counter() - began),
                seconds=state.seconds,
                skipped=state.skipped,
            )
            if rank() == 0:
                after_step(progress)
                state.save(at_once=progress.ends_epoch)
            state.resume_clock()
    model.eval()


def _keep_memory() -> None:
    """Have glibc keep freed memory: else every large feature map is mapped anew, page by page, at every step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


class _Gradient(NamedTuple):
    """What a backward pass left in the model: the first loss, and whether all losses and gradients are finite."""

    loss: float
    finite: bool


def _backward(
    model: nn.Module, objective: Objective, images: Tensor, labels: Tensor, rng: np.random.Generator, *, clip: float
) -> _Gradient:
    """The gradient of the sum of the objective's losses, scaled to the norm `clip` if it is larger."""
    model.zero_grad()
    losses = []
    for loss in objective(model, images, labels, rng):
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    loss = average(model, losses[0])
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf"))
    return _Gradient(loss.item(), bool(torch.stack([loss, norm]).isfinite().all()))


def _optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},  # norms and biases
    ]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


class _State:
    """What a checkpoint holds: model, optimizer, and how far the training is."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, path: Path) -> None:
        self.model, self.optimizer, self.path = model, optimizer, path
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        self.loss_sum, self.updates = 0.0, 0  # of the epoch so far
        self.skipped_in_a_row = 0
        self.clock = self.saved_at = time.perf_counter()
        if path.exists():
            self._load()

    def count(self, gradient: _Gradient) -> None:
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
        content = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        content |= {name: getattr(self, name) for name in _COUNTERS}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write(self.path, buffer.getvalue())
        self.saved_at = time.perf_counter()

    def _load(self) -> None:
        raw = read(self.path)
        try:
            if ZipFile(io.BytesIO(raw)).testzip():  # torch.load does not look at the checksums
                raise ValueError
            content = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
            for name in _COUNTERS:
                setattr(self, name, content[name])
        except Exception:  # damaged bytes make torch raise almost anything
            advice = "delete it to train again from the start"
            raise FileError(f"the checkpoint {self.path} is damaged or of another network; {advice}") from None
