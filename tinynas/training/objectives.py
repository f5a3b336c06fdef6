"""Training objectives: which subnets a step trains, and on which losses.

An objective yields one loss at a time, so that only one subnet's graph is alive:

    for loss in objective.losses(supernet, batch, rng):
        loss.backward()
    optimizer.step()

The first loss of a step is the one that is reported, or the last one, if the objective says so.
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
        reports_last: Whether the last loss of a step is the one that is reported, instead of the first.
    """

    @property
    def repeats(self) -> Hashable: ...

    @property
    def reports_last(self) -> bool: ...

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        """Yield the losses, scalars, of subnets on a batch. The forward pass of each runs when it is asked for."""
        ...


@dataclass(frozen=True)
class PlainObjective:
    """The loss of one network."""

    target: Arch
    loss: Loss[Any]
    reports_last: bool = field(default=False, init=False)

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
    reports_last: bool = field(default=False, init=False)

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
    reports_last: bool = field(default=False, init=False)

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

    With `inplace_distillation`, the weight of a `distillation_loss` in the target's, the target also learns from the
    outputs of the step's first augmented network, as the small networks of a supernet do from its largest one (Yu and
    Huang, ICCV 2019, section 3.3). The augmented networks then come first.
    """

    target: Arch
    augmented: SearchSpace
    loss: Loss[Any]
    augmented_loss: Loss[Any] | None = None
    num_augmented: int = 1
    alpha: float = 1.0
    every: int = 1
    inplace_distillation: float = 0.0
    distillation_loss: DistillationLoss[Any] = field(default_factory=SoftCrossEntropyLoss)
    repeats: Hashable = field(default=None, init=False)

    @property
    def reports_last(self) -> bool:
        return self.inplace_distillation > 0

    def losses(self, supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Iterator[Tensor]:
        targets = self.loss.targets(batch)
        augments = batch.number % self.every == 0
        if augments and self.inplace_distillation:
            yield from self._losses_with_distillation(supernet, batch, targets, rng)
            return
        yield self.loss(supernet(batch.images, self.target), targets)
        if augments:
            for augmented_loss, _ in self._augmented(supernet, batch, targets, rng):
                yield augmented_loss

    def _losses_with_distillation(
        self, supernet: Supernet, batch: Batch, targets: Any, rng: np.random.Generator
    ) -> Iterator[Tensor]:
        """Yield the losses of augmented networks, then the target's, which learns from the outputs of the first one."""
        soft_targets = None
        for augmented_loss, augmented_outputs in self._augmented(supernet, batch, targets, rng):
            yield augmented_loss
            if soft_targets is None:
                soft_targets = self.distillation_loss.targets(augmented_outputs)
        outputs = supernet(batch.images, self.target)
        distillation_loss = self.distillation_loss(outputs, soft_targets)
        weight = self.inplace_distillation
        yield weight * distillation_loss + (1 - weight) * self.loss(outputs, targets)

    def _augmented(
        self, supernet: Supernet, batch: Batch, targets: Any, rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the loss of each augmented network of a step, and its outputs without their graph."""
        loss = self.loss
        if self.augmented_loss is not None:
            loss = self.augmented_loss
            targets = loss.targets(batch)
        for _ in range(self.num_augmented):
            outputs = supernet(batch.images, self.augmented.sample(rng), statistics=False)
            yield self.alpha * loss(outputs, targets), outputs.detach()
