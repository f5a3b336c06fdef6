"""The tune command: look for the recipe of one network on search-val, whose test images it never looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..data.registry import load_data
from ..experiment.config import RetrainConfig
from ..experiment.plans import RetrainPlan
from ..experiment.reporter import NotesOnce, ProgressReporter
from ..experiment.saved import read_config, save_config
from ..study.recipe_study import TUNED, AfterEpoch, RecipeStudy, TriedRecipe
from ..tasks.registry import fit_to_data
from ..utils.errors import BusyError, FileError, InputError
from ..utils.io import from_json, json_digest, to_json, write_yaml
from ..utils.locks import exclusive_lock
from ..utils.overrides import Overrides
from ..utils.settings import settings_of
from .planning import check_name, retraining_config
from .resolved_retraining import fit_recipe
from .retraining import prepare_retraining
from .run_network import network_of_run
from .short_training import deleted_when_over, train_for_accuracy

_DIGEST = 8  # characters of a recipe's digest in the name of its training's folder
_ON_IMAGES = ("recipe.augmentation",)  # settings that detectors have otherwise


@dataclass(frozen=True, kw_only=True)
class TunePlan:
    """The tuning of one network's recipe.

    Attributes:
        run: The run's folder.
        name: Name of the tuning.
        arch: The network, fitted to the data set.
        config: Settings of all trainings, but those that are tuned; the first recipe has all of them.
        tuned: Paths of the settings that are tuned.
        trials: How many recipes are tried.
        notes: What there is to say about the first recipe.
    """

    run: Path
    name: str
    arch: Arch
    config: RetrainConfig
    tuned: tuple[str, ...]
    trials: int
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.run / "tune"

    @property
    def study(self) -> Path:
        """The Optuna study of the recipes, a journal file."""
        return self.folder / f"{self.name}.journal"

    @property
    def base(self) -> Path:
        """The network and the settings with which it began."""
        return self.folder / f"{self.name}-base.yaml"

    @property
    def recipe(self) -> Path:
        """The best recipe, as `tinynas retrain --config` reads it."""
        return self.folder / f"{self.name}.yaml"

    def retraining(self, values: Mapping[str, Any]) -> RetrainPlan:
        """Return the training by a recipe, in a folder that is deleted when it has ended."""
        config = Overrides(dict(values)).apply(self.config)
        folder = self.folder / f"{self.name}-{json_digest(dict(values))[:_DIGEST]}"
        return RetrainPlan(folder=folder, arch=self.arch, config=config)


def plan_tuning(run: Path, *, name: str, trials: int, budget: Budget, overrides: Overrides) -> TunePlan:
    """Plan the tuning of a run's best network, or of the most accurate that it has evaluated within limits.

    Args:
        run: The run's folder.
        name: Name of the tuning.
        trials: How many recipes are tried.
        budget: The limits.
        overrides: Settings of `RetrainConfig`; those that are named here are not tuned.

    Raises:
        BudgetError: No network of the run keeps the limits.
        InputError: The settings contradict each other, or leave nothing to tune.
        FileError: The run is not searched, or one of its files is damaged.
    """
    check_name(name)
    if not run.is_dir():
        raise FileError(
            f"there is no run folder {run}; tune needs the folder of a searched run, which has its networks"
        )
    arch = network_of_run(run, budget)
    config = retraining_config(run, arch, overrides)
    if config.train_on_all:
        raise InputError("train_on_all leaves no search-val to tune by; remove it")
    left_out = _ON_IMAGES if arch.task == "detect" else ()
    tuned = tuple(path for path in TUNED if overrides.get(path) is None and path not in left_out)
    if not tuned:
        raise InputError(f"every setting that is tuned has a value: remove one of {', '.join(TUNED)}")
    named_in = None if overrides.get("data") else run
    data = load_data(config.data, skip_unreadable=config.skip_unreadable, named_in=named_in)
    arch = fit_to_data(arch, data)
    config, notes = fit_recipe(config, arch, data=data, named=overrides)
    return TunePlan(run=run, name=name, arch=arch, config=config, tuned=tuned, trials=trials, notes=notes)


def tune(plan: TunePlan, *, report: ProgressReporter) -> list[TriedRecipe]:
    """Try recipes until as many were tried as planned, and write the best; a tuning that was interrupted goes on.

    Returns:
        The recipes that were tried, the best first: those that were trained to their end by accuracy on search-val,
        then those that were dropped.

    Raises:
        InputError: The data set, the teacher or the initial weights do not suit the network.
        FileError: A file is missing or corrupt, or the folder has a tuning with other settings.
        BusyError: Another process tunes under this name.
    """
    with exclusive_lock(plan.folder / f".{plan.name}", "tinynas tune", partial(_refuse, plan)):
        settings = {"arch": plan.arch.to_dict(), **asdict(plan.config), "tuned": plan.tuned}
        _check_tuned(plan)
        save_config(plan.base, settings, advice="choose another --name")
        study = RecipeStudy(
            str(plan.study),
            {path: TUNED[path] for path in plan.tuned},
            epochs=plan.config.recipe.epochs,
            seed=plan.config.recipe.seed,
        )
        study.try_first(_values_of(plan.config, plan.tuned))
        trainings = NotesOnce(report)
        for line in plan.notes:
            report.note(line)
        while len(study.tried()) < plan.trials:
            _report_progress(study.tried(), plan, report)
            study.try_one(partial(_train, plan, trainings))
        tried = study.tried()
        _report_progress(tried, plan, report)
        ranked = sorted(tried, key=_rank)
        best = Overrides(dict(ranked[0].values)).apply(plan.config)
        write_yaml(plan.recipe, from_json(to_json({"arch": plan.arch.to_dict(), **asdict(best)})))
    return ranked


def _refuse(plan: TunePlan, holder: str) -> None:
    """Refuse to tune beside another process."""
    raise BusyError(f"{plan.study} is in use by {holder}; wait until that has ended, or choose another --name")


def _check_tuned(plan: TunePlan) -> None:
    """Raise FileError if the tuning has begun with other settings to tune."""
    before = read_config(plan.base).get("tuned") if plan.base.exists() else None
    if not isinstance(before, list):
        return
    for path in TUNED:
        if (path in before) != (path in plan.tuned):
            then, now = ("tuned", "fixed") if path in before else ("fixed", "tuned")
            name = path.rpartition(".")[2]
            raise FileError(f"{plan.base}: {name} was {then} there, is {now} here; choose another --name")


def _values_of(config: RetrainConfig, tuned: Sequence[str]) -> dict[str, Any]:
    """Return the values of tuned settings, by path."""
    return {
        declared.path: declared.default_in(config) for declared in settings_of(RetrainConfig) if declared.path in tuned
    }


def _report_progress(tried: Sequence[TriedRecipe], plan: TunePlan, report: ProgressReporter) -> None:
    """Report how many recipes were tried, and the best accuracy so far."""
    complete = [recipe.accuracy for recipe in tried if recipe.is_complete and recipe.accuracy is not None]
    text = f"{len(tried) - len(complete)} dropped early"
    if complete:
        text = f"best {max(complete):.1f}% on search-val, {text}"
    report.advance("tune", len(tried), plan.trials, text)


def _rank(recipe: TriedRecipe) -> tuple[bool, float]:
    """Order recipes that were trained to their end before others, and those by accuracy; diverged ones come last."""
    return not recipe.is_complete, inf if recipe.accuracy is None else -recipe.accuracy


def _train(plan: TunePlan, report: ProgressReporter, values: Mapping[str, Any], after_epoch: AfterEpoch) -> float:
    """Train by a recipe, and return the accuracy on search-val."""
    retraining = plan.retraining(values)
    with deleted_when_over(retraining.folder):
        return train_for_accuracy(prepare_retraining(retraining, report, after_epoch=after_epoch))
