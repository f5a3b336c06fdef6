"""Training objectives: which subnets a step trains, and on which losses.

An objective yields one loss at a time, so that only one subnet's graph is alive:

    for loss in objective.losses(supernet, batch, rng):
        loss.backward()
    optimizer.step()

The first loss of a step is the one that is reported.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Batch
from ..models.supernet import Supernet
from ..tasks.losses import CrossEntropyLoss, DistillationLoss, Loss, SoftCrossEntropyLoss
from ..utils.sizes import size_of


class Objective(Protocol):
    """What a training step minimises: the sum of the losses it yields.

    Attributes:
        repeats: Equal for objectives whose steps train the same networks on the same losses, and do so every time; None
            if networks are drawn at random.
    """

    @property
    def repeats(self) -> Hashable: ...

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        """Yield the losses, scalars, of subnets on a batch. The forward pass of each runs when it is asked for."""
        ...


@dataclass(frozen=True)
class PlainObjective:
    """The loss of one network."""

    target: Arch
    loss: Loss[Any]

    @property
    def repeats(self) -> Hashable:
        return self.target, id(self.loss)

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        targets = self.loss.targets(batch)
        yield self.loss(supernet(batch.images, self.target), targets)


@dataclass(frozen=True)
class LargestObjective:
    """The loss of the largest network alone, at the images' resolution."""

    space: SearchSpace
    loss: Loss[Any]

    @property
    def repeats(self) -> Hashable:
        return self.space.max(), id(self.loss)

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        targets = self.loss.targets(batch)
        largest = replace(self.space.max(), resolution=size_of(batch.images.shape[-2:]))
        yield self.loss(supernet(batch.images, largest), targets)


@dataclass(frozen=True)
class SandwichObjective:
    """The largest subnet on the labels; the smallest and some random ones on the largest one's outputs.

    Sandwich rule and in-place distillation (Yu and Huang, ICCV 2019, sections 3.2 and 3.3). `distillation` is the
    weight of the largest one's outputs, and the rest that of the labels. All subnets of a step run at the images'
    resolution. `size_balanced` is as in `SearchSpace.sample`.
    """

    space: SearchSpace
    loss: Loss[Any] = field(default_factory=CrossEntropyLoss)
    distillation_loss: DistillationLoss[Any] = field(default_factory=SoftCrossEntropyLoss)
    num_random_subnets: int = 2
    size_balanced: bool = False
    distillation: float = 1.0
    repeats: Hashable = field(default=None, init=False)

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        resolution = size_of(batch.images.shape[-2:])
        targets = self.loss.targets(batch)
        outputs = supernet(batch.images, replace(self.space.max(), resolution=resolution))
        yield self.loss(outputs, targets)
        soft_targets = self.distillation_loss.targets(outputs)
        for arch in self._smaller(rng):
            outputs = supernet(batch.images, replace(arch, resolution=resolution))
            distillation_loss = self.distillation_loss(outputs, soft_targets)
            yield self.distillation * distillation_loss + (1 - self.distillation) * self.loss(outputs, targets)

    def _smaller(self, rng: np.random.Generator) -> Iterator[Arch]:
        """Yield the smallest and the random subnets of a step."""
        yield self.space.min()
        for _ in range(self.num_random_subnets):
            yield self.space.sample(rng, size_balanced=self.size_balanced)


@dataclass(frozen=True)
class NetAugObjective:
    """The target on its own, and as a part of random augmented networks, each weighted by `alpha`.

    Network augmentation (Cai et al., ICLR 2022, section 3.2). The supernet holds all networks of `augmented`, which
    train on the target's loss unless they have their own. Only every n-th batch of an epoch, from the first, augments.
    An augmented pass leaves the batch-norm statistics alone.
    """

    target: Arch
    augmented: SearchSpace
    loss: Loss[Any]
    augmented_loss: Loss[Any] | None = None
    num_augmented: int = 1
    alpha: float = 1.0
    every: int = 1
    repeats: Hashable = field(default=None, init=False)

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        loss = self.loss
        targets = loss.targets(batch)
        yield loss(supernet(batch.images, self.target), targets)
        if batch.number % self.every:
            return
        if self.augmented_loss is not None:
            loss = self.augmented_loss
            targets = loss.targets(batch)
        for _ in range(self.num_augmented):
            outputs = supernet(batch.images, self.augmented.sample(rng), statistics=False)
            yield self.alpha * loss(outputs, targets)
