"""Samplers of the user's own: every sampler that Optuna has, and packages of OptunaHub by a module in its place."""

import sys
import types
import warnings

import numpy as np
import pytest
from optuna.samplers import (
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.testing.pytest_samplers import FixedSampler

from helpers import SPACE, TINY, evaluated, run_search, score
from tinynas import Budget, augment
from tinynas.experiment.search_settings import HUB_SAMPLER
from tinynas.study.feasible import Feasible
from tinynas.study.history import History
from tinynas.study.loop import search
from tinynas.study.own_sampler import HUB, OptunaSampler, hub_sampler, try_sampler
from tinynas.study.samplers import make_sampler
from tinynas.study.shared_study import gene_distributions
from tinynas.utils.errors import InputError

GENES = SPACE.genes()
FEASIBLE = Feasible(space=SPACE, budget=Budget(macs=60_000))
TWO = ("peak_sram_tflm", "macs")
SAMPLERS = {
    "random": lambda: RandomSampler(seed=0),
    "tpe": lambda: TPESampler(seed=0),
    "tpe multivariate": lambda: TPESampler(seed=0, multivariate=True, constant_liar=True),
    "nsga2": lambda: NSGAIISampler(seed=0, population_size=8),
    "nsga3": lambda: NSGAIIISampler(seed=0, population_size=8),
    "gp": lambda: GPSampler(seed=0, n_startup_trials=5),
    "qmc": lambda: QMCSampler(seed=0),
    "brute force": lambda: BruteForceSampler(seed=0),
    "grid": lambda: GridSampler({name: [0, 1] for name in GENES}, seed=0),
    "partial fixed": lambda: PartialFixedSampler({"resolution": 1}, RandomSampler(seed=0)),
    "cma-es": lambda: CmaEsSampler(seed=0),
}
SINGLE = ("cma-es",)  # for one objective only
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "ignore::UserWarning")


def make(name):
    """Return a sampler, or skip the test if Optuna lacks the package that it needs."""
    if name == "cma-es":
        pytest.importorskip("cmaes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SAMPLERS[name]()


SLOW = ("gp", TWO)  # minutes
CASES = [(name, objectives) for objectives in ((), TWO) for name in SAMPLERS]


@pytest.mark.parametrize(
    ("name", "objectives"),
    [pytest.param(*case, marks=pytest.mark.slow) if case == SLOW else case for case in CASES],
)
def test_sampler_of_optuna_searches_within_the_budget(tmp_path, name, objectives):
    if objectives and name in SINGLE:
        pytest.skip("for one objective only")
    sampler = make(name)
    journal = tmp_path / "journal"
    evaluations = run_search(
        SPACE, FEASIBLE.budget, score, journal=journal, sampler=sampler, trials=24, objectives=objectives
    )
    assert len({e.arch for e in evaluations}) == 24
    assert all(FEASIBLE.budget.fits(e.cost) for e in evaluations)
    again = run_search(
        SPACE, FEASIBLE.budget, score, journal=journal, sampler=make(name), trials=28, objectives=objectives
    )
    assert again[:24] == evaluations
    assert len({e.arch for e in again}) == 28


def test_sampler_is_told_every_evaluation_with_its_direction(tmp_path):
    sampler = RandomSampler(seed=0)
    own = OptunaSampler(FEASIBLE, sampler, objectives=TWO)
    rng = np.random.default_rng(0)
    archs = [FEASIBLE.sample(rng) for _ in range(12)]
    evaluations = evaluated(FEASIBLE, archs, score)
    own.propose(History(evaluations=evaluations[:5], pending=archs[5:7], taken=archs), rng)
    proposed = own.propose(History(evaluations=evaluations[:9], pending=archs[9:], taken=archs), rng)
    trials = own._study.trials
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == 9
    assert states.count("RUNNING") == 3 + 1, "pending ones, and the newest proposal"
    assert states.count("FAIL") == 1, "the first proposal, which was not evaluated"
    complete = {SPACE.decode(trial.params): trial.values for trial in trials if trial.state.name == "COMPLETE"}
    for evaluation in evaluations[:9]:
        *costs, accuracy = evaluation.point(TWO)
        assert complete[evaluation.arch] == pytest.approx([accuracy, *np.log10(costs)])
    assert [direction.name for direction in own._study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert proposed in [SPACE.decode(trial.params) for trial in trials if trial.state.name == "RUNNING"]


def test_proposals_are_those_of_the_sampler():
    genes = SPACE.encode(SPACE.max())
    smallest, largest = FixedSampler({}, {}, 0), FixedSampler(gene_distributions(GENES), genes, 0)
    history, rng = History(evaluations=(), pending=(), taken=()), np.random.default_rng(0)
    for sampler, expected in ((smallest, SPACE.min()), (largest, SPACE.max())):
        own = OptunaSampler(FEASIBLE, sampler, objectives=())
        for _ in range(3):
            assert own.propose(history, rng) == expected


def test_nsga2_in_a_search_has_the_generations_that_optuna_gives_it():
    """A generation is what a user's NSGA-II counts, start points and repaired networks among it."""
    sampler = NSGAIISampler(seed=0, population_size=6)
    own = OptunaSampler(FEASIBLE, sampler, objectives=("macs",))
    rng, evaluations = np.random.default_rng(0), []
    for _ in range(20):
        history = History(evaluations=evaluations, pending=(), taken=())
        arch = FEASIBLE.repair(own.propose(history, rng), rng)
        evaluations = evaluations + evaluated(FEASIBLE, [arch], score)
    own.propose(History(evaluations=evaluations, pending=(), taken=()), rng)
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in own._study.get_trials(deepcopy=False)]
    assert max(generations) == 3


def test_sampler_that_is_exhausted_does_not_end_the_search(tmp_path):
    space = augment(TINY, width=[1.0, 2.0], expand=[1.0, 2.0, 3.0])
    outcome = search(
        Feasible(space=space, budget=Budget()),
        score,
        storage=str(tmp_path / "journal"),
        sampler=BruteForceSampler(seed=0),
        trials=100,
    )
    archs = {space.sample(np.random.default_rng(i)) for i in range(100)}
    assert {e.arch for e in outcome.evaluations} == archs


def test_sampler_for_one_objective_is_an_error_in_a_line_in_a_search_for_a_front(tmp_path):
    with pytest.raises(InputError, match=r"the sampler CmaEsSampler failed: .*; choose another one"):
        search(
            FEASIBLE,
            score,
            storage=str(tmp_path / "journal"),
            sampler=make("cma-es"),
            trials=20,
            objectives=("macs",),
        )


def test_sampler_that_is_tried_proposes_afterwards_what_it_would_have(hub):
    history, rng = History(evaluations=(), pending=(), taken=()), np.random.default_rng(0)
    tried, other = RandomSampler(seed=0), RandomSampler(seed=0)
    try_sampler(tried, FEASIBLE, objectives=TWO)
    proposals = []
    for sampler in (tried, other):
        proposals.append(OptunaSampler(FEASIBLE, sampler, objectives=TWO).propose(history, rng))
    assert proposals[0] == proposals[1]
    try_sampler("optunahub:samplers/any", FEASIBLE, objectives=TWO)


def test_sampler_for_one_objective_is_found_by_trying_it():
    with pytest.raises(InputError, match=r"the sampler CmaEsSampler failed: .*; choose another one"):
        try_sampler(make("cma-es"), FEASIBLE, objectives=TWO)
    try_sampler(make("cma-es"), FEASIBLE, objectives=())


class Hub(types.ModuleType):
    """Stands for optunahub, which loads packages from the network."""

    def __init__(self, packages):
        super().__init__("optunahub")
        self.packages = packages

    def load_module(self, package):
        if package not in self.packages:
            raise FileNotFoundError(package)
        module = types.ModuleType(f"optunahub_registry.package.{package.replace('/', '.')}")
        vars(module).update(self.packages[package], RandomSampler=RandomSampler)
        return module


class HubSampler(RandomSampler):
    """A package's sampler."""


class Other(TPESampler):
    """Another one."""


class Needy(RandomSampler):
    """One that needs an argument."""

    def __init__(self, search_space):
        super().__init__()


@pytest.fixture
def hub(monkeypatch):
    for kind in (HubSampler, Other, Needy):
        monkeypatch.setattr(kind, "__module__", "optunahub_registry.package.samplers.any")
    packages = {
        "samplers/any": {"HubSampler": HubSampler},
        "samplers/two": {"HubSampler": HubSampler, "Other": Other, "__all__": ["HubSampler", "Other"]},
        "samplers/needy": {"Needy": Needy, "__all__": ["Needy"]},
        "samplers/none": {},
    }
    monkeypatch.setitem(sys.modules, "optunahub", Hub(packages))


def test_sampler_of_optunahub_is_made_by_name(hub):
    assert type(hub_sampler("optunahub:samplers/any", seed=3)) is HubSampler
    assert type(hub_sampler("optunahub:samplers/two:Other", seed=3)) is Other
    by_name = make_sampler("optunahub:samplers/any", FEASIBLE, objectives=(), seed=3)
    history, rng = History(evaluations=(), pending=(), taken=()), np.random.default_rng(0)
    expected = OptunaSampler(FEASIBLE, RandomSampler(seed=3), objectives=())
    assert by_name.propose(history, rng) == expected.propose(history, rng), "with the search's seed"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("samplers/gone", "optunahub cannot load 'samplers/gone': FileNotFoundError: samplers/gone; check the name"),
        ("samplers/two", "samplers/two has the samplers: HubSampler, Other; name one as optunahub:samplers/two:CLASS"),
        ("samplers/two:Third", "samplers/two has the samplers: none; name one"),
        ("samplers/none", "samplers/none has the samplers: none"),
        ("samplers/needy", "Needy of samplers/needy needs arguments: .*search_space.*; make it in a program"),
    ],
)
def test_what_optunahub_lacks_is_an_error_in_a_line(hub, name, message):
    with pytest.raises(InputError, match=message):
        hub_sampler(f"{HUB}{name}", seed=0)


def test_optunahub_that_is_not_installed_is_an_error_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optunahub", None)
    with pytest.raises(InputError, match="needs the package optunahub"):
        hub_sampler("optunahub:samplers/any", seed=0)
    assert HUB == HUB_SAMPLER
