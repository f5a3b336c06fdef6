"""The part `steps` of speed.py: training steps on a supernet, and on its networks as plain networks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tinynas import Arch, SearchSpace, Supernet, augment, load_arch, load_space
from tinynas.data.base import Batch
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.training.objectives import NetAugObjective, Objective, SandwichObjective
from tinynas.utils.rng import generator

from .cells import Cells
from .timing import Pair, summary, time_pairs

ROUNDS = 15
STEPS_BEFORE = 200  # after which most blocks have run once, as in any training


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step on a supernet, and how to do the same on plain networks.

    Attributes:
        space: Space of the supernet.
        objective: Which networks a step trains.
        archs: Returns networks like those of a step; the first is the teacher of the others.
        batch: Images in a batch.
        side: Pixels along a side of an image.
        distils: Whether the others learn the first network's outputs.
    """

    space: SearchSpace
    objective: Objective
    archs: Callable[[np.random.Generator], list[Arch]]
    batch: int
    side: int
    distils: bool = False


def measure_steps() -> Iterator[dict]:
    """Time a step, its random networks new every time, beside the plain steps of the same networks."""
    for name, batch, side in (("micro", 128, 28), ("mobile32", 32, 32)):
        space = load_space(name)
        step = Step(
            space=space,
            objective=SandwichObjective(space),
            archs=partial(sandwich_archs, space),
            batch=batch,
            side=side,
            distils=True,
        )
        what = f"sandwich step, {name}, batch {batch}, {side} px: supernet / sum of its four plain networks"
        yield measure_step(what, step)
    searched = Arch.from_dict(Cells("scaling").read()["arch searched 100000"])
    tiny = replace(load_arch("mobilenet-v2-tiny"), classes=10)
    for name, target, batch in (("micro, 98.7K MACs", searched, 128), ("mobilenet-v2-tiny", tiny, 32)):
        space = augment(target)
        step = Step(
            space=space,
            objective=NetAugObjective(target, space, CrossEntropyLoss()),
            archs=partial(target_and_augmented, target, space),
            batch=batch,
            side=target.resolution,
        )
        what = f"NetAug step, {name}, batch {batch}, {step.side} px: supernet / target + augmented, plain"
        yield measure_step(what, step)


def sandwich_archs(space: SearchSpace, rng: np.random.Generator) -> list[Arch]:
    """Return the networks of a sandwich step."""
    return [space.max(), space.min(), space.sample(rng), space.sample(rng)]


def target_and_augmented(target: Arch, space: SearchSpace, rng: np.random.Generator) -> list[Arch]:
    """Return the networks of a NetAug step."""
    return [target, space.sample(rng)]


def measure_step(what: str, step: Step) -> dict:
    """Return the row of a step: the supernet's time over that of the plain networks."""
    ratios, plain_times = [], []
    for supernet_time, plain_time in time_pairs(step_pairs(step)):
        ratios.append(supernet_time / plain_time)
        plain_times.append(1e3 * plain_time)
    return summary(what, ratios, aim="<= 1.05", plain_ms=median(plain_times))


def step_pairs(step: Step) -> Iterator[Pair]:
    """Yield forward and backward passes with the same losses; no optimizer on either side."""
    images = torch.randn(step.batch, step.space.in_channels, step.side, step.side)
    labels = torch.arange(step.batch) % step.space.classes
    supernet = Supernet(step.space).train()
    small = make_batch(images[:2], labels[:2])
    for number in range(STEPS_BEFORE):
        for _ in step.objective.losses(supernet, small, generator(1, "speed", number)):
            pass
    for number in range(ROUNDS + 1):
        networks = []
        for arch in step.archs(generator(0, "speed", number)):
            networks.append(supernet.extract(replace(arch, resolution=step.side)))
        plain_step(networks, images, labels, distils=step.distils)  # kernels for new shapes are compiled here, for both
        yield (
            partial(supernet_step, step, supernet, make_batch(images, labels), number),
            partial(plain_step, networks, images, labels, distils=step.distils),
        )


def supernet_step(step: Step, supernet: Supernet, batch: Batch, number: int) -> None:
    """Run a step on the supernet."""
    supernet.zero_grad()
    for loss in step.objective.losses(supernet, batch, generator(0, "speed", number)):
        loss.backward()


def plain_step(networks: list[nn.Module], images: Tensor, labels: Tensor, *, distils: bool) -> None:
    """Run the same on plain networks."""
    targets = labels
    for network in networks:
        network.zero_grad()
        logits = network(images)
        cross_entropy(logits, targets).backward()
        if distils and network is networks[0]:
            targets = logits.detach().softmax(1)


def make_batch(images: Tensor, labels: Tensor) -> Batch:
    """Return a batch of images and labels."""
    return Batch(images, labels, torch.arange(len(labels)), 0)
