"""Commands that train. What needs torch is imported by the command that needs it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tinynas.arch.budget import Budget, split_own_limits
from tinynas.experiment.config import RetrainConfig, SupernetConfig
from tinynas.experiment.front_settings import FrontSettings
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.recipes import AUTO, DEFAULTS, RecipeFile, named_recipe
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.saved import read_config_file
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.utils.errors import InputError
from tinynas.utils.overrides import Overrides
from tinynas.utils.text import counted

from . import options as opt
from .screen import Screen
from .settings_options import settings_options
from .tables.dry_run import show_dry_run
from .tables.search import show_comparison, show_front, show_metrics
from .tracking import TensorBoard, Track, trackers_named


@settings_options(SearchSettings, SupernetConfig)
def search(
    *,
    flops: opt.Flops = None,
    params: opt.Params = None,
    sram: opt.Sram = None,
    flash: opt.Flash = None,
    latency: opt.Latency = None,
    limit: opt.OwnLimits = None,
    overrides: Overrides,
    tensorboard: TensorBoard = False,
    track: Track = None,
    loader_workers: opt.LoaderWorkers = None,
    task: opt.TaskName = None,
    config: opt.ConfigFile = None,
    run: opt.RunFolder = None,
    resume: opt.ResumeSearch = False,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Train a supernet and search it for the most accurate networks within hard limits.

    A run's supernet is trained once: search it again with other limits by naming the run.
    Settings that neither an option nor --config names are those of the existing run, or the defaults.
    """
    from tinynas.pipelines.search import search as run_search
    from tinynas.utils.distributed import broadcast_from_rank0, choose_device, process_group

    limits = {"flops": flops, "params": params, "sram": sram, "flash": flash, "latency": latency, "own": limit}
    trackers = trackers_named(track, tensorboard=tensorboard)
    make_plan = partial(_plan_of_search, run, limits, resume=resume, task=task, config=config, overrides=overrides)
    choose_device(device)
    with process_group():
        plan, overrides = broadcast_from_rank0(make_plan)
        plan = replace(plan, track=trackers)
        with Screen(as_json) as screen:
            if not RunFolder(plan.run).config.exists():
                _note_default_data(screen, plan.config.data, overrides)
            result = run_search(plan, report=screen)
    if result is None:  # torchrun's first process shows it
        return
    show_front(screen, plan.run, result)
    screen.document(result.to_dict() | {"run": str(plan.run)})


def _plan_of_search(
    run: Path | None,
    limits: Mapping[str, Any],
    *,
    resume: bool,
    task: str | None,
    config: Path | None,
    overrides: Overrides,
) -> tuple[SearchPlan, Overrides]:
    """Return the plan of a search, and the settings that were named."""
    from tinynas.pipelines.search_planning import plan_search, search_target

    from_file = read_config_file(config, SearchSettings, SupernetConfig) if config else Overrides({})
    named = from_file | overrides
    budget = Budget.parse(**_parsed(limits), target=search_target(run, resume=resume, overrides=named))
    return plan_search(run, resume=resume, task=task, budget=budget, overrides=named), named


def _parsed(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of options, those of the user's own costs by name."""
    return {**limits, "own": split_own_limits(limits["own"] or [])}


@settings_options(FrontSettings, RetrainConfig)
def retrain(
    target: opt.Target = None,
    *,
    overrides: Overrides,
    source: opt.Source = None,
    flops: opt.Flops = None,
    params: opt.Params = None,
    sram: opt.Sram = None,
    flash: opt.Flash = None,
    latency: opt.RetrainLatency = None,
    limit: opt.OwnLimits = None,
    tensorboard: TensorBoard = False,
    track: Track = None,
    loader_workers: opt.LoaderWorkers = None,
    task: opt.TaskName = None,
    recipe: opt.RecipeName = AUTO,
    config: opt.ConfigFile = None,
    name: opt.RetrainingName = None,
    resume: opt.ResumeRetraining = False,
    dry_run: opt.DryRun = False,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Train one network and write the model that is deployed.

    Limits choose the most accurate network that the run has evaluated within them; without limits it is the run's best.
    The data set is that of the run or model that the network comes from, unless another one is named. --front N trains
    N networks of the run's front instead; run it again to continue where it was interrupted.
    """
    from tinynas.pipelines.planning import resolve_retraining
    from tinynas.utils.distributed import choose_device

    limits = {"flops": flops, "params": params, "sram": sram, "flash": flash, "latency": latency, "own": limit}
    named = {"name": name, "resume": resume, "task": task, "source": source}
    read_request = partial(_read_request, target, named, limits, recipe=recipe, config=config, overrides=overrides)
    trackers = trackers_named(track, tensorboard=tensorboard)
    several = overrides.apply(FrontSettings())
    if several.front is None and dry_run:
        how = read_request()
        resolved = resolve_retraining(target, **how)
        if resolved.fits_recipe:
            resolved = resolved.fitted()
        show_dry_run(Screen(as_json), resolved, how["recipe"], notes=resolved.notes)
        return
    choose_device(device)
    if several.front is None:
        _retrain_one(target, read_request, Screen(as_json), trackers)
    else:
        other = None if recipe in (AUTO, DEFAULTS) else recipe
        _check_unused({"--from": source, "--task": task, "--recipe": other, "--dry-run": dry_run})
        _retrain_front(target, several, read_request(), Screen(as_json), trackers)


def _retrain_one(
    target: str | None, read_request: Callable[[], dict[str, Any]], screen: Screen, trackers: tuple[str, ...]
) -> None:
    """Retrain one network, in all processes of torchrun, and show what it reaches.

    Args:
        target: A run's folder, or a network. None: the newest run.
        read_request: Returns what is asked of `plan_retraining`.
        screen: Shows progress and results.
        trackers: Names of the trackers that show it.
    """
    from tinynas.experiment.retrain_folder import RetrainFolder
    from tinynas.pipelines.retrain import retrain as run_retrain
    from tinynas.utils.distributed import broadcast_from_rank0, process_group

    with process_group():
        plan, settings = broadcast_from_rank0(_plan_of_request, target, read_request)
        plan = replace(plan, track=trackers)
        with screen:
            _note_default_data(screen, plan.config.data, settings)
            metrics = run_retrain(plan, report=screen)
    if metrics is None:  # torchrun's first process shows it
        return
    show_metrics(screen, plan.folder, metrics)
    screen.next_export(plan.folder)
    screen.document(metrics.to_dict() | {"model": str(RetrainFolder(plan.folder).model)})


def _retrain_front(
    target: str | None, settings: FrontSettings, request: Mapping[str, Any], screen: Screen, trackers: tuple[str, ...]
) -> None:
    """Retrain several networks of a run, and compare them.

    Args:
        target: The run's folder. None: the newest run.
        settings: Which networks are retrained, in which ways.
        request: Name, limits and settings, as `_read_request` returns them.
        screen: Shows progress and results.
        trackers: Names of the trackers that show every retraining.
    """
    from tinynas.experiment.compare import compare_runs
    from tinynas.experiment.run_folder import FRONT
    from tinynas.experiment.runs import newest_run
    from tinynas.pipelines.retrain_front import plan_front, retrain_front

    run = Path(target) if target else newest_run(FRONT).path
    name, budget, overrides = request["name"] or "front", request["budget"], request["overrides"]
    fits_recipe = request["fits_recipe"]
    plans = plan_front(run, settings, name=name, budget=budget, overrides=overrides, fits_recipe=fits_recipe)
    plans = [replace(plan, track=trackers) for plan in plans]
    networks = len({plan.arch for plan in plans})
    if settings.front and networks < settings.front:
        there_are = f"the search evaluated {counted(networks, 'network')} within the limits"
        screen.note(f"{there_are}; {settings.front} were asked for")
    with screen:
        retrain_front(plans, workers=settings.workers, report=screen)
    plot = RunFolder(run).comparison_plot
    comparison = compare_runs([run], plot)
    show_comparison(screen, comparison, plot)
    screen.next_report([run])
    screen.document(comparison.to_dict() | {"picture": str(plot)})


def _check_unused(options: Mapping[str, Any]) -> None:
    """Raise InputError if an option is used that is for a single retraining."""
    for name, value in options.items():
        if value:
            text = name if value is True else f"{name} {value}"
            raise InputError(f"--front retrains networks of a run, each by the same settings; remove {text}")


def _plan_of_request(target: str | None, read_request: Callable[[], dict[str, Any]]) -> tuple[RetrainPlan, Overrides]:
    """Return the plan of a retraining, and the settings that were named."""
    from tinynas.pipelines.planning import plan_retraining

    request = read_request()
    return plan_retraining(target, **request), request["overrides"]


def _read_request(
    target: str | None,
    named: Mapping[str, Any],
    limits: Mapping[str, Any],
    *,
    recipe: str,
    config: Path | None,
    overrides: Overrides,
) -> dict[str, Any]:
    """Return what is asked of `plan_retraining`: what was named, and what files say."""
    from tinynas.pipelines.run_network import front_budget

    published = named_recipe(recipe)
    if published and not named["resume"]:
        published.check_model(named["source"])
    settings = _settings_of_files(published, config, named["source"]) | overrides
    budget = front_budget(target, named["source"], **_parsed(limits))
    return {**named, "budget": budget, "recipe": published, "fits_recipe": recipe == AUTO, "overrides": settings}


def _settings_of_files(recipe: RecipeFile | None, config: Path | None, source: Path | None) -> Overrides:
    """Return the settings of a recipe, and of a file that overrides it; with `source` they have its initial weights."""
    overrides = Overrides()
    if recipe:
        overrides = recipe.overrides
    if config:
        overrides = overrides | read_config_file(config, RetrainConfig)
    return overrides.without("init") if source else overrides


def _note_default_data(screen: Screen, data: str, overrides: Overrides) -> None:
    if data == "digits" and not overrides.get("data"):
        screen.note("data: digits, the 1,797 real images that come with scikit-learn (--data names another set)")
