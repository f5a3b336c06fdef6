"""The one training loop: any model, any objective; killed at any moment, it resumes to the same weights."""

import ctypes
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import cos, inf, pi
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import nn
from torch.optim import Optimizer

from .data import AUGMENTATIONS, Data, generator
from .errors import FileError, TrainingError, require, unknown
from .files import read, write
from .objectives import Objective
from .parallel import rank
from .precision import PRECISIONS, Arithmetic, Gradient

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
    augmentation: str = "standard"  # of training images: none, standard or strong
    freeze: float = 0.0  # first epochs, in which only the classifier learns
    head_lr: float = 0.0  # learning rate of the classifier; 0 is that of all
    precision: str = "fp32"  # of forward passes: fp32, or mixed with bf16 or fp16
    seed: int = 0  # of initial weights, order, augmentation, and sampled subnets

    def __post_init__(self) -> None:
        for name in ("epochs", "lr"):
            require(0 < getattr(self, name) < inf, f"0 < {name} < inf", **{name: getattr(self, name)})
        require(self.batch_size > 1, "batch_size > 1", batch_size=self.batch_size)
        for name in ("warmup", "momentum", "weight_decay", "smoothing", "clip", "freeze", "head_lr", "seed"):
            require(0 <= getattr(self, name) < inf, f"0 <= {name} < inf", **{name: getattr(self, name)})
        require(self.freeze <= self.epochs, "freeze <= epochs", freeze=self.freeze, epochs=self.epochs)
        require(self.momentum < 1 and self.smoothing < 1, "momentum < 1 and smoothing < 1", recipe=self)
        for kind, known in (("augmentation", AUGMENTATIONS), ("precision", PRECISIONS)):
            if getattr(self, kind) not in known:
                raise unknown(kind, getattr(self, kind), known)

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
    batches_per_second: float
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
    device = next(model.parameters()).device
    arithmetic = Arithmetic(recipe.precision, device)
    state = _State(model, optimizer, arithmetic, checkpoint)
    per_epoch = data.steps_per_epoch(recipe.batch_size)
    model.train()
    for epoch in range(state.step // per_epoch, recipe.epochs):
        start = state.step % per_epoch
        if start == 0:
            before_epoch(epoch, optimizer)
        losses = objective(epoch)
        state.begin_epoch(anew=start == 0)
        drawn: dict[str, Any] = {
            "seed": recipe.seed,
            "epoch": epoch,
            "start": start,
            "augmentation": recipe.augmentation,
        }
        for batch in data.training_batches(recipe.batch_size, resolutions, **drawn):
            _freeze(optimizer, epoch + batch.number / per_epoch < recipe.freeze)
            rate = recipe.rate(epoch + (batch.number + 0.5) / per_epoch)
            rng = generator(recipe.seed, "objective", state.step)
            torch.manual_seed(int(generator(recipe.seed, "dropout", state.step).integers(2**31)) + rank())
            gradient = arithmetic.backward(model, optimizer, losses(model, batch.to(device), rng), clip=recipe.clip)
            if gradient.finite:
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["factor"]
                optimizer.step()
            state.count(gradient)
            if rank() == 0:
                progress = state.progress(recipe.epochs, per_epoch, rate)
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


def _optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Four groups of parameters: of the classifier or not; weights, or norms and biases, which do not decay."""
    groups = []
    for of_head, matrices in product((False, True), (True, False)):
        named = [(name, p) for name, p in model.named_parameters() if ("classifier" in name.split(".")) == of_head]
        groups.append(
            {
                "params": [p for _, p in named if (p.ndim > 1) == matrices],
                "weight_decay": recipe.weight_decay if matrices else 0.0,
                "factor": (recipe.head_lr or recipe.lr) / recipe.lr if of_head else 1.0,
                "head": of_head,
            }
        )
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _freeze(optimizer: Optimizer, frozen: bool) -> None:
    """Let only the classifier learn, or everything."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(group["head"] or not frozen)


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
