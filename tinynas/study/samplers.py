"""Which network to evaluate next: Optuna's samplers, kept to networks that fit and that nobody has evaluated."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from ..utils.rng import generator
from .feasible import Feasible
from .predictor import propose
from .storage import AGAIN, sign

_POPULATION = 20  # of nsga2
_WARM_UP = 24  # evaluations before the predictor is asked
_REDRAWS = 10  # of the sampler, before a network that does not fit is repaired
_ATTEMPTS = 100  # to find a network not seen yet, before the space counts as exhausted
MakeSampler = Callable[[Feasible, int], BaseSampler]  # of a seed


class FeasibleSampler(BaseSampler):
    """Any Optuna sampler, kept to networks within the budget that the study has not seen.

    Draws of the inner sampler that break a limit or repeat a network are redrawn; when redraws run out, the draw is
    repaired. Each trial has a generator of its own, seeded by its number: processes that share a study never draw
    alike, and a resumed study goes on as it would have. `exhausted` tells that no new network was found.
    """

    def __init__(self, feasible: Feasible, make_inner: MakeSampler, *, seed: int) -> None:
        self.feasible, self.make_inner, self.seed = feasible, make_inner, seed
        self.avoided = 0  # draws that broke a limit
        self.exhausted = False

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: IntDistribution(0, count - 1) for name, count in self.feasible.space.genes().items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        trials = study.get_trials(deepcopy=False)
        repeats = sum(AGAIN in t.user_attrs for t in trials if t.number <= trial.number)
        rng = generator(self.seed, "sampler", trial.number - repeats)
        inner = self.make_inner(self.feasible, int(rng.integers(2**31)))
        space, taken = self.feasible.space, (TrialState.COMPLETE, TrialState.RUNNING)
        seen = {space.decode(t.params) for t in trials if t.state in taken and len(t.params) == len(search_space)}
        for attempt in range(_ATTEMPTS):
            genes = inner.sample_relative(study, trial, search_space) if attempt < _REDRAWS else {}
            arch = space.decode(genes) if genes else space.sample(rng)
            if arch not in self.feasible:
                self.avoided += 1
                if attempt < _REDRAWS - 1:
                    continue
                arch = self.feasible.repair(arch, rng) or arch
            if arch not in seen and arch in self.feasible:
                return space.encode(arch)
        self.exhausted = True
        return space.encode(space.min())

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        sign(study, trial)
        self.make_inner(self.feasible, 0).before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.make_inner(self.feasible, 0).after_trial(study, trial, state, values)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise NotImplementedError("all genes are sampled together")


class PredictorSampler(RandomSampler):
    """Proposes the network that a predictor, fitted to all evaluations so far, expects most of; random before that."""

    def __init__(self, feasible: Feasible, seed: int) -> None:
        super().__init__(seed=seed)
        self.feasible, self.rng = feasible, generator(seed, "predictor")

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        space = self.feasible.space
        trials = [t for t in study.get_trials(deepcopy=False) if len(t.params) == len(search_space)]
        known = {space.decode(t.params): t.values[0] for t in trials if t.state == TrialState.COMPLETE}
        if len(known) < _WARM_UP:
            return {}
        proposed = propose(
            self.feasible,
            list(known),
            list(known.values()),
            taken={space.decode(t.params) for t in trials},
            pareto=len(study.directions) > 1,
            rng=self.rng,
        )
        return space.encode(proposed) if proposed else {}


def _tpe(feasible: Feasible, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=False, seed=seed)


SAMPLERS: dict[str, MakeSampler] = {
    "tpe": _tpe,  # tree-structured Parzen estimator (Bergstra et al., 2011), of all genes jointly
    "nsga2": lambda feasible, seed: NSGAIISampler(population_size=_POPULATION, seed=seed),  # Deb et al., 2002
    "predictor": PredictorSampler,
    "random": lambda feasible, seed: RandomSampler(seed=seed),
}
