"""Search a space for accurate archs within a budget.

Costs are free to compute and evaluations are not, so no network over the budget, and none twice, is ever evaluated.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import log10

import optuna
from optuna.trial import TrialState

from ..arch.arch import Arch
from ..arch.cost import Budget, Cost, read_cost
from ..utils.rng import generator
from .feasible import Feasible
from .samplers import SAMPLERS, FeasibleSampler
from .storage import ARCH, open_storage, queue_again, revive, told

_OF = " of supernet "  # between a study's limits and the weights it evaluates
_START_POINTS = 8  # the smallest, the largest that fits, and a spread of MACs between them
_POLL = 0.2  # seconds between two looks at what other processes have done


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A subnet that was evaluated, with its accuracy in percent on search-val."""

    arch: Arch
    accuracy: float
    cost: Cost


class _NotNeededError(Exception):
    """The network is another process's, or too slow as measured by this one, or the study has enough."""


def search(
    feasible: Feasible,
    evaluate: Callable[[Arch], float],
    *,
    storage: str,
    trials: int,
    weights: str = "",
    sampler: str = "predictor",
    pareto: bool = False,
    seed: int = 0,
    after_trial: Callable[[list[Evaluation], int], None] = lambda evaluations, avoided: None,
) -> list[Evaluation]:
    """Evaluate networks within the budget until the study has `trials` of them; returns all of them.

    `storage` is a journal file or a database's URL, with one study for each budget and `weights`, a word for what is
    evaluated. Any number of processes may search one study together. A network that any study of the same weights has
    evaluated is not evaluated again; a search that was killed goes on where it was. `sampler` is one of `SAMPLERS`;
    `pareto` looks for a front of accuracy and MACs instead of the highest accuracy. `after_trial` is told the
    evaluations so far, and how many draws over the budget this process avoided. Raises BudgetError, InputError, and
    FileError if the storage cannot be used.
    """
    feasible.check()
    drawing = FeasibleSampler(feasible, SAMPLERS[sampler], seed=seed)
    trials = trials if feasible.space.genes() else 1
    with told(storage):
        study = optuna.create_study(
            study_name=f"{'front, ' if pareto else ''}{_describe(feasible.budget)}{_OF}{weights}",
            storage=open_storage(storage),
            sampler=drawing,
            directions=["maximize", "minimize"] if pareto else ["maximize"],
            load_if_exists=True,
        )
        for arch in feasible.spread(min(_START_POINTS, trials), generator(seed, "start points")):
            study.enqueue_trial(feasible.space.encode(arch), skip_if_exists=True)
        objective = _Objective(study, feasible, evaluate, trials)
        while True:
            revive(study)
            found, running = _evaluations(study), len(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))
            after_trial(found, drawing.avoided)
            if len(found) >= trials or (drawing.exhausted and not running):
                return found
            if len(found) + running < trials and not drawing.exhausted:
                study.optimize(objective, n_trials=1, catch=_NotNeededError)
            else:
                drawing.exhausted = False
                time.sleep(_POLL)  # others are at work on the last ones


@dataclass(frozen=True)
class _Objective:
    """Evaluates a trial's network, unless that has been done or another process is at it."""

    study: optuna.Study
    feasible: Feasible
    evaluate: Callable[[Arch], float]
    trials: int

    def __call__(self, trial: optuna.Trial) -> tuple[float, ...]:
        genes = {name: trial.suggest_int(name, 0, count - 1) for name, count in self.feasible.space.genes().items()}
        arch = self.feasible.space.decode(genes)
        costs = self.feasible.price(arch)
        trial.set_user_attr(ARCH, arch.to_dict())
        trial.set_user_attr("cost", asdict(costs))
        excess = self.feasible.budget.excess(costs)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        if any(value > 0 for value in excess.values()):
            raise _NotNeededError
        self._claim(trial)
        accuracy = self._known(arch)
        if accuracy is None:
            try:
                accuracy = self.evaluate(arch)
            except BaseException:
                queue_again(self.study, self.study.trials[trial.number])
                raise
        return (accuracy, log10(costs.macs))[: len(self.study.directions)]

    def _claim(self, trial: optuna.Trial) -> None:
        """Raise _NotNeededError if another trial has the network, or if the others suffice.

        Each process writes its network down before it looks at the others', so of two with the same at least one sees.
        """
        states = TrialState.COMPLETE, TrialState.RUNNING
        others = [t for t in self.study.get_trials(deepcopy=False, states=states) if t.number != trial.number]
        before = [t for t in others if t.state == TrialState.COMPLETE or t.number < trial.number]
        if any(t.params == trial.params for t in others) or len(before) >= self.trials:
            raise _NotNeededError

    def _known(self, arch: Arch) -> float | None:
        """The accuracy that any study of the same weights has for the network."""
        storage, weights = self.study._storage, self.study.study_name.partition(_OF)[2]
        names = [name for name in optuna.get_all_study_names(storage) if name.partition(_OF)[2] == weights]
        studies = (optuna.load_study(study_name=name, storage=storage) for name in names)
        trials = (t for study in studies for t in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
        plain = arch.to_dict()
        return next((float(t.values[0]) for t in trials if t.user_attrs[ARCH] == plain), None)


def _describe(budget: Budget) -> str:
    """Limits to the last digit, for the name of a study."""
    sides = {
        name: f"{name.removeprefix('min_')} {'>=' if name.startswith('min_') else '<='}" for name in budget.limits()
    }
    return ", ".join(f"{sides[name]} {limit}" for name, limit in budget.limits().items()) or "no limits"


def _evaluations(study: optuna.Study) -> list[Evaluation]:
    return [
        Evaluation(arch=Arch.from_dict(t.user_attrs[ARCH]), accuracy=t.values[0], cost=read_cost(t.user_attrs["cost"]))
        for t in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    ]
