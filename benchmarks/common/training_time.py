"""Training time relative to plain training, from the times of interleaved epochs of all kinds."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tinynas.cli.screen import Screen
from torch import Tensor
from torch.nn.functional import cross_entropy

from tinynas import Arch, SearchSpace, Supernet, augment
from tinynas.arch.heads import Head
from tinynas.arch.netaug import family_factors
from tinynas.data.base import Batch, Data
from tinynas.data.registry import load_data
from tinynas.tasks.losses import Loss, TeacherLoss
from tinynas.tasks.registry import TASKS
from tinynas.training.backend import use_backend
from tinynas.training.loop import train
from tinynas.training.objectives import NetAugObjective, Objective, PlainObjective
from tinynas.training.progress import Progress
from tinynas.training.recipe import Recipe

STRONG = "strong augmentation"


def epoch_times(
    arch: Arch,
    data_name: str,
    *,
    batch_size: int,
    rounds: int = 3,
    teacher: Callable[[Batch], Tensor] | None = None,
) -> dict[str, float]:
    """Return the seconds of an epoch by kind, the least of some rounds in which the kinds are interleaved.

    The kinds: plain; NetAug with what it augments; plain with strong augmentation; with a teacher.
    """
    data = load_data(data_name)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind, (space, objective) in _kinds(arch, data, teacher).items():
            augmentation = "strong" if kind == STRONG else "standard"
            recipe = Recipe(epochs=1, batch_size=batch_size, augmentation=augmentation)
            seconds.setdefault(kind, []).append(_epoch_seconds(space, objective, data, recipe, arch.resolution))
    return {kind: min(times) for kind, times in seconds.items()}


def step_times(arch: Arch, data_name: str, *, batch_size: int, rounds: int = 3) -> dict[str, float]:
    """Return the seconds of an epoch of a detector, of its bare backbone on the same images, and of reading them.

    The least of some rounds in which the three take turns. The backbone ends in global averages and a layer of classes.
    """
    data = load_data(data_name)
    backbone = replace(arch, head=Head())
    detector_loss = TASKS[arch.task].loss(arch, data, label_smoothing=0.0)
    seconds: dict[str, list[float]] = {"detector": [], "backbone": [], "batches": []}
    for _ in range(rounds):
        for name, network, loss in (("detector", arch, detector_loss), ("backbone", backbone, _AnyClass())):
            space = augment(network, width=(1.0,), expand=(1.0,))
            recipe = Recipe(epochs=1, batch_size=batch_size)
            objective = PlainObjective(network, loss)
            seconds[name].append(_epoch_seconds(space, objective, data, recipe, arch.resolution))
        started = time.perf_counter()
        for _ in data.training_batches(batch_size, [arch.resolution], seed=0, epoch=0):
            pass
        seconds["batches"].append(time.perf_counter() - started)
    return {name: min(values) for name, values in seconds.items()}


class _AnyClass(Loss[Tensor]):
    """Cross-entropy to the first class: a backbone learns nothing, which takes as long."""

    def targets(self, batch: Batch) -> Tensor:
        return torch.zeros(len(batch.images), dtype=torch.int64)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs, targets)


def _kinds(
    arch: Arch, data: Data, teacher: Callable[[Batch], Tensor] | None
) -> dict[str, tuple[SearchSpace, Objective]]:
    """Return the space and the objective of an epoch by kind."""
    width, expand = family_factors(arch)
    loss = TASKS[arch.task].loss(arch, data, label_smoothing=0.0)
    alone = augment(arch, width=(1.0,), expand=(1.0,))
    both = augment(arch, width=width, expand=expand)
    expansions = augment(arch, width=(1.0,), expand=expand)
    kinds: dict[str, tuple[SearchSpace, Objective]] = {
        "plain": (alone, PlainObjective(arch, loss)),
        "widths and expansions": (both, NetAugObjective(arch, both, loss)),
        "expansions": (expansions, NetAugObjective(arch, expansions, loss)),
        STRONG: (alone, PlainObjective(arch, loss)),
    }
    if teacher:
        kinds["teacher"] = alone, PlainObjective(arch, TeacherLoss(teacher, loss))
    return kinds


def _epoch_seconds(space: SearchSpace, objective: Objective, data: Data, recipe: Recipe, resolution: int) -> float:
    """Train fresh weights for one epoch, by the backend of trainings, and return its seconds."""
    seconds = 0.0

    def objective_for_epoch(epoch: int) -> Objective:
        return objective

    def after_step(progress: Progress) -> None:
        nonlocal seconds
        seconds = progress.seconds

    supernet = Supernet(space)
    use_backend(supernet, recipe, note=Screen().note)
    with TemporaryDirectory() as folder:
        train(
            supernet,
            objective_for_epoch,
            data,
            recipe,
            resolutions=(resolution,),
            checkpoint=Path(folder) / "checkpoint.pt",
            after_step=after_step,
        )
    return seconds


def relative_time(config: Mapping, times: Mapping[str, float], plain_epochs: int) -> float:
    """Return a training's time over that of so many plain epochs.

    Args:
        config: The training's configuration, as plain data.
        times: Seconds of an epoch by kind.
        plain_epochs: Epochs of the plain training.
    """
    return sum(epoch_costs(config, times)) / plain_epochs / times["plain"]


def epoch_costs(config: Mapping, times: Mapping[str, float]) -> Iterator[float]:
    """Yield the seconds of each epoch of a training; after the end of augmentation they count as plain ones."""
    epochs, netaug = config["recipe"]["epochs"], config["netaug"]
    base = times["plain"]
    if config["recipe"]["augmentation"] == "strong":
        base = times[STRONG]
    if config["distillation"]:
        base += times["teacher"] - times["plain"]
    for epoch in range(epochs):
        kind = _augmented_kind(netaug, epoch / epochs)
        if kind is None:
            yield base
        else:
            yield base + (times[kind] - times["plain"]) * netaug["num_augmented"] / netaug["every"]


def _augmented_kind(netaug: Mapping | None, part: float) -> str | None:
    """Return the kind of an epoch of NetAug after a fraction of the epochs; None if nothing is augmented."""
    if netaug and part < netaug["width_until"]:
        return "widths and expansions"
    if netaug and part < netaug["expand_until"]:
        return "expansions"
    return None
