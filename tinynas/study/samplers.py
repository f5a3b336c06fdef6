"""Which network to evaluate next: Optuna's samplers and our own, restricted to feasible networks not seen before.

To add a sampler, write a function that takes a `Feasible` and a seed and returns an Optuna `BaseSampler`, add a line to
SAMPLERS, and its name to SAMPLERS in experiment/search_settings.py. FeasibleSampler rejects and repairs what it
proposes.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..utils.rng import generator
from .feasible import Feasible
from .predictor import propose
from .storage import REQUEUED, record_worker

_POPULATION = 20  # of nsga2
_WARM_UP = 24  # evaluations before the predictor is used
_REDRAWS = 10  # samples drawn from the inner sampler before an infeasible one is repaired
_ATTEMPTS = 100  # to draw a network not seen before, after which the space counts as exhausted
MakeSampler = Callable[[Feasible, int], BaseSampler]  # the int is a seed


class FeasibleSampler(BaseSampler):
    """Restricts an Optuna sampler to feasible networks that the study has not seen.

    Infeasible or repeated samples of the inner sampler are rejected and drawn again; after some redraws, an infeasible
    one is repaired (see feasible.py). Each trial has its own random generator, seeded by the trial's number: processes
    that share a study never draw the same, and a resumed study draws what it would have drawn.

    Attributes:
        rejected: Number of infeasible samples rejected so far.
        exhausted: Whether no new network could be drawn for the latest trial.
    """

    def __init__(self, feasible: Feasible, make_inner: MakeSampler, *, seed: int) -> None:
        self.feasible, self.make_inner, self.seed = feasible, make_inner, seed
        self.rejected = 0
        self.exhausted = False

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distribution of every gene's option index."""
        distributions: dict[str, BaseDistribution] = {}
        for name, count in self.feasible.space.genes().items():
            distributions[name] = IntDistribution(0, count - 1)
        return distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the genes of a new feasible network; those of the smallest network if there seems to be none."""
        trials = study.get_trials(deepcopy=False)
        rng = generator(self.seed, "sampler", _sampling_number(trial, trials))
        inner = self.make_inner(self.feasible, int(rng.integers(2**31)))
        space = self.feasible.space
        seen = set(_archs(space, trials, states=(TrialState.COMPLETE, TrialState.RUNNING)))
        for attempt in range(_ATTEMPTS):
            genes = inner.sample_relative(study, trial, search_space) if attempt < _REDRAWS else {}
            arch = space.decode(genes) if genes else space.sample(rng)
            if arch not in self.feasible:
                self.rejected += 1
                if attempt < _REDRAWS - 1:
                    continue
                arch = self.feasible.repair(arch, rng) or arch
            if arch not in seen and arch in self.feasible:
                return space.encode(arch)
        self.exhausted = True
        return space.encode(space.min())

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Record on the trial which process evaluates it."""
        self.exhausted = False
        record_worker(study, trial)
        self.make_inner(self.feasible, 0).before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Call the inner sampler's after_trial."""
        self.make_inner(self.feasible, 0).after_trial(study, trial, state, values)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Raise NotImplementedError: genes are sampled jointly."""
        raise NotImplementedError("all genes are sampled together")


def _sampling_number(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the trial's number without counting requeued trials, which an uninterrupted study would not have."""
    requeued = sum(REQUEUED in other.user_attrs for other in trials if other.number <= trial.number)
    return trial.number - requeued


def _archs(space: SearchSpace, trials: Sequence[FrozenTrial], *, states: Sequence[TrialState]) -> list[Arch]:
    """Return the archs of the trials in these states whose genes are all drawn."""
    num_genes = len(space.genes())
    archs = []
    for trial in trials:
        if trial.state in states and len(trial.params) == num_genes:
            archs.append(space.decode(trial.params))
    return archs


class PredictorSampler(RandomSampler):
    """Proposes the network with the highest expected improvement by a predictor fitted to all evaluations so far.

    The first networks are random.
    """

    def __init__(self, feasible: Feasible, seed: int) -> None:
        super().__init__(seed=seed)
        self.feasible, self.rng = feasible, generator(seed, "predictor")

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the genes of the proposed network; none, for a random network, if there is no proposal."""
        space = self.feasible.space
        trials = study.get_trials(deepcopy=False)
        accuracies: dict[Arch, float] = {}
        for other in trials:
            if other.state == TrialState.COMPLETE and len(other.params) == len(search_space):
                accuracies[space.decode(other.params)] = other.values[0]
        if len(accuracies) < _WARM_UP:
            return {}
        arch = propose(
            self.feasible,
            list(accuracies),
            list(accuracies.values()),
            taken=_archs(space, trials, states=tuple(TrialState)),
            pareto=len(study.directions) > 1,
            rng=self.rng,
        )
        return {} if arch is None else space.encode(arch)


def _tpe(feasible: Feasible, seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), of all genes jointly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=False, seed=seed)


def _nsga2(feasible: Feasible, seed: int) -> BaseSampler:
    """Non-dominated sorting genetic algorithm (Deb et al., 2002)."""
    return NSGAIISampler(population_size=_POPULATION, seed=seed)


def _random(feasible: Feasible, seed: int) -> BaseSampler:
    """Every gene uniformly."""
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, MakeSampler] = {
    "tpe": _tpe,
    "nsga2": _nsga2,
    "predictor": PredictorSampler,
    "random": _random,
}
