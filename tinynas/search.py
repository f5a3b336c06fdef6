"""Optuna, which lives here and nowhere else: search a space for accurate archs within a budget.

Costs are free to compute and evaluations are not, so no network over the budget, and none twice, is ever evaluated.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from .arch import Arch
from .cost import Budget, Cost, cost
from .data import generator
from .errors import BudgetError, FileError
from .files import write
from .space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)

_OF = " of supernet "  # between a study's limits and the weights it evaluates
_START_POINTS = 8  # the smallest, the largest that fits, and a spread of MACs between them
_POPULATION = 20  # of nsga2
_REDRAWS = 10  # of the sampler, before a network that does not fit is shrunk until it does
_ATTEMPTS = 100  # to find a network not seen yet, before the space counts as exhausted


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A subnet that was evaluated, with its accuracy in percent on search-val."""

    arch: Arch
    accuracy: float
    cost: Cost


class _ExhaustedError(Exception):
    """Every network within the budget seems to be evaluated."""


def check_budget(space: SearchSpace, budget: Budget) -> None:
    """Raise BudgetError if not even the smallest network fits: no network then does, since no cost falls with size."""
    smallest = cost(space.min())
    if not budget.fits(smallest):
        needs = ", ".join(
            f"{name} {getattr(smallest, name):,} (limit {limit:,})" for name, limit in budget.limits().items()
        )
        raise BudgetError(
            f"no network of the space fits, the smallest has {needs}; raise the limit or change the space"
        )


def search(
    space: SearchSpace,
    budget: Budget,
    evaluate: Callable[[Arch], float],
    *,
    journal: Path,
    trials: int,
    weights: str = "",
    sampler: str = "tpe",
    seed: int = 0,
    after_trial: Callable[[list[Evaluation], int], None] = lambda evaluations, avoided: None,
) -> list[Evaluation]:
    """Evaluate networks within the budget until the study has `trials` of them; returns all of them.

    `journal` is the Optuna journal file, one study in it for each budget and `weights`, a word for what is evaluated.
    A network that any study of the same weights has evaluated is not evaluated again. A search that was killed goes
    on where it was. `sampler` is one of `SAMPLERS`. `after_trial` is told the evaluations so far, and how many draws
    over the budget were avoided. Raises BudgetError, and FileError if the journal cannot be used.
    """
    check_budget(space, budget)
    storage = _open_journal(journal)
    feasible = FeasibleSampler(space, budget, SAMPLERS[sampler], seed=seed)
    study = optuna.create_study(
        study_name=f"{_describe(budget)}{_OF}{weights}",
        storage=storage,
        sampler=feasible,
        direction="maximize",
        load_if_exists=True,
    )
    known = {e.arch: e.accuracy for s in _studies(storage, weights) for e in _evaluations(s)}
    trials = trials if space.genes() else 1

    def objective(trial: optuna.Trial) -> float:
        genes = {name: trial.suggest_int(name, 0, count - 1) for name, count in space.genes().items()}
        arch = space.decode(genes)
        costs = cost(arch)
        trial.set_user_attr("arch", arch.to_dict())
        trial.set_user_attr("cost", asdict(costs))
        for name, limit in budget.limits().items():
            trial.set_constraint(name, getattr(costs, name) - limit)
        if arch not in known:
            known[arch] = evaluate(arch)
        return known[arch]

    _revive(study)
    for arch in _start_points(space, budget, min(_START_POINTS, trials), seed):
        study.enqueue_trial(space.encode(arch), skip_if_exists=True)
    try:
        while len(found := _evaluations(study)) < trials:
            after_trial(found, feasible.avoided)
            trial = study.ask()
            study.tell(trial, objective(trial))
    except _ExhaustedError:
        pass
    after_trial(found, feasible.avoided)
    return found


class FeasibleSampler(BaseSampler):
    """Any Optuna sampler, kept to networks within the budget that the study has not seen.

    Draws of the inner sampler that break a limit or repeat a network are redrawn; when redraws run out, the draw is
    repaired by shrinking. `make_inner` takes a seed: it follows from the number of networks evaluated so far, so that a
    resumed study goes on as it would have.
    """

    def __init__(
        self, space: SearchSpace, budget: Budget, make_inner: Callable[[int], BaseSampler], *, seed: int
    ) -> None:
        self.space, self.budget, self.make_inner, self.seed = space, budget, make_inner, seed
        self.avoided = 0  # draws that broke a limit

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: IntDistribution(0, count - 1) for name, count in self.space.genes().items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        rng = generator(self.seed, "sampler", len(done))
        inner = self.make_inner(int(rng.integers(2**31)))
        seen = {self.space.decode(t.params) for t in done}
        for attempt in range(_ATTEMPTS):
            genes = inner.sample_relative(study, trial, search_space) if attempt < _REDRAWS else {}
            arch = self.space.decode(genes) if genes else self.space.sample(rng)
            if not self.budget.fits(cost(arch)):
                self.avoided += 1
                if attempt < _REDRAWS - 1:
                    continue
                arch = shrink(self.space, arch, self.budget, rng)
            if arch not in seen:
                return self.space.encode(arch)
        raise _ExhaustedError

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.make_inner(0).before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.make_inner(0).after_trial(study, trial, state, values)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise NotImplementedError("all genes are sampled together")


def shrink(space: SearchSpace, arch: Arch, budget: Budget, rng: np.random.Generator) -> Arch:
    """Make random choices of the arch one size smaller until it fits. The space's smallest arch must fit."""
    genes = space.encode(arch)
    while not budget.fits(cost(arch)):
        genes[rng.choice([name for name, index in genes.items() if index > 0])] -= 1
        arch = space.decode(genes)
        genes = space.encode(arch)
    return arch


def _start_points(space: SearchSpace, budget: Budget, count: int, seed: int) -> list[Arch]:
    """The smallest, the largest found that fits, and archs spread evenly over log MACs between them."""
    rng = generator(seed, "start points")
    starts = [space.max()] * 20 + [space.sample(rng) for _ in range(100)]
    pool = [space.min(), *(shrink(space, start, budget, rng) for start in starts)]
    size = {arch: np.log(cost(arch).macs) for arch in pool}
    wanted = np.linspace(min(size.values()), max(size.values()), count)
    return list(dict.fromkeys(min(pool, key=lambda arch: abs(size[arch] - w)) for w in wanted))


def _open_journal(path: Path) -> JournalStorage:
    """The storage in a journal file, without a last line that a killed process left unfinished."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
            write(path, content[: content.rfind(b"\n") + 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"cannot use the study in {path}: {error}; move it away to search anew") from None


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=False, seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,  # tree-structured Parzen estimator (Bergstra et al., 2011), of all genes jointly
    "nsga2": lambda seed: NSGAIISampler(population_size=_POPULATION, seed=seed),  # evolution (Deb et al., 2002)
    "random": lambda seed: RandomSampler(seed=seed),
}


def _describe(budget: Budget) -> str:
    return ", ".join(f"{name} <= {limit}" for name, limit in budget.limits().items()) or "no limits"


def _studies(storage: BaseStorage, weights: str) -> list[optuna.Study]:
    names = [name for name in optuna.get_all_study_names(storage) if name.partition(_OF)[2] == weights]
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def _evaluations(study: optuna.Study) -> list[Evaluation]:
    return [
        Evaluation(arch=Arch.from_dict(t.user_attrs["arch"]), accuracy=t.value, cost=Cost(**t.user_attrs["cost"]))
        for t in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if t.value is not None
    ]


def _revive(study: optuna.Study) -> None:
    """Trials that a killed search left running are ended, and their networks queued again."""
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        if len(trial.params) == len(study.sampler.infer_relative_search_space(study, trial)):
            study.enqueue_trial(trial.params)
