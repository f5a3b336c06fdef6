"""Random changes of archs."""

from collections.abc import Mapping

import numpy as np

from ..arch.arch import Arch
from ..arch.space import SearchSpace

_MUTATIONS = 2  # expected number of genes that are drawn again


def mutate(space: SearchSpace, genes: Mapping[str, int], rng: np.random.Generator) -> Arch:
    """Return the arch of the genes, about two of them drawn again."""
    counts = space.genes()
    mutated = dict(genes)
    for name, count in counts.items():
        if rng.random() < _MUTATIONS / len(counts):
            mutated[name] = int(rng.integers(count))
    return space.decode(mutated)
