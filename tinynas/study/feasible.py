"""What a budget (`--flops`, `--sram`, ...) does to the networks that a search proposes.

Costs are computed from the arch alone, so a network is checked before anything is built or evaluated:

1. Rejection: a sampler's proposal that breaks a limit is drawn again, a few times (`samplers.FeasibleSampler`).
2. Repair: a proposal that still breaks one is changed at random until it fits (`Feasible.repair`). Random choices are
   decreased, one option at a time, until the upper limits hold; then, if there is a lower limit of MACs, random choices
   are increased until it holds. The predictor's candidates are repaired as well (`PredictorSampler`).
3. What cannot be repaired is not evaluated. `Feasible.check` raises BudgetError before a search if nothing can fit.

So no network outside the budget is ever evaluated.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..arch.cost import COUNTS, MEASURED, Cost, MeasuredCosts, cost, describe, quick_cost
from ..arch.cost_names import cost_word
from ..arch.own_costs import AddedCosts
from ..arch.space import SearchSpace
from ..utils.errors import BudgetError, InputError
from ..utils.io import json_digest
from ..utils.rng import generator
from .cost_predictor import CostPredictor
from .descent import Descent

_QUICK = ("min_macs", *COUNTS)  # limits of what `quick_cost` returns
_MAX_SAMPLES = 100  # random networks to repair before the limits count as too narrow
_LARGEST_STARTS = 10  # random ways down from the largest network, to find a large one that fits
_RANDOM_STARTS = 40  # networks of all sizes
_PREDICTOR_ARCHS = 24  # that the predictor of measured costs is fitted to, besides the smallest


@dataclass(frozen=True, kw_only=True)
class Feasible:
    """The archs of a search space that are within a budget; `arch in feasible` tests one.

    Limits are checked in the order of what they take: counts, what the file and its arena take, what tables add up and
    functions return, what is measured.

    Attributes:
        space: All archs.
        budget: The limits.
        added: Source of the costs that tables add up and a program's functions return.
        measured: Source of measured costs, needed if one of them is limited. It may be slow: it is used only for archs
            that keep all limits of counted costs, and for the smallest arch of the space.
        predictor: Predicts costs of the source, so that few archs are measured that do not fit. None: none is needed,
            as the source is quick.
    """

    space: SearchSpace
    budget: Budget
    added: AddedCosts | None = None
    measured: MeasuredCosts | None = None
    predictor: CostPredictor | None = None

    def __contains__(self, arch: Arch) -> bool:
        if not self._count_limits.fits(quick_cost(arch)):
            return False
        if self._file_limits.limits() and not self._file_limits.fits(cost(arch)):
            return False
        if self.added and self._added_limits.limits():
            counted = quick_cost(arch).with_values(self.added.measure(arch))
            if not self._added_limits.fits(counted):
                return False
        if not self._measured_limits.limits():
            return True
        if self.predictor and not self._keeps_measured_limits(arch, self.predictor.lower_bounds(arch)):
            return False
        return self._keeps_measured_limits(arch, self._measure(arch))

    def cost_of(self, arch: Arch) -> Cost:
        """Return the arch's counted cost, with the others if there is a source of them."""
        added = self.added.measure(arch) if self.added else {}
        return cost(arch).with_values({**added, **self._measure(arch)})

    def values(self, arch: Arch, names: Collection[str]) -> tuple[float, ...]:
        """Return some costs of an arch; no more is counted or measured than they need.

        Args:
            arch: The arch.
            names: Names of costs.

        Raises:
            InputError: One of them is not above 0, or has no source.
        """
        counted = quick_cost(arch) if set(COUNTS).issuperset(names) else cost(arch)
        if self.added and not set(self.added.names).isdisjoint(names):
            counted = counted.with_values(self.added.measure(arch))
        known = counted.named()
        if not known.keys() >= set(names):
            known |= self._measure(arch)
        for name in names:
            if known.get(name, 0) <= 0:
                raise InputError(f"{name} of a network is {known.get(name)}, but costs of a front must be above 0")
        return tuple(float(known[name]) for name in names)

    @property
    def digest(self) -> str:
        """What tells the costs that are not counted from those of other sources; empty if there is nothing to tell."""
        digests = [source.digest for source in (self.added, self.measured) if source and source.digest]
        return digests[0] if len(digests) == 1 else json_digest(digests) if digests else ""

    def _measure(self, arch: Arch) -> Mapping[str, float]:
        return self.measured.measure(arch) if self.measured else {}

    def _keeps_measured_limits(self, arch: Arch, measured: Mapping[str, float]) -> bool:
        return self._measured_limits.fits(quick_cost(arch).with_values(measured))

    def with_predictor(self, objectives: Collection[str] = ()) -> "Feasible":
        """Return the same archs, with a predictor of measured costs if one of them is limited or of the objectives.

        It is fitted to a few archs of all sizes that keep the counted limits, always the same ones, so that processes
        that share a study, and resumed searches, repair alike.
        """
        is_used = self._measured_limits.limits() or not set(MEASURED).isdisjoint(objectives)
        if self.measured is None or not is_used:
            return self
        rng = generator(0, "cost predictor")
        counted = replace(self, budget=self.budget.only(set(self.budget.limits()) - {"min_macs"} - self._measured))
        costs = {self.space.min(): self.measured.measure(self.space.min())}
        for _ in range(_PREDICTOR_ARCHS):
            arch = counted.repair(self.space.sample(rng, size_balanced=True), rng)
            if arch is not None:
                costs[arch] = self.measured.measure(arch)
        return replace(self, predictor=CostPredictor.fit(list(costs), list(costs.values())))

    @cached_property
    def predicted(self) -> "Feasible":
        """The archs whose predicted costs are within the budget; these archs themselves if there is no predictor."""
        return self.by(self.predictor)

    def by(self, predictor: CostPredictor | None) -> "Feasible":
        """Return the archs whose costs by a predictor are within the budget; these archs themselves if it is None."""
        return self if predictor is None else replace(self, measured=predictor, predictor=None)

    @cached_property
    def _count_limits(self) -> Budget:
        """The limits of what `quick_cost` returns. No arena is smaller than the activations that it holds."""
        limits = self.budget.only(_QUICK)
        bounds = []
        for bound in (limits.peak_sram, self.budget.peak_sram_tflm, self.budget.peak_sram_tflm_cmsis_nn):
            if bound is not None:
                bounds.append(bound)
        return replace(limits, peak_sram=min(bounds)) if bounds else limits

    @cached_property
    def _file_limits(self) -> Budget:
        """The limits of what else is counted."""
        return self.budget.only(set(self.budget.limits()).difference(_QUICK, self._added, self._measured))

    @cached_property
    def _added_limits(self) -> Budget:
        return self.budget.only(self._added)

    @cached_property
    def _measured_limits(self) -> Budget:
        return self.budget.only(self._measured)

    @property
    def _added(self) -> set[str]:
        """Names of the costs that tables and functions have."""
        return set(self.added.names) if self.added else set()

    @property
    def _measured(self) -> set[str]:
        """Names of the costs that are measured."""
        return set(MEASURED) - self._added

    @cached_property
    def _upper_limits(self) -> "Feasible":
        """The archs that keep the upper limits."""
        return replace(self, budget=replace(self.budget, min_macs=None))

    def check(self, space_name: str = "the space") -> None:
        """Raise BudgetError if no arch of the space can fit.

        The smallest arch decides about the upper limits, as no cost of ours decreases with size; the largest one about
        MACs. A cost of the user's own may: if the smallest arch exceeds it, random archs are tried as well.

        Args:
            space_name: Name of the space, for the message.
        """
        smallest = self.cost_of(self.space.min())
        if self.space.min() not in self._upper_limits and not self._fits_elsewhere(smallest):
            costs = []
            for name, limit in self._upper_limits.budget.limits().items():
                value = smallest.named()[name]
                costs.append(f"{cost_word(name)} {_written(name, value)} (limit {_written(name, limit)})")
            problem = f"no network of {space_name} fits, the smallest has {', '.join(costs)}"
            raise BudgetError(f"{problem}; raise the limit or change the space")
        largest_macs = quick_cost(self.space.max()).macs
        if self.budget.min_macs and largest_macs < self.budget.min_macs:
            raise BudgetError(
                f"no network of {space_name} has as many as {self.budget.min_macs:,} MACs, the largest has "
                f"{largest_macs:,}; lower the limit or change the space"
            )

    def _fits_elsewhere(self, smallest: Cost) -> bool:
        """Return whether another arch than the smallest fits, if that keeps all limits but those of the user's own."""
        limits = self._upper_limits.budget
        if not limits.own or not replace(limits, own={}).fits(smallest):
            return False
        try:
            self.sample(generator(0, "own costs"))
        except BudgetError:
            return False
        return True

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw a random arch. Raises BudgetError if there seems to be none."""
        for _ in range(_MAX_SAMPLES):
            arch = self.repair(self.space.sample(rng), rng)
            if arch is not None:
                return arch
        raise BudgetError(f"{_MAX_SAMPLES} random networks in a row did not fit the limits; widen them")

    def repair(self, arch: Arch, rng: np.random.Generator) -> Arch | None:
        """Return the arch with random choices decreased, or increased if it has too few MACs, until it fits.

        Returns None if that does not lead to an arch that fits. The smallest arch of the space must keep the upper
        limits (`check`).
        """
        if arch not in self._upper_limits:
            arch = self._decreased(arch, rng)
        if self.budget.min_macs:
            arch = self._increased(arch, self.budget.min_macs, rng)
        return arch if arch in self else None

    def _decreased(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Decrease random choices until the upper limits hold.

        The order of the decreases, down to the smallest arch, is drawn first. As costs decrease along it, bisection
        finds the first arch that fits. With a predictor, bisection looks at predicted costs, and the arch that results
        is measured. What was measured corrects the predictor, and bisection is repeated between the archs that are
        known not to fit and to fit, until its result is known to fit.
        """
        descent, predictor = Descent.draw(self.space, arch, rng), self.predictor
        low, high = 0, descent.last
        while True:
            step = descent.first_step(self._upper_limits.by(predictor).__contains__, low, high)
            arch = descent.arch(step)
            if predictor is None or step == high:
                return arch
            if arch in self._upper_limits:
                high = step
            else:
                low = step + 1
            predictor = predictor.corrected(arch, self._measure(arch))

    def _increased(self, arch: Arch, min_macs: int, rng: np.random.Generator) -> Arch:
        """Increase random choices until the arch has this number of MACs, or is the largest of the space."""
        genes, counts = self.space.encode(arch), self.space.genes()
        while quick_cost(arch).macs < min_macs:
            names = [name for name, count in counts.items() if genes[name] < count - 1]
            if not names:
                break
            genes[rng.choice(names)] += 1
            arch = self.space.decode(genes)
        return arch

    def start_points(self, count: int, rng: np.random.Generator) -> list[Arch]:
        """Return up to `count` archs, largest first, spread evenly over log MACs.

        They range from the largest of 50 repaired ones to the smallest arch; none if nothing could be repaired. The
        large ones are likely to be the best: what is compared with the best so far is dropped the earlier.
        """
        starts = [self.space.min()] + [self.space.max()] * _LARGEST_STARTS
        for _ in range(_RANDOM_STARTS):
            starts.append(self.space.sample(rng, size_balanced=True))
        log_macs: dict[Arch, float] = {}
        for start in starts:
            arch = self.predicted.repair(start, rng)
            if arch is not None:
                log_macs[arch] = np.log(quick_cost(arch).macs)
        if not log_macs:
            return []
        archs, sizes = list(log_macs), np.array(list(log_macs.values()))
        points: list[Arch] = []
        for size in np.linspace(sizes.max(), sizes.min(), count):
            closest = archs[np.abs(sizes - size).argmin()]
            arch = self.repair(closest, rng)
            if arch is not None and arch not in points:
                points.append(arch)
        return points


def _written(name: str, value: float) -> str:
    """Return a cost as text: a count or bytes with every digit, of others four, or three and a unit."""
    return f"{value:,}" if isinstance(value, int) else describe(name, value)
