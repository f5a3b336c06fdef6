"""Runs of a training step: on a supernet, by the fused kernels or by PyTorch, and on plain PyTorch networks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from tinynas import Arch, SearchSpace, Supernet
from tinynas.data.base import Batch
from tinynas.tasks.losses import DistillationLoss, Loss
from tinynas.training.backend import use_backend
from tinynas.training.loop import make_optimizer, set_rate, train_step
from tinynas.training.objectives import Objective
from tinynas.training.precision import MixedPrecision
from tinynas.training.recipe import Recipe
from tinynas.utils.rng import generator

from .timing import Run

ROUNDS = 15
STEPS_BEFORE = 100  # after which most blocks have been built, as early in any training
SMALL = 32  # pixels along a side of their images, at most
LR = 1e-3
Archs = Callable[[np.random.Generator], list[Arch]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step on a supernet, and how to do the same on plain networks.

    Attributes:
        what: Name of the step.
        space: Space of the supernet.
        objective: Which networks a step trains.
        archs: Returns networks like those of a step; the first is the teacher of the others.
        batch: Images in a batch.
        side: Pixels along a side of an image.
        loss: On labels.
        distillation_loss: Of the other networks on the first one's outputs; None if they learn from the labels.
    """

    what: str
    space: SearchSpace
    objective: Objective
    archs: Archs
    batch: int
    side: int
    loss: Loss[Any]
    distillation_loss: DistillationLoss[Any] | None = None

    @property
    def title(self) -> str:
        """What the row of the step begins with."""
        return f"{self.what}, batch {self.batch}, {self.side} px"


def step_rounds(step: Step, backend: str) -> Iterator[list[Run]]:
    """Yield steps, their random networks new every time, on a supernet and on plain networks, with the same losses."""
    batch, small = make_batch(step, step.batch, step.side), make_batch(step, 2, min(step.side, SMALL))
    supernet = SupernetSteps(step, backend)
    for number in range(STEPS_BEFORE):
        supernet.warm_up(small, number)
    for number in range(ROUNDS + 1):
        plain = PlainSteps(step, supernet.networks(number))
        plain.run(batch)  # PyTorch prepares its kernels for new shapes here, and allocates momentum
        supernet.warm_up(batch, STEPS_BEFORE + number)  # other networks; what the new plain ones displaced in memory
        yield [partial(supernet.run, batch, number), partial(plain.run, batch)]


class SupernetSteps:
    """Whole training steps on a supernet, as `train` runs them.

    Args:
        step: The step.
        backend: What runs the supernet's networks: "fused" or "eager".
    """

    def __init__(self, step: Step, backend: str) -> None:
        self._step = step
        self._supernet = Supernet(step.space).train()
        use_backend(self._supernet, Recipe(backend=backend), note=ignore)
        self._optimizer = make_optimizer(self._supernet, Recipe())
        self._precision = MixedPrecision.for_device("fp32", torch.device("cpu"))

    def run(self, batch: Batch, number: int) -> None:
        """Run a step; its number decides on the random networks."""
        self._train_step(batch, generator(0, "speed", number))

    def warm_up(self, batch: Batch, number: int) -> None:
        """Run a step with other random networks."""
        self._train_step(batch, generator(1, "speed", number))

    def networks(self, number: int) -> list[nn.Module]:
        """Return copies of networks like those of a step."""
        networks = []
        for arch in self._step.archs(generator(0, "speed", number)):
            networks.append(self._supernet.extract(replace(arch, resolution=self._step.side)))
        return networks

    def _train_step(self, batch: Batch, rng: np.random.Generator) -> None:
        set_rate(self._optimizer, LR)
        train_step(
            self._supernet, self._step.objective, batch, rng, self._optimizer, self._precision, max_grad_norm=0.0
        )


class PlainSteps:
    """Training steps of plain networks: all of them are run, and the largest is updated, as a supernet is, once.

    Args:
        step: The step.
        networks: Its networks; the first is the teacher of the others.
    """

    def __init__(self, step: Step, networks: list[nn.Module]) -> None:
        self._step = step
        self._networks = networks
        self._optimizer = plain_optimizer(max(networks, key=num_parameters))

    def run(self, batch: Batch) -> None:
        """Run a step."""
        for network in self._networks:
            network.zero_grad()
        loss: Any = self._step.loss
        targets = loss.targets(batch)
        for i, network in enumerate(self._networks):
            outputs = network(batch.images)
            loss(outputs, targets).backward()
            if i == 0 and self._step.distillation_loss is not None:
                loss = self._step.distillation_loss
                targets = loss.targets(outputs)
        self._optimizer.step()


def plain_optimizer(network: nn.Module) -> Optimizer:
    """Return PyTorch's optimizer with the settings of `train`."""
    recipe = Recipe()
    return torch.optim.SGD(
        network.parameters(), lr=LR, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )


def num_parameters(network: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def make_batch(step: Step, images: int, side: int) -> Batch:
    """Return a batch of noise, `side` pixels wide: each image has a class or, for detectors, a box in its middle."""
    largest = step.space.max()
    labels = torch.arange(images) % largest.classes
    if largest.task == "detect":
        boxes = torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(images, 4)
        labels = torch.cat([torch.arange(images)[:, None], labels[:, None], boxes], 1)
    noise = torch.randn(images, largest.in_channels, side, side)
    return Batch(noise, labels, torch.arange(images), 0)


def ignore(message: str) -> None:
    """Ignore a message."""
