"""Which network to evaluate next: Optuna's samplers and our own, restricted to feasible networks not seen before.

To add a sampler, write a class with the method of `Sampler` that is made from a `Feasible` and the `objectives`, add a
line to SAMPLERS, and its name to SAMPLERS in experiment/search_settings.py. FeasibleSampler rejects and repairs what it
proposes.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from optuna.samplers import BaseSampler

from ..arch.arch import Arch
from .feasible import Feasible
from .history import History
from .mutation import mutate
from .optuna_samplers import NSGAII, TPE
from .own_sampler import OptunaSampler, hub_sampler
from .predictor_sampler import PredictorSampler

_SAMPLES = 10  # infeasible ones drawn from the inner sampler before the last one is repaired
_MUTANTS = 100  # that the study has seen, after which the space counts as exhausted


class Sampler(Protocol):
    """Proposes networks; made once per process, so that it can keep what it derived from the evaluations so far."""

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return the next network to evaluate, or None to draw it at random.

        The proposal depends on nothing but the arguments: a resumed search proposes what an uninterrupted one would
        have. Its time is bounded, however many evaluations there are.
        """


class FeasibleSampler:
    """Restricts a sampler to feasible networks that the study has not seen.

    Infeasible samples of the inner sampler are rejected and drawn again; after some redraws, an infeasible one is
    repaired (see feasible.py). A network that the study has seen is mutated until it is a new one.

    Attributes:
        rejected: Number of infeasible samples rejected so far.
    """

    def __init__(self, feasible: Feasible, inner: Sampler) -> None:
        self.feasible, self.inner = feasible, inner
        self.rejected = 0

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return a new feasible network, or None if there seems to be none."""
        space = self.feasible.space
        arch = self._feasible_sample(history, rng)
        for _ in range(_MUTANTS):
            if arch is not None and arch not in history.taken:
                return arch
            mutant = mutate(space, space.encode(arch), rng) if arch else space.sample(rng)
            arch = self.feasible.repair(mutant, rng)
        return None

    def _feasible_sample(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return a feasible sample of the inner sampler, or None if the last one cannot be repaired."""
        for _ in range(_SAMPLES):
            arch = self.inner.propose(history, rng) or self.feasible.space.sample(rng)
            if arch in self.feasible:
                return arch
            self.rejected += 1
        return self.feasible.repair(arch, rng)


class RandomSampler:
    """Draws every gene uniformly."""

    def __init__(self, feasible: Feasible, *, objectives: Sequence[str]) -> None:
        self.space = feasible.space

    def propose(self, history: History, rng: np.random.Generator) -> Arch:
        """Return a random network."""
        return self.space.sample(rng)


def make_sampler(
    sampler: str | BaseSampler, feasible: Feasible, *, objectives: Sequence[str], seed: int = 0
) -> Sampler:
    """Return a sampler of a search.

    Args:
        sampler: Name of one of `SAMPLERS`, of a sampler of OptunaHub (see `hub_sampler`), or a sampler of Optuna.
        feasible: The networks to choose from.
        objectives: Names of the costs of the front, if one is searched for.
        seed: Seed of a sampler of OptunaHub.
    """
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler](feasible, objectives=objectives)
    if isinstance(sampler, str):
        sampler = hub_sampler(sampler, seed=seed)
    return OptunaSampler(feasible, sampler, objectives=objectives)


SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "tpe": TPE,
    "nsga2": NSGAII,
    "predictor": PredictorSampler,
    "random": RandomSampler,
}
