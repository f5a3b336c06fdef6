"""Training objectives: generators that yield one loss at a time, so that only one subnet's graph is alive.

    for loss in objective(supernet, batch, rng):
        loss.backward()
    optimizer.step()

The first loss of a step is the one reported. What a batch asks of a network's outputs is a criterion's to say.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Batch
from ..tasks.losses import _LABELS, Criterion, Imitation, imitated

Objective = Callable[[nn.Module, Batch, np.random.Generator], Iterator[Tensor]]


def plain(target: Arch, criterion: Criterion) -> Objective:
    """The loss of one network."""

    def objective(supernet: nn.Module, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        yield criterion(batch)(supernet(batch.images, target))

    return objective


def largest(space: SearchSpace, criterion: Criterion) -> Objective:
    """The loss of the largest network alone, at the images' resolution."""

    def objective(supernet: nn.Module, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        yield criterion(batch)(supernet(batch.images, replace(space.max(), resolution=batch.images.shape[-1])))

    return objective


def sandwich(
    space: SearchSpace,
    *,
    criterion: Criterion = _LABELS,
    imitation: Imitation = imitated,
    num_random_subnets: int = 2,
    size_balanced: bool = False,
    distillation: float = 1.0,
) -> Objective:
    """The largest subnet on the labels; the smallest and some random ones on the largest one's outputs.

    Sandwich rule and in-place distillation (Yu and Huang, ICCV 2019, sections 3.2 and 3.3). `distillation` is the
    share of the largest one's outputs, and the rest that of the labels. All subnets of a step run at the images'
    resolution. `size_balanced` as in `SearchSpace.sample`.
    """

    def objective(supernet: nn.Module, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        resolution, hard = batch.images.shape[-1], criterion(batch)
        outputs = supernet(batch.images, replace(space.max(), resolution=resolution))
        yield hard(outputs)
        soft = imitation(outputs, 1.0)
        for arch in (space.min(), *(space.sample(rng, size_balanced=size_balanced) for _ in range(num_random_subnets))):
            outputs = supernet(batch.images, replace(arch, resolution=resolution))
            yield distillation * soft(outputs) + (1 - distillation) * hard(outputs)

    return objective


def netaug(
    target: Arch,
    augmented: SearchSpace,
    criterion: Criterion,
    *,
    of_augmented: Criterion | None = None,
    num_augmented: int = 1,
    alpha: float = 1.0,
    every: int = 1,
) -> Objective:
    """The target on its own, and as a part of random augmented networks, each weighted by alpha.

    Network augmentation (Cai et al., ICLR 2022, section 3.2). The supernet holds all networks of `augmented`; what
    they learn from is the target's criterion unless they have their own. Only every n-th batch of an epoch, from the
    first, augments. An augmented pass leaves the batch-norm statistics alone.
    """

    def objective(supernet: nn.Module, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        loss = criterion(batch)
        yield loss(supernet(batch.images, target))
        if batch.number % every:
            return
        loss = of_augmented(batch) if of_augmented else loss
        for _ in range(num_augmented):
            yield alpha * loss(supernet(batch.images, augmented.sample(rng), statistics=False))

    return objective
