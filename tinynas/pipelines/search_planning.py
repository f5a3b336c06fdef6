"""Planning of searches: from what a user named to a plan with run, supernet, limits and settings resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..arch.budget import Budget
from ..arch.cost_table import CostTable
from ..arch.own_costs import CostFunction, OwnCosts
from ..arch.space import SearchSpace
from ..arch.targets import DEFAULT_TARGET
from ..arch.zoo import short_name
from ..experiment.config import OF_SUPERNET, SupernetConfig
from ..experiment.log import last_record
from ..experiment.retrain_folder import CONFIG
from ..experiment.run_folder import RunFolder
from ..experiment.runs import new_run_path, newest_run
from ..experiment.saved import read_supernet_config
from ..experiment.saved_search import LATENCY_DIGEST, OWN_DIGESTS, SavedSearch, read_search, trains_networks
from ..experiment.search_plan import SearchPlan
from ..experiment.search_settings import PROGRAM_SAMPLER, TRAIN, WAYS, SearchSettings
from ..utils.errors import FileError, InputError, unknown
from ..utils.io import reserve_folder
from ..utils.overrides import Overrides
from ..utils.paths import absolute_path
from .folder_locks import refuse_while_trained
from .resolved_retraining import NO_LIMITS, NO_OVERRIDES

NO_COSTS: Mapping[str, CostFunction] = {}


def search_target(run: Path | None, *, resume: bool = False, overrides: Overrides = NO_OVERRIDES) -> str:
    """Return the name of a search's target, which decides what limits mean.

    It is the one that is named, otherwise that of the search to resume, otherwise the default.

    Raises:
        FileError: There is nothing to resume, or a file of the run is damaged.
    """
    named = overrides.get("target")
    if named or not resume:
        return named or DEFAULT_TARGET
    run = run or newest_run(CONFIG).path
    return read_search(run).settings.target if RunFolder(run).search.exists() else DEFAULT_TARGET


def plan_search(
    run: Path | None,
    *,
    resume: bool = False,
    task: str | None = None,
    budget: Budget = NO_LIMITS,
    costs: Mapping[str, CostFunction] = NO_COSTS,
    sampler: object = None,
    overrides: Overrides = NO_OVERRIDES,
) -> SearchPlan:
    """Plan a search in a new run, whose folder is created, or in an existing one, whose supernet is used.

    Settings that are not overridden are those of the existing run, or the task's defaults in a new one.

    Args:
        run: Folder of the run. None: a new one; to resume, the newest.
        resume: Whether to continue an interrupted search, with its limits and settings.
        task: "classify" or "detect", for the defaults of a new run.
        budget: Limits of the networks.
        costs: Functions of the user's own costs, by name.
        sampler: Sampler of a program's own, in place of the setting.
        overrides: Settings of `SupernetConfig` and `SearchSettings`.

    Raises:
        InputError: The settings contradict each other, or those of the search to resume.
        FileError: There is nothing to resume, the run's supernet is not trained, the latency table is not valid, or
            another one than that of the search to resume.
    """
    if resume:
        run = run or newest_run(CONFIG).path
        if not RunFolder(run).config.exists():
            raise FileError(f"nothing to resume in {run}: it has no config.yaml; search without --resume")
    last = SavedSearch()
    if resume and run and RunFolder(run).search.exists():
        last = read_search(run)
    budget = budget if budget.limits() else last.budget
    settings = overrides.apply(last.settings_for(budget))
    settings = replace(settings, cost_tables=tuple(map(absolute_path, settings.cost_tables)))
    config = overrides.apply(_config_of(run, task, settings, resume=resume))
    if settings.trains:
        _check_no_supernet(overrides)
    if budget is last.budget and settings.target != last.settings.target:
        raise InputError(
            f"the search to resume is for {last.settings.target}, and so are its limits; remove --target "
            f"{settings.target}, or search without --resume"
        )
    if last != SavedSearch():
        last.check_pareto(settings.pareto)
    own = OwnCosts(tables=_read_tables(settings.cost_tables), functions=costs)
    last.check_own_names(own.names)
    plan = SearchPlan(
        run=run or new_run_path(f"{short_name(config.space)}-{config.data.partition(':')[0]}"),
        config=config,
        budget=budget,
        settings=settings,
        latency_table=last.read_latency_table(settings, budget),
        own=own,
        sampler=sampler,
        resumed=last,
        named=overrides if settings.trains and not (run and RunFolder(run).config.exists()) else None,
    )
    return plan if run else replace(plan, run=reserve_folder(plan.run))


def _config_of(run: Path | None, task: str | None, settings: SearchSettings, *, resume: bool) -> SupernetConfig:
    """Return the configuration of a run, whose supernet is trained unless it is resumed; of a new one, the defaults."""
    if not run or not RunFolder(run).config.exists():
        return SupernetConfig.for_task(task or "classify", with_supernet=not settings.trains)
    if task is not None:
        raise InputError(f"{run} exists and has its task; remove --task {task}, or choose another --run")
    config = read_supernet_config(run)
    _check_way(run, settings)
    if not settings.trains and not resume and not _is_trained(run, config):
        refuse_while_trained(RunFolder(run))
        raise FileError(f"the supernet of {run} has not finished training; add --resume to continue it")
    return config


def _check_way(run: Path, settings: SearchSettings) -> None:
    """Raise FileError if a run has no supernet, but the search needs one, or the other way round."""
    folder = RunFolder(run)
    if settings.trains and folder.has_supernet():
        raise FileError(f"{run} has a supernet; remove --evaluate {TRAIN}, or choose another --run")
    if not settings.trains and not folder.log.exists() and trains_networks(run):
        raise FileError(
            f"{run} has no supernet, its networks are trained one by one; search it with --evaluate {TRAIN}, or choose "
            "another --run"
        )


def _check_no_supernet(overrides: Overrides) -> None:
    """Raise InputError if settings of a supernet are named for a search that trains none."""
    for name in OF_SUPERNET:
        if overrides.get(name) is not None:
            raise InputError(f"--evaluate {TRAIN} trains no supernet; remove --{name.replace('_', '-')}")


def check_evaluation(plan: SearchPlan) -> None:
    """Raise InputError if the plan lacks the function of a program that evaluates networks, or there is none."""
    name = plan.settings.own_metric
    if name is None or plan.evaluate:
        return
    if name != plan.resumed.settings.own_metric:
        raise unknown("way to evaluate networks", name, WAYS)
    raise InputError(
        f"the networks are evaluated by the function {name} of a program; resume the search there, with "
        f"evaluate={name}, or search without --resume"
    )


def own_sampler(sampler: object) -> tuple[object, str | None]:
    """Return what a program gave as `sampler`: the sampler, None if it is a name; and what the settings call it.

    Raises:
        InputError: It is neither a name nor a sampler of Optuna.
    """
    if sampler is None or isinstance(sampler, str):
        return None, sampler
    from ..study.own_sampler import check_sampler

    check_sampler(sampler)
    return sampler, PROGRAM_SAMPLER + type(sampler).__name__


def _read_tables(paths: Sequence[str]) -> tuple[CostTable, ...]:
    """Read tables of the user's own costs."""
    tables = []
    for path in paths:
        table = CostTable.read(Path(path))
        if table.cost == "latency":
            raise InputError(f"{path} has times in microseconds; name it with --latency-table")
        tables.append(table)
    return tuple(tables)


def search_settings(plan: SearchPlan, space: SearchSpace) -> dict[str, Any]:
    """Return a run's search.yaml: limits, settings and digests of costs, which a resumed search takes over."""
    settings = asdict(plan.settings)
    del settings["workers"]
    storage = settings.pop("storage")
    if storage:
        from ..study.storage import redact_password

        settings["storage"] = redact_password(storage)
    if plan.latency_table:
        settings[LATENCY_DIGEST] = plan.latency_table.digest
    if plan.own.names:
        settings[OWN_DIGESTS] = plan.own.digests(space)
    return {"limits": plan.budget.to_dict(), **settings}


def _is_trained(run: Path, config: SupernetConfig) -> bool:
    log = RunFolder(run).log
    return log.exists() and last_record(log).get("epoch") == config.recipe.epochs
