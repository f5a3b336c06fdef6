"""Which options of a search space the networks near the limits have."""

import numpy as np

from ..arch.cost import quick_cost
from .feasible import Feasible

_SAMPLES = 1000
_NEAR = 0.8  # of the MACs of the largest sample
_FEW = 0.02  # of these samples


def options_near_limits(feasible: Feasible, rng: np.random.Generator) -> dict[str, int]:
    """Return how many options of each gene are used near the limits: all but the largest, if hardly a network has them.

    Networks of all sizes are sampled, and decreased until they keep the limits. Those of them that have at least 0.8
    times the MACs of the largest are near the limits. The largest options of a gene are left out as far as fewer than
    2% of these networks have one of them.

    Args:
        feasible: The networks within the limits, one at least.
        rng: Source of randomness.

    Returns:
        The number of options, at least 1, by name of the gene.
    """
    space = feasible.space
    samples, sizes = [], []
    for _ in range(_SAMPLES):
        arch = feasible.predicted.repair(space.sample(rng, size_balanced=True), rng)
        if arch is not None:
            samples.append(list(space.encode(arch).values()))
            sizes.append(quick_cost(arch).macs)
    macs = np.array(sizes)
    genes = np.array(samples)[macs >= _NEAR * macs.max()]  # (networks, genes)
    counts = {}
    for name, options in zip(space.genes(), genes.T, strict=True):
        allowed = int(_FEW * len(options))  # networks that may have an option that is left out
        counts[name] = 1 + int(np.sort(options)[len(options) - 1 - allowed])
    return counts
