"""The one training loop: any model, any objective; killed at any moment, it resumes to the same weights."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..data.base import Data
from ..utils.distributed import rank
from ..utils.rng import generator
from .checkpoint import _State
from .objectives import Objective
from .precision import Arithmetic
from .progress import Progress
from .recipe import Recipe


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
            _freeze(optimizer, epoch + batch.number / per_epoch < recipe.freeze_epochs)
            rate = recipe.rate(epoch + (batch.number + 0.5) / per_epoch)
            rng = generator(recipe.seed, "objective", state.step)
            torch.manual_seed(int(generator(recipe.seed, "dropout", state.step).integers(2**31)) + rank())
            gradient = arithmetic.backward(
                model, optimizer, losses(model, batch.to(device), rng), max_grad_norm=recipe.max_grad_norm
            )
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
