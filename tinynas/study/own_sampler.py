"""Samplers of the user's own: any sampler of Optuna, and those of OptunaHub by name."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from math import log10
from types import ModuleType
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from ..arch.arch import Arch
from ..utils.errors import InputError
from ..utils.text import first_line
from .feasible import Feasible
from .history import Evaluation, History
from .shared_study import directions_of, gene_distributions
from .storage import quiet_optuna

HUB = "optunahub:"  # before the name of a package
_NAME = "own sampler"


class OptunaSampler:
    """Lets a sampler of Optuna propose networks, by a study in memory that follows the search.

    What the sampler proposed and the search evaluated is told to it as a trial. So are networks that it did not
    propose: start points, those of other workers, and those in place of proposals that do not fit or that the study has
    seen. Such a trial is enqueued, as in Optuna a trial of given parameters is. Proposals that come to nothing are
    failed trials.

    Its random choices are those of the sampler, so that a resumed search goes on from the same evaluations, but not
    with the proposals that it would have made.

    Args:
        feasible: The networks to choose from.
        sampler: The sampler.
        objectives: Names of the costs of the front, if one is searched for.
    """

    def __init__(self, feasible: Feasible, sampler: BaseSampler, *, objectives: Sequence[str]) -> None:
        self._space = feasible.space
        self._objectives = objectives
        self._distributions = gene_distributions(feasible.space.genes())
        storage = InMemoryStorage()
        with quiet_optuna():
            optuna.create_study(storage=storage, study_name=_NAME, directions=directions_of(1 + len(objectives)))
        self._study = _EndlessStudy(study_name=_NAME, storage=storage, sampler=sampler)
        self._name = type(sampler).__name__
        self._running: dict[Arch, Trial] = {}
        self._num_read = 0  # evaluations

    def propose(self, history: History, rng: np.random.Generator) -> Arch:
        """Return the network that the sampler proposes.

        Raises:
            InputError: The sampler failed, such as one for a single objective in a search for a front.
        """
        try:
            self._follow(history)
            trial = self._study.ask(self._distributions)
        except Exception as error:
            reason = first_line(str(error)).rstrip(".")
            raise InputError(
                f"the sampler {self._name} failed: {type(error).__name__}: {reason}; choose another one"
            ) from error
        arch = self._space.decode(trial.params)
        if arch in self._running:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._running[arch] = trial
        return arch

    def _follow(self, history: History) -> None:
        """Tell the study what has become of its trials, and of other networks."""
        for evaluation in history.evaluations[self._num_read :]:
            trial = self._running.pop(evaluation.arch, None) or self._enqueued(evaluation.arch)
            self._study.tell(trial, self._values(evaluation))
        self._num_read = len(history.evaluations)
        pending = set(history.pending)
        for arch in list(self._running):
            if arch not in pending:
                self._study.tell(self._running.pop(arch), state=TrialState.FAIL)
        for arch in history.pending:
            if arch not in self._running:
                self._running[arch] = self._enqueued(arch)

    def _enqueued(self, arch: Arch) -> Trial:
        """Return a running trial of a network."""
        with quiet_optuna():
            self._study.enqueue_trial(self._space.encode(arch))
        trial = self._study.ask(self._distributions)
        trial.relative_params  # noqa: B018 - asks the sampler for some: NSGA-II then counts the trial in a generation
        return trial

    def _values(self, evaluation: Evaluation) -> list[float]:
        """Return the values of a network's trial: accuracy, and log10 of the costs."""
        values = [evaluation.accuracy]
        for cost in evaluation.point(self._objectives)[:-1]:
            values.append(log10(cost))
        return values


class _EndlessStudy(Study):
    """A study that samplers cannot stop: the search ends by itself."""

    def stop(self) -> None:
        """Do nothing."""


def check_sampler(sampler: object) -> None:
    """Raise InputError unless a program's own sampler is one of Optuna."""
    if isinstance(sampler, type):
        raise InputError(f"sampler is the class {sampler.__name__}; call it: sampler={sampler.__name__}()")
    if not isinstance(sampler, BaseSampler):
        raise InputError(f"sampler must be a name or a sampler of Optuna, but is {sampler!r:.60}")


def try_sampler(sampler: str | BaseSampler, feasible: Feasible, *, objectives: Sequence[str], seed: int = 0) -> None:
    """Let a sampler propose a network, before anything is trained. A sampler that can be copied is not changed.

    Args:
        sampler: Name of a sampler of OptunaHub, or a sampler of Optuna.
        feasible: The networks to choose from.
        objectives: Names of the costs of the front, if one is searched for.
        seed: Seed of a sampler of OptunaHub.

    Raises:
        InputError: The sampler cannot be made, or failed, such as one for a single objective in a search for a front.
    """
    if isinstance(sampler, str):
        sampler = hub_sampler(sampler, seed=seed)
    with suppress(Exception):  # what holds locks or connections is tried itself
        sampler = deepcopy(sampler)
    nothing = History(evaluations=(), pending=(), taken=())
    OptunaSampler(feasible, sampler, objectives=objectives).propose(nothing, np.random.default_rng(seed))


def hub_sampler(name: str, *, seed: int) -> BaseSampler:
    """Return a sampler of OptunaHub, which the package optunahub loads from the network or its cache.

    Args:
        name: "optunahub:PACKAGE", such as "optunahub:samplers/auto_sampler"; "optunahub:PACKAGE:CLASS" if the package
            has several samplers.
        seed: Seed of the sampler, if it takes one.

    Raises:
        InputError: optunahub is not installed, the package cannot be loaded, or it has no such sampler.
    """
    package, _, class_name = name.removeprefix(HUB).partition(":")
    try:
        hub = import_module("optunahub")
    except ImportError:
        raise InputError(
            f"--sampler {name} needs the package optunahub; install it with `pip install optunahub`"
        ) from None
    try:
        module = hub.load_module(package)
    except Exception as error:
        raise InputError(
            f"optunahub cannot load {package!r}: {type(error).__name__}: {first_line(str(error))}; check the name and "
            "the network"
        ) from error
    samplers = _samplers_in(module)
    if class_name:
        samplers = {offered: kind for offered, kind in samplers.items() if offered == class_name}
    if len(samplers) != 1:
        names = ", ".join(samplers) or "none"
        raise InputError(f"{package} has the samplers: {names}; name one as {HUB}{package}:CLASS")
    (kind,) = samplers.values()
    arguments: dict[str, Any] = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
    try:
        return kind(**arguments)
    except TypeError as error:
        raise InputError(f"{kind.__name__} of {package} needs arguments: {error}; make it in a program") from None


def _samplers_in(module: ModuleType) -> Mapping[str, type[BaseSampler]]:
    """Return the samplers that a package offers by name: those in `__all__`, or those that it defines."""
    offered = getattr(module, "__all__", None)
    samplers = {}
    for name, kind in vars(module).items():
        if not inspect.isclass(kind) or not issubclass(kind, BaseSampler):
            continue
        if name in offered if offered is not None else kind.__module__.startswith(module.__name__):
            samplers[name] = kind
    return samplers
