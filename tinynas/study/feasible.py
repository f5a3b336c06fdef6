"""The networks of a search space within a budget: how to tell them, make them, and spread over them."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from ..arch.arch import Arch
from ..arch.cost import Budget, Cost, cost
from ..arch.space import SearchSpace
from ..utils.errors import BudgetError

_DRAWS = 100  # to find a network, before there seems to be none


@dataclass(frozen=True, kw_only=True)
class Feasible:
    """The archs of a space within a budget.

    `price` gives an arch's cost. One that measures may be slow: it is asked only about what keeps all counted limits.
    """

    space: SearchSpace
    budget: Budget
    price: Callable[[Arch], Cost] = cost

    def __contains__(self, arch: Arch) -> bool:
        if not self._counted.fits(cost(arch)):
            return False
        return self.budget.latency is None or self.budget.fits(self.price(arch))

    @cached_property
    def _counted(self) -> Budget:
        return replace(self.budget, latency=None)

    @cached_property
    def _upper(self) -> "Feasible":
        return replace(self, budget=replace(self.budget, min_macs=None))

    def check(self) -> None:
        """Raise BudgetError if no network fits. The smallest one tells: no cost falls with size."""
        smallest = self.price(self.space.min())
        if self.space.min() not in self._upper:
            limits = self._upper.budget.limits()
            needs = ", ".join(f"{name} {getattr(smallest, name):,} (limit {limit:,})" for name, limit in limits.items())
            raise BudgetError(
                f"no network of the space fits, the smallest has {needs}; raise the limit or change the space"
            )
        if self.budget.min_macs and (most := cost(self.space.max()).macs) < self.budget.min_macs:
            raise BudgetError(
                f"no network of the space has as many as {self.budget.min_macs:,} MACs, the largest has {most:,}; "
                "lower the limit or change the space"
            )

    def sample(self, rng: np.random.Generator) -> Arch:
        """A random network. Raises BudgetError if none is found."""
        for _ in range(_DRAWS):
            if arch := self.repair(self.space.sample(rng), rng):
                return arch
        raise BudgetError(f"{_DRAWS} random networks in a row did not fit the limits; widen them")

    def repair(self, arch: Arch, rng: np.random.Generator) -> Arch | None:
        """The arch with random choices made smaller, or larger where it has too few MACs, until it fits.

        None if it cannot be had that way. The space's smallest arch must keep the upper limits.
        """
        if arch not in self._upper:
            arch = self._shrunk(arch, rng)
        if not self.budget.min_macs:
            return arch if arch in self else None
        genes, counts = self.space.encode(arch), self.space.genes()
        while cost(arch).macs < self.budget.min_macs:
            larger = [name for name, count in counts.items() if genes[name] < count - 1]
            if not larger:
                return None
            genes[rng.choice(larger)] += 1
            arch = self.space.decode(genes)
        return arch if arch in self else None

    def _shrunk(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """The first that keeps the upper limits on a random way down to the smallest; halving finds it."""
        genes = self.space.encode(arch)
        names, sizes = list(genes), np.array(list(genes.values()))
        way = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))  # the choice to make one size smaller, by step

        @cache
        def after(steps: int) -> Arch:
            left = sizes - np.bincount(way[:steps], minlength=len(sizes))
            return self.space.decode(dict(zip(names, left.tolist(), strict=True)))

        return after(bisect_left(range(len(way)), True, key=lambda steps: after(steps) in self._upper))

    def spread(self, count: int, rng: np.random.Generator) -> list[Arch]:
        """The smallest network, the largest found, and others spread evenly over log MACs between them."""
        starts = [self.space.max()] * 10 + [self.space.sample(rng, size_balanced=True) for _ in range(40)]
        repaired = (self.repair(start, rng) for start in (self.space.min(), *starts))
        size = {arch: np.log(cost(arch).macs) for arch in repaired if arch}
        if not size:
            return []
        wanted = np.linspace(min(size.values()), max(size.values()), count)
        return list(dict.fromkeys(min(size, key=lambda arch: abs(size[arch] - w)) for w in wanted))
