"""A way down through a search space: from an arch to the smallest, one option of a gene at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.arch import Arch
from ..arch.space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Descent:
    """The archs on a random way down; costs decrease along it.

    Attributes:
        space: The space.
        genes: Genes of the first arch.
        decreases: Number of the gene that is decreased by one option, by step.
    """

    space: SearchSpace
    genes: dict[str, int]
    decreases: NDArray[np.int64]

    @classmethod
    def draw(cls, space: SearchSpace, arch: Arch, rng: np.random.Generator) -> "Descent":
        """Draw the order of the decreases, down to the smallest arch of the space."""
        genes = space.encode(arch)
        indices = np.array(list(genes.values()))
        decreases = rng.permutation(np.repeat(np.arange(len(indices)), indices))
        return cls(space=space, genes=genes, decreases=decreases)

    @property
    def last(self) -> int:
        """Number of the step that leads to the smallest arch."""
        return len(self.decreases)

    def arch(self, step: int) -> Arch:
        """Return the arch after a number of steps."""
        names = list(self.genes)
        indices = dict(self.genes)
        for number in self.decreases[:step].tolist():
            indices[names[number]] -= 1
        return self.space.decode(indices)

    def first_step(self, fits: Callable[[Arch], bool], low: int, high: int) -> int:
        """Return the first step from `low` to `high` whose arch fits, by bisection; `high` if none does."""
        while low < high:
            middle = (low + high) // 2
            if fits(self.arch(middle)):
                high = middle
            else:
                low = middle + 1
        return low
