"""Which network to evaluate next: Optuna's samplers and our own, restricted to feasible networks not seen before.

To add a sampler, write a class with the method of `Sampler` that is made from a `Feasible` and `pareto`, add a line to
SAMPLERS, and its name to SAMPLERS in experiment/search_settings.py. FeasibleSampler rejects and repairs what it
proposes.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..arch.arch import Arch
from .feasible import Feasible
from .history import History
from .optuna_samplers import NSGAII, TPE
from .predictor_sampler import PredictorSampler

_REDRAWS = 10  # samples drawn from the inner sampler before an infeasible one is repaired
_ATTEMPTS = 100  # to draw a network not seen before, after which the space counts as exhausted


class Sampler(Protocol):
    """Proposes networks; made once per process, so that it can keep what it derived from the evaluations so far."""

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return the next network to evaluate, or None to draw it at random.

        The proposal depends on nothing but the arguments: a resumed search proposes what an uninterrupted one would
        have. Its time is bounded, however many evaluations there are.
        """


class FeasibleSampler:
    """Restricts a sampler to feasible networks that the study has not seen.

    Infeasible or repeated samples of the inner sampler are rejected and drawn again; after some redraws, an infeasible
    one is repaired (see feasible.py).

    Attributes:
        rejected: Number of infeasible samples rejected so far.
    """

    def __init__(self, feasible: Feasible, inner: Sampler) -> None:
        self.feasible, self.inner = feasible, inner
        self.rejected = 0

    def propose(self, history: History, rng: np.random.Generator) -> Arch | None:
        """Return a new feasible network, or None if there seems to be none."""
        for attempt in range(_ATTEMPTS):
            arch = self.inner.propose(history, rng) if attempt < _REDRAWS else None
            if arch is None:
                arch = self.feasible.space.sample(rng)
            if arch not in self.feasible:
                self.rejected += 1
                if attempt < _REDRAWS - 1:
                    continue
                arch = self.feasible.repair(arch, rng) or arch
            if arch not in history.taken and arch in self.feasible:
                return arch
        return None


class RandomSampler:
    """Draws every gene uniformly."""

    def __init__(self, feasible: Feasible, *, pareto: bool) -> None:
        self.space = feasible.space

    def propose(self, history: History, rng: np.random.Generator) -> Arch:
        """Return a random network."""
        return self.space.sample(rng)


SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "tpe": TPE,
    "nsga2": NSGAII,
    "predictor": PredictorSampler,
    "random": RandomSampler,
}
