"""Training objectives: generators that yield one loss at a time, so that only one subnet's graph is alive.

    for loss in objective(supernet, images, labels, rng):
        loss.backward()
    optimizer.step()

The first loss of a step is the one reported. Images are (N, C, H, W) floats, labels (N,) class indices.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from .arch import Arch
from .space import SearchSpace

Objective = Callable[[nn.Module, Tensor, Tensor, np.random.Generator], Iterator[Tensor]]


def plain(target: Arch, *, smoothing: float = 0.0) -> Objective:
    """Cross-entropy of one network."""

    def objective(supernet: nn.Module, images: Tensor, labels: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        yield cross_entropy(supernet(images, target), labels, label_smoothing=smoothing)

    return objective


def largest(space: SearchSpace, *, smoothing: float = 0.0) -> Objective:
    """Cross-entropy of the largest network alone, at the images' resolution."""

    def objective(supernet: nn.Module, images: Tensor, labels: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        arch = replace(space.max(), resolution=images.shape[-1])
        yield cross_entropy(supernet(images, arch), labels, label_smoothing=smoothing)

    return objective


def sandwich(
    space: SearchSpace, *, randoms: int = 2, spread: bool = False, distillation: float = 1.0, smoothing: float = 0.0
) -> Objective:
    """The largest subnet on the labels; the smallest and some random ones on the largest one's outputs.

    Sandwich rule and in-place distillation (Yu and Huang, ICCV 2019, sections 3.2 and 3.3). `distillation` is the
    share of the largest one's outputs, and the rest that of the labels. All subnets of a step run at the images'
    resolution. `spread` as in `SearchSpace.sample`.
    """

    def objective(supernet: nn.Module, images: Tensor, labels: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        resolution = images.shape[-1]
        logits = supernet(images, replace(space.max(), resolution=resolution))
        yield cross_entropy(logits, labels, label_smoothing=smoothing)
        hard_labels = smoothed(labels, logits.shape[1], smoothing)
        targets = distillation * logits.detach().softmax(1) + (1 - distillation) * hard_labels
        for arch in (space.min(), *(space.sample(rng, spread=spread) for _ in range(randoms))):
            yield cross_entropy(supernet(images, replace(arch, resolution=resolution)), targets)

    return objective


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Labels (N,) as probabilities (N, classes), a part of them spread evenly."""
    return one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def netaug(target: Arch, augmented: SearchSpace, *, alpha: float = 1.0, smoothing: float = 0.0) -> Objective:
    """The target on its own, and as a part of one random augmented network, weighted by alpha.

    Network augmentation (Cai et al., ICLR 2022, section 3.2). The supernet holds all
    networks of `augmented`.
    """

    def objective(supernet: nn.Module, images: Tensor, labels: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        yield cross_entropy(supernet(images, target), labels, label_smoothing=smoothing)
        wider = augmented.sample(rng)
        yield alpha * cross_entropy(supernet(images, wider), labels, label_smoothing=smoothing)

    return objective
