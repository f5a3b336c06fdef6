"""Training steps of speed.py: which are timed, on which networks."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from tinynas import Arch, SearchSpace, augment, cost, load_arch, load_space
from tinynas.tasks.detection_loss import DetectionLoss
from tinynas.tasks.losses import CrossEntropyLoss, Loss
from tinynas.tasks.registry import TASKS
from tinynas.training.objectives import NetAugObjective, PlainObjective, SandwichObjective
from tinynas.utils.rng import generator

from .cells import Cells
from .step_runs import Step, step_rounds
from .timing import ratios, summary, time_rounds

PLAIN_GOAL, SANDWICH_GOAL, NETAUG_GOAL, OTHER_GOAL = "<= 0.33", "<= 0.40", "<= 0.38", "<= 0.60"
SIDES = {"mcu": 128, "mobile32": 32, "detect": 96}  # pixels along a side of an image, by space
RUN_BY = {"fused": "fused kernels", "eager": "supernet run by PyTorch"}  # by backend


def measure_steps() -> Iterator[dict]:
    """Time a step on a supernet run by PyTorch, beside the plain steps of the same networks."""
    yield measure_step(sandwich_step("micro-v1", batch=128, side=28), "eager", aim="<= 1.05")
    yield measure_step(sandwich_step("mobile32", batch=32, side=32), "eager", aim="<= 1.05")
    tiny = replace(load_arch("mobilenet-v2-tiny"), classes=10)
    yield measure_step(netaug_step("micro-v1", searched_network(100_000), batch=128), "eager", aim="<= 1.05")
    yield measure_step(netaug_step("mobilenet-v2-tiny", tiny, batch=32), "eager", aim="<= 1.05")


def measure_fused_micro() -> Iterator[dict]:
    """Time steps of small networks run by the fused kernels, beside the plain steps of the same networks."""
    network = searched_network(300_000)
    for batch in (32, 128):
        yield measure_step(plain_step("micro-v1", network, batch=batch), "fused", aim=PLAIN_GOAL)
    for batch in (32, 128):
        yield measure_step(sandwich_step("micro-v1", batch=batch, side=28), "fused", aim=SANDWICH_GOAL)
    for batch in (32, 128):
        yield measure_step(netaug_step("micro-v1", network, batch=batch), "fused", aim=NETAUG_GOAL)


def measure_fused(name: str) -> Iterator[dict]:
    """Time steps of another space run by the fused kernels, beside the plain steps of the same networks."""
    side = SIDES[name]
    network = replace(load_space(name).sample(generator(0, "speed plain")), resolution=side)
    yield measure_step(plain_step(name, network, batch=32), "fused", aim=OTHER_GOAL)
    yield measure_step(sandwich_step(name, batch=32, side=side), "fused", aim=OTHER_GOAL)


def searched_network(macs: int) -> Arch:
    """Return the network of `micro-v1` that scaling.py has found within so many MACs."""
    return Arch.from_dict(Cells("scaling").read()[f"arch searched {macs}"])


def plain_step(name: str, arch: Arch, *, batch: int) -> Step:
    """Return a step of a single network, trained as `tinynas retrain` does."""
    return Step(
        what=f"plain step, {name}, {macs_text(arch)}",
        space=augment(arch, width=(1.0,), expand=(1.0,)),
        objective=PlainObjective(arch, label_loss(arch)),
        archs=partial(only, arch),
        batch=batch,
        side=arch.resolution,
        loss=label_loss(arch),
    )


def sandwich_step(name: str, *, batch: int, side: int) -> Step:
    """Return a sandwich step of a search space."""
    space = load_space(name)
    loss = label_loss(space.max())
    distillation_loss = TASKS[space.max().task].distillation_loss()
    return Step(
        what=f"sandwich step, {name}",
        space=space,
        objective=SandwichObjective(space, loss, distillation_loss),
        archs=partial(sandwich_archs, space),
        batch=batch,
        side=side,
        loss=loss,
        distillation_loss=distillation_loss,
    )


def netaug_step(name: str, target: Arch, *, batch: int) -> Step:
    """Return a NetAug step of a classifier."""
    space = augment(target)
    return Step(
        what=f"NetAug step, {name}, {macs_text(target)}",
        space=space,
        objective=NetAugObjective(target, space, CrossEntropyLoss()),
        archs=partial(target_and_augmented, target, space),
        batch=batch,
        side=target.resolution,
        loss=CrossEntropyLoss(),
    )


def macs_text(arch: Arch) -> str:
    """Return an arch's MACs in words, such as "0.29M MACs"."""
    return f"{cost(arch).macs / 1e6:.2g}M MACs"


def label_loss(arch: Arch) -> Loss[Any]:
    """Return the loss on labels of networks for an arch's task."""
    return DetectionLoss(arch) if arch.task == "detect" else CrossEntropyLoss()


def only(arch: Arch, rng: np.random.Generator) -> list[Arch]:
    """Return the network of a plain step."""
    return [arch]


def sandwich_archs(space: SearchSpace, rng: np.random.Generator) -> list[Arch]:
    """Return the networks of a sandwich step."""
    return [space.max(), space.min(), space.sample(rng), space.sample(rng)]


def target_and_augmented(target: Arch, space: SearchSpace, rng: np.random.Generator) -> list[Arch]:
    """Return the networks of a NetAug step."""
    return [target, space.sample(rng)]


def measure_step(step: Step, backend: str, *, aim: str) -> dict:
    """Return the row of a step: the time on a supernet run by a backend over that of the plain networks."""
    times = time_rounds(step_rounds(step, backend))
    what = f"{step.title}: {RUN_BY[backend]} / plain PyTorch networks"
    return summary(what, ratios(times, 0, 1), aim=aim, plain_ms=median(1e3 * plain for _, plain in times))
