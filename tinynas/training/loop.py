"""The one training loop, for any objective. A killed training that is resumed ends with the same weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from ..data.base import Batch, Data
from ..kernels.threads import all_threads_for_kernels
from ..models.supernet import Supernet
from ..utils.device_errors import device_errors_in_one_line
from ..utils.distributed import average_gradients, world_size
from ..utils.memory import keep_freed_memory
from ..utils.rng import generator
from ..utils.sizes import Size
from .augmentation import augmentation_ranges
from .averaging import WeightAverage
from .checkpoint import TrainingState
from .graphs import RecordedSteps
from .objectives import Objective
from .precision import MixedPrecision
from .progress import Progress
from .recipe import Recipe
from .sgd import SGD
from .teacher_outputs import TeacherOutputs

_MOST_RECORDED = 8  # kinds of steps: one for each image size, and for what is frozen


def _no_callback(*arguments: object) -> None:
    """Do nothing."""


def train(
    supernet: Supernet,
    objective_for_epoch: Callable[[int], Objective],
    data: Data,
    recipe: Recipe,
    *,
    resolutions: Sequence[Size],
    checkpoint: Path,
    teacher: TeacherOutputs | None = None,
    average: WeightAverage | None = None,
    before_epoch: Callable[[int, Optimizer], None] = _no_callback,
    after_step: Callable[[Progress], None] = _no_callback,
    note: Callable[[str], None] = _no_callback,
) -> None:
    """Train the supernet in place, resuming from the checkpoint if it exists.

    A step whose loss or gradient is not finite is skipped. Under torchrun training is data-parallel: every process
    takes its shard of a batch, and the first one writes checkpoints.

    Args:
        supernet: The networks to train.
        objective_for_epoch: Returns the objective of an epoch, counted from 0.
        data: Its training split is trained on.
        recipe: Optimizer, schedule and regularisation.
        resolutions: Image sizes in pixels, one of which is drawn for each step.
        checkpoint: Written at the end of every epoch, and once a minute.
        teacher: Its outputs are added to every batch, for losses that learn from them.
        average: Updated after every step.
        before_epoch: Called with the epoch and the optimizer when an epoch begins, not where one is resumed.
        after_step: Called in all processes.
        note: Receives messages of one line.

    Raises:
        TrainingError: Ten steps in a row or the last ones were skipped, or weights or batch-norm statistics are not
            finite at the end of an epoch. The last checkpoint before that is kept.
        DeviceError: The device has failed or lacks memory, or another process has ended.
        FileError: The checkpoint is corrupt, or of another network.
    """
    keep_freed_memory()
    optimizer = make_optimizer(supernet, recipe)
    device = next(supernet.parameters()).device
    precision = MixedPrecision.for_device(recipe.precision, device)
    state = TrainingState(supernet, optimizer, precision, recipe, checkpoint, average=average)
    steps = data.steps_per_epoch(recipe.batch_size)
    recorded = RecordedSteps(optimizer, most=_most_recorded(recipe, device), note=note)
    update = partial(train_step, supernet, optimizer=optimizer, precision=precision, max_grad_norm=recipe.max_grad_norm)
    with _training(supernet):
        for epoch in range(state.step // steps, recipe.epochs):
            start = state.step % steps
            if start == 0:
                before_epoch(epoch, optimizer)
            objective = objective_for_epoch(epoch)
            state.begin_epoch(resumed=start > 0)
            for batch in _batches(data, recipe, resolutions, device, teacher, epoch=epoch, start=start):
                frozen = epoch + batch.number / steps < recipe.freeze_epochs
                _freeze(optimizer, frozen=frozen)
                lr = recipe.rate(epoch + (batch.number + 0.5) / steps)
                set_rate(optimizer, lr)
                step = partial(update, objective, rng=_seed_step(recipe.seed, state.step, device))
                result = recorded.run(step, batch, (objective.repeats, frozen) if objective.repeats else None)
                if average is not None:
                    average.update()
                state.add(result)
                progress = state.progress(recipe.epochs, steps, lr)
                if progress.ends_epoch:
                    state.check(ends_training=progress.step == progress.steps)
                after_step(progress)
                state.save(at_once=progress.ends_epoch)
                state.resume_clock()


def _most_recorded(recipe: Recipe, device: torch.device) -> int:
    """Return how many kinds of steps are recorded as CUDA graphs, at most."""
    records = device.type == "cuda" and world_size() == 1 and recipe.precision != "fp16"
    return _MOST_RECORDED if records else 0


@contextmanager
def _training(supernet: Supernet) -> Iterator[None]:
    """Let the body train a supernet, which is in eval mode afterwards.

    A single network's convolutions have one shape each, for which cuDNN tries its kernels and takes the fastest.
    """
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = benchmark or supernet.space.min() == supernet.space.max()
    try:
        with all_threads_for_kernels(supernet.fused), device_errors_in_one_line():
            supernet.train()
            yield
        supernet.eval()
    finally:
        torch.backends.cudnn.benchmark = benchmark


def train_step(
    supernet: Supernet,
    objective: Objective,
    batch: Batch,
    rng: np.random.Generator,
    optimizer: SGD,
    precision: MixedPrecision,
    *,
    max_grad_norm: float,
) -> Tensor:
    """Train the subnets that the objective chooses on one batch, and update the weights once.

    Nothing is read back from the device, so that a GPU is not waited for.

    Args:
        supernet: The networks.
        objective: Chooses the subnets and their losses.
        batch: Images and labels, on the supernet's device.
        rng: Of the objective.
        optimizer: Of the supernet's parameters; `set_rate` has set its learning rates.
        precision: How the forward passes compute.
        max_grad_norm: The L2 norm to which the gradient is clipped; 0: it is not.

    Returns:
        On the supernet's device (2,): the loss that the objective reports, averaged over the processes; and 1 if the
        step was skipped, since loss or gradient was not finite, else 0.
    """
    optimizer.zero_grad()

    reported_loss: Tensor | None = None
    losses = objective.losses(supernet, batch, rng)
    while True:
        with precision.autocast:
            loss = next(losses, None)  # runs the forward pass of one subnet, by `supernet(batch.images, arch)`
        if loss is None:
            break
        precision.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if reported_loss is None or objective.reports_last:
            reported_loss = loss.detach()
    assert reported_loss is not None, "an objective yields at least one loss"

    mean_loss = average_gradients(supernet, reported_loss)  # over the processes
    precision.scaler.unscale_(optimizer)
    parameters = _parameters_with_gradient(optimizer)
    grad_norm = get_total_norm([cast(Tensor, parameter.grad) for parameter in parameters])
    skipped = 1 - torch.stack([mean_loss, grad_norm]).isfinite().all().float()
    if max_grad_norm:
        clip_grads_with_norm_(parameters, max_grad_norm, grad_norm)
    optimizer.step(skip=skipped)
    precision.scaler.update()
    return torch.stack([mean_loss.float(), skipped])


def _batches(
    data: Data,
    recipe: Recipe,
    resolutions: Sequence[Size],
    device: torch.device,
    teacher: TeacherOutputs | None,
    *,
    epoch: int,
    start: int,
) -> Iterator[Batch]:
    """Yield the training batches of an epoch, from number `start` on, on the device, with a teacher's outputs."""
    batches = data.training_batches(
        recipe.batch_size,
        resolutions,
        seed=recipe.seed,
        epoch=epoch,
        start=start,
        augmentation=recipe.augmentation,
        ranges=augmentation_ranges(recipe),
    )
    for batch in batches:
        on_device = batch.to(device)
        yield teacher.add_to(on_device, epoch) if teacher is not None else on_device


def _seed_step(seed: int, step: int, device: torch.device) -> np.random.Generator:
    """Seed dropout and return the generator of subnets; both are the same in all processes."""
    dropout_seed = int(generator(seed, "dropout", step).integers(2**31))
    torch.default_generator.manual_seed(dropout_seed)
    # torch.manual_seed would also keep a call for each kind of GPU that has not been used, with its stack, in 1 ms.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(dropout_seed)
    if device.type == "mps":
        torch.mps.manual_seed(dropout_seed)
    return generator(seed, "objective", step)


def make_optimizer(model: nn.Module, recipe: Recipe) -> SGD:
    """Return SGD over four groups of parameters: of the classifier or not; weights, or norms and biases.

    Norms and biases do not decay; the classifier has its own learning rate and is never frozen.
    """
    groups: list[dict[str, Any]] = []
    for head in (False, True):
        for decays in (True, False):
            groups.append(
                {
                    "params": _parameters(model, head=head, decays=decays),
                    "weight_decay": recipe.weight_decay if decays else 0.0,
                    "factor": (recipe.head_lr or recipe.lr) / recipe.lr if head else 1.0,
                    "head": head,
                }
            )
    return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)


def _parameters(model: nn.Module, *, head: bool, decays: bool) -> list[nn.Parameter]:
    """Return the parameters of the classifier, or all others; of more than one dimension, which decay, or of one."""
    chosen = []
    for name, parameter in model.named_parameters():
        if ("classifier" in name.split(".")) == head and (parameter.ndim > 1) == decays:
            chosen.append(parameter)
    return chosen


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rates: `lr`, multiplied by the "factor" of each group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def _parameters_with_gradient(optimizer: Optimizer) -> list[nn.Parameter]:
    """Return the parameters that a step updates. A walk through the supernet's modules would take far longer."""
    return [
        parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.grad is not None
    ]


def _freeze(optimizer: Optimizer, *, frozen: bool) -> None:
    """Train only the classifier if `frozen`, else all parameters."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(group["head"] or not frozen)
