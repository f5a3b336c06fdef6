"""Planning of retrainings: from what a user named to a plan with folder, network and configuration resolved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..arch.netaug import family_factors
from ..arch.zoo import load_arch, short_name
from ..data.base import Data
from ..experiment.config import RetrainConfig, SupernetConfig
from ..experiment.netaug_settings import NetAug, check_sorting
from ..experiment.plans import RetrainPlan
from ..experiment.recipes import RecipeFile
from ..experiment.run_folder import BEST, RunFolder
from ..experiment.runs import RUNS, find_model, newest_run, unfinished_retrainings
from ..experiment.saved import read_retraining, read_supernet_config, removed_supernet
from ..experiment.saved_search import trains_networks
from ..models.model_file import read_model
from ..models.network import INITS
from ..tasks.registry import fit_to_data, task_named
from ..utils.errors import FileError, InputError, unknown
from ..utils.overrides import Overrides
from ..utils.paths import is_on_hub
from .model_data import check_data_named
from .resolved_retraining import NO_LIMITS, NO_OVERRIDES, ResolvedRetraining, fit_recipe
from .run_network import network_of_run

SUPERNET = "supernet"  # in place of a model's file: the run's supernet


def plan_retraining(
    target: str | None,
    *,
    name: str | None = None,
    resume: bool = False,
    task: str | None = None,
    source: Path | None = None,
    budget: Budget = NO_LIMITS,
    recipe: RecipeFile | None = None,
    fits_recipe: bool = True,
    overrides: Overrides = NO_OVERRIDES,
) -> RetrainPlan:
    """Plan a retraining: what `resolve_retraining` finds, fitted to its data set, in a folder."""
    resolved = resolve_retraining(
        target,
        name=name,
        resume=resume,
        task=task,
        source=source,
        budget=budget,
        recipe=recipe,
        fits_recipe=fits_recipe,
        overrides=overrides,
    )
    return resolved.plan(name)


def plan_network(
    run: Path, label: str, arch: Arch, data: Data, overrides: Overrides, *, fits_recipe: bool = True
) -> RetrainPlan:
    """Plan the retraining of a network in a run.

    Args:
        run: The run's folder.
        label: Name of the retraining; its folder's name ends with the seed unless that is 0.
        arch: The network.
        data: The data set.
        overrides: Settings of `RetrainConfig`.
        fits_recipe: Whether settings that were not named are fitted to the network and the data.

    Raises:
        InputError: The settings contradict each other, or do not fit the network.
    """
    config = retraining_config(run, arch, overrides)
    fitted = fit_to_data(arch, data)
    notes: tuple[str, ...] = ()
    if fits_recipe:
        config, notes = fit_recipe(config, fitted, data=data, named=overrides)
    seed = config.recipe.seed
    folder = RunFolder(run).retraining(f"{label}-seed{seed}" if seed else label)
    return RetrainPlan(folder=folder.path, arch=fitted, config=config, notes=notes)


def resolve_retraining(
    target: str | None,
    *,
    name: str | None = None,
    resume: bool = False,
    task: str | None = None,
    source: Path | None = None,
    budget: Budget = NO_LIMITS,
    recipe: RecipeFile | None = None,
    fits_recipe: bool = True,
    overrides: Overrides = NO_OVERRIDES,
) -> ResolvedRetraining:
    """Resolve network and settings of a retraining: of a run's network, of an arch, or of a trained model's network.

    The data set is not read, and nothing is written.

    Args:
        target: A run's folder, an arch's YAML file or a network's name. None: that of the recipe, or the newest run.
        name: Name of the retraining. None: one by its settings.
        resume: Whether to continue an interrupted retraining: of this target and name, otherwise the newest.
        task: "detect" makes a detector of a classifier's backbone.
        source: Trained model whose network is trained further, in place of `target`.
        budget: Limits that choose among the networks that the run has evaluated. Without limits, the most accurate one.
        recipe: Its network is taken if no other is named; its settings are among the overrides.
        fits_recipe: Whether settings that were not named are fitted to the network and its data, once that is read.
        overrides: Settings of `RetrainConfig`.

    Raises:
        BudgetError: No network of the run keeps the limits.
        InputError: The settings contradict each other, or do not fit the network.
        FileError: A run or model is missing or damaged.
    """
    check_name(name)
    run = Path(target) if target and Path(target).is_dir() else None
    if target and not run and Path(target).parent.name and not Path(target).suffix:
        raise FileError(f"there is no run folder {target}; `tinynas retrain` takes the newest run")
    limits = ("limits", budget.describe() if budget.limits() else None)
    if resume:
        _check_unused("a resumed retraining has its network", ("--task", task), ("--from", source), limits)
        return _resolve_resumed(run, _named_arch(None if run else target, recipe), name, overrides)
    resolved = _resolve_new(target, run, recipe, task=task, source=source, budget=budget, overrides=overrides)
    return replace(resolved, named=overrides, fits_recipe=fits_recipe)


def _resolve_new(
    target: str | None,
    run: Path | None,
    recipe: RecipeFile | None,
    *,
    task: str | None,
    source: Path | None,
    budget: Budget,
    overrides: Overrides,
) -> ResolvedRetraining:
    """Resolve a retraining that is not resumed; `run` is the run's folder if the target is one."""
    limits = ("limits", budget.describe() if budget.limits() else None)
    if source:
        _check_unused("a model that is trained further has its network", ("target", target), limits)
        return _resolve_model(source, task, overrides)
    arch = None if run else _named_arch(target, recipe)
    if arch:
        _check_unused("limits choose a network of a run", limits)
        data = RetrainConfig.for_task(arch.task).data
        new_run = short_name(target) if target else recipe.name if recipe else ""
        return replace(_resolve(arch, data, task, overrides), new_run=new_run)
    return _resolve_run(run or newest_run(BEST).path, task, budget, overrides)


def _named_arch(target: str | None, recipe: RecipeFile | None) -> Arch | None:
    """Return the network that is named, by itself or by a recipe, if there is one."""
    if target:
        return load_arch(target)
    return recipe.arch if recipe else None


def _resolve_run(run: Path, task: str | None, budget: Budget, overrides: Overrides) -> ResolvedRetraining:
    """Resolve a retraining of a run's most accurate network within a budget."""
    data_of = None if overrides.get("data") else run
    arch = network_of_run(run, budget)
    searched, overrides = _with_settings_of_run(run, overrides)
    resolved = _resolve(arch, searched.data, task, overrides, run)
    return replace(resolved, budget=budget, data_of=data_of)


def retraining_config(run: Path, arch: Arch, overrides: Overrides) -> RetrainConfig:
    """Return the settings with which a network of a run is retrained, on the run's data set unless another is named.

    Raises:
        InputError: The settings contradict each other, or do not fit the network.
        FileError: The run has no readable config.yaml.
    """
    searched, overrides = _with_settings_of_run(run, overrides)
    return _resolve(arch, searched.data, None, overrides, run).config


def _with_settings_of_run(run: Path, overrides: Overrides) -> tuple[SupernetConfig, Overrides]:
    """Return the settings of a run's supernet, and overrides with those that its retrainings share."""
    searched = read_supernet_config(run)
    if searched.skip_unreadable:
        overrides = Overrides.read({"skip_unreadable": True}, RetrainConfig) | overrides
    return searched, overrides


def _resolve_model(source: Path, task: str | None, overrides: Overrides) -> ResolvedRetraining:
    """Resolve a training that goes on from a model, in a new run, on its data set or on another one."""
    model = find_model(source)
    if init := overrides.get("init"):
        raise InputError(f"a model that is trained further has its own weights; remove init {init}")
    trained = read_model(model)
    check_data_named(trained, model, overrides.get("data"))
    init = source if is_on_hub(str(source)) else model
    overrides = overrides | Overrides.read({"init": str(init)}, RetrainConfig)
    resolved = _resolve(trained.net.arch, trained.data, task, overrides)
    data_of = None if overrides.get("data") else model
    return replace(resolved, new_run=f"transfer-{resolved.config.data.partition(':')[0]}", data_of=data_of)


def _resolve_resumed(run: Path | None, arch: Arch | None, name: str | None, overrides: Overrides) -> ResolvedRetraining:
    """Find the newest interrupted retraining of a run, network and name, where these are named."""
    plans = []
    for retraining in unfinished_retrainings(RunFolder(run) if run else None, name):
        plan = read_retraining(retraining)
        if arch is None or arch.is_when_fitted(plan.arch):
            plans.append(plan)
    if not plans:
        named = f" {name}" if name else ""
        raise FileError(f"no unfinished retraining{named} in {run or RUNS}; retrain without --resume")
    plan = plans[-1]
    if overrides.get("netaug") and not plan.config.netaug:
        raise FileError(f"{plan.folder} is a retraining without NetAug; resume it without --netaug")
    plan = replace(plan, config=overrides.apply(plan.config))
    return ResolvedRetraining(arch=plan.arch, config=plan.config, resumed=plan)


def check_name(name: str | None) -> None:
    """Raise InputError if a name is given that is not that of one folder."""
    if name is not None and (name != Path(name).name or name in ("", "..")):
        raise InputError(f"a name must be that of one folder, but is {name!r}")


def default_config(arch: Arch, data: str, *, netaug: bool) -> RetrainConfig:
    """Return the default configuration for an arch: NetAug, if used, has the factors of the arch's family."""
    config = replace(RetrainConfig.for_task(arch.task), data=data)
    if not netaug:
        return config
    width, expand = family_factors(arch)
    return replace(config, netaug=NetAug(width=width, expand=expand))


def _resolve(
    arch: Arch, data: str, task: str | None, overrides: Overrides, run: Path | None = None
) -> ResolvedRetraining:
    """Resolve the settings of a retraining of a network.

    Args:
        arch: The network to train.
        data: The data set, unless another one is named.
        task: "detect" makes a detector of a classifier's backbone.
        overrides: Settings of `RetrainConfig`.
        run: The run that the network was searched in. None: a new one.
    """
    if task and task != arch.task:
        arch, data = task_named(task).convert(arch), RetrainConfig.for_task(task).data
    config = overrides.apply(default_config(arch, data, netaug=bool(overrides.get("netaug"))))
    check_sorting(overrides)
    if config.classifier_std is not None and arch.task != "classify":
        raise InputError(
            f"classifier_std is {config.classifier_std:g}, but the network {arch.task}s: its last layers have initial "
            "weights of their own; remove it"
        )
    _check_weights(config, run)
    return ResolvedRetraining(arch=arch, config=config, run=run)


def _check_weights(config: RetrainConfig, run: Path | None) -> None:
    """Raise InputError unless the initial weights exist, and so does the supernet, if the run's is used."""
    known = [SUPERNET, *INITS]
    if config.init not in known and not is_on_hub(config.init) and not Path(config.init).exists():
        raise unknown("initialisation", config.init, known)
    teacher = config.distillation.teacher if config.distillation else None
    if SUPERNET not in (config.init, teacher):
        return
    if run and trains_networks(run):
        raise InputError(
            f"{run} has no supernet to start or learn from, its networks are trained one by one; choose other weights"
        )
    if run is not None and RunFolder(run).log.exists() and not RunFolder(run).supernet.exists():
        raise InputError(f"{removed_supernet(run)}; `tinynas search --run {run} --resume` trains it again")
    if run is None or not RunFolder(run).supernet.exists():
        raise InputError("only a searched run has a supernet to start or learn from; choose other weights")
    trained_on = read_supernet_config(run).data
    if trained_on != config.data:
        raise InputError(
            f"the supernet of {run} was trained on {trained_on}, the network is for {config.data}; "
            "remove --data, or choose other weights than supernet"
        )


def _check_unused(reason: str, *options: tuple[str, Any]) -> None:
    """Raise InputError if an option is set that the reason makes useless."""
    for name, value in options:
        if value is not None:
            raise InputError(f"{reason}; remove {name} {value}")
