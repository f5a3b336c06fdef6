"""From what the user asked for to what is done: which folder, which configuration, everything resolved."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..arch.arch import Arch, detector_of
from ..arch.cost import Budget, describe_limits
from ..arch.netaug import family_factors
from ..arch.zoo import load_arch, short_name
from ..experiment.config import (
    Distillation,
    NetAug,
    RetrainConfig,
    RetrainPlan,
    SearchPlan,
    SupernetConfig,
    read_settings,
    with_settings,
)
from ..experiment.log import last_record
from ..experiment.results import read_front
from ..experiment.run_folder import RUNS, delivered, newest, read_config
from ..models.model_file import read_model
from ..models.network import INITS
from ..study.storage import redact_password
from ..tasks.registry import TASKS, task_named
from ..utils.errors import BudgetError, FileError, InputError, require, unknown
from ..utils.io import unused_path


def plan_search(
    run: Path | None,
    *,
    resume: bool,
    task: str | None = None,
    limits: Mapping[str, Any],
    how: Mapping[str, Any],
    given: Mapping[str, Any],
) -> SearchPlan:
    """A search in a new run, or in one that is there: its supernet is then used, or trained to its end.

    `task`, "classify" or "detect", decides the space and the data of a new run, where nothing else does.

    `how` are the settings the user named of the search, as in `SearchPlan`; `given` those of `SupernetConfig` and
    `Recipe`. A run that is there supplies the others, and to a resumed search also limits and settings.
    Raises FileError or InputError.
    """
    if resume:
        run = run or newest("*/config.yaml").parent
        if not (run / "config.yaml").exists():
            raise FileError(f"nothing to resume in {run}: it has no config.yaml; search without --resume")
    if run and (run / "config.yaml").exists():
        require(task is None, "a run that is there has its task", task=task)
        config = _read_supernet_config(run / "config.yaml")
        if not resume and not _is_trained(run, config):
            raise FileError(f"the supernet of {run} is not trained to its end; add --resume to go on with it")
    else:
        defaults = task_named(task or "classify")
        config = with_settings(
            SupernetConfig(space=defaults.default_space, data=defaults.default_data), defaults.supernet_overrides
        )
    config = with_settings(config, _with_paths(given))
    if resume and run and (run / "search.yaml").exists():
        last = read_config(run / "search.yaml")
        limits = limits or last.get("limits", {})
        how = {name: value for name, value in last.items() if name != "limits"} | dict(how)
    if (storage := how.get("storage")) and "://" not in storage:
        how = {**how, "storage": _absolute(storage)}
    return SearchPlan(
        run=run or _new_folder(f"{short_name(config.space)}-{config.data.partition(':')[0]}"),
        config=config,
        budget=Budget(**limits),
        **how,
    )


def search_settings(plan: SearchPlan) -> dict[str, Any]:
    """What a resumed search takes over; a run's search.yaml."""
    storage = plan.storage and redact_password(plan.storage)
    names = {name: getattr(plan, name) for name in ("trials", "sampler", "pareto")}
    return {"limits": plan.budget.limits(), **names} | ({"storage": storage} if storage else {})


def plan_retraining(
    target: str | None,
    *,
    name: str | None,
    resume: bool,
    netaug: bool,
    task: str | None = None,
    source: Path | None = None,
    limits: Mapping[str, Any] = MappingProxyType({}),
    given: Mapping[str, Any],
) -> RetrainPlan:
    """A retraining of a run's best network, of a network by name or of a YAML file's; of the newest run by default.

    `task` "detect" makes a detector of a classifier's backbone. `source` is a delivered model whose network goes on
    from its weights. `limits` choose another network of a run's front. Resumed, it is the unfinished one of that target
    and name, or the newest, with the configuration it has.
    Raises BudgetError, FileError or InputError.
    """
    if name is not None and (name != Path(name).name or name in ("", "..")):
        raise InputError(f"a name is that of one folder, not {name!r}")
    run = Path(target) if target and Path(target).is_dir() else None
    if target and not run and Path(target).parent.name and not Path(target).suffix:
        raise FileError(f"there is no run folder {target}; `tinynas retrain` takes the newest run")
    if resume:
        named = {"task": task, "from": source, **limits}
        require(not any(named.values()), "a resumed retraining has its network", **named)
        return _plan_resumed(run, load_arch(target) if target and not run else None, name, netaug, given)
    if source:
        require(target is None, "a model given by --from has its own network", target=target)
        require("init" not in given, "a model given by --from has its own weights", init=given.get("init"))
        source = delivered(source)
        given = {"init": str(source), **given}
    elif (init := given.get("init")) not in (None, "supernet", *INITS) and not Path(str(init)).exists():
        raise unknown("initialisation", init, ["supernet", *INITS])
    arch, data, run = _network_for(target, run, source, limits, given)
    if task and task_named(task) != TASKS[arch.task]:
        require(task == "detect", "a detector has no classifier", task=task)
        arch, data = detector_of(arch), TASKS[task].default_data
    config = with_settings(default_config(arch, data, netaug=netaug, teacher=given.get("teacher")), _with_paths(given))
    if "supernet" in (config.init, config.distillation and config.distillation.teacher):
        if not (run / "supernet.pt").exists():
            raise InputError(f"only a run has a supernet to start or learn from, and {target or source} is none")
        rule = "a supernet starts and teaches networks for the data it was trained on"
        trained_on = _read_supernet_config(run / "config.yaml").data
        require(trained_on == config.data, rule, supernet=trained_on, network=config.data)
    return RetrainPlan(folder=_retraining_folder(run, name, config, limits), arch=arch, config=config)


def _network_for(
    target: str | None, run: Path | None, source: Path | None, limits: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Arch, str, Path]:
    """The network to retrain, the data it is for, and its run: a new one for a network that comes from none."""
    if source:
        model = read_model(source)
        found = model.net.arch, model.data, _new_folder(f"transfer-{given.get('data', model.data).partition(':')[0]}")
    elif target and not run:
        arch = load_arch(target)
        found = arch, TASKS[arch.task].default_data, _new_folder(short_name(target))
    else:
        run = run or newest("*/best.yaml").parent
        return _network_of(run, limits), _read_supernet_config(run / "config.yaml").data, run
    require(not limits, "limits choose a network of a run's front", **limits)
    return found


def default_config(arch: Arch, data: str, *, netaug: bool, teacher: str | None) -> RetrainConfig:
    """How a network is retrained unless settings say otherwise: NetAug with the factors of its family."""
    width, expand = family_factors(arch)
    config = RetrainConfig(
        data=data,
        init="kaiming-uniform" if netaug else "kaiming-normal",
        netaug=NetAug(width=width, expand=expand) if netaug else None,
        distillation=Distillation(teacher=teacher) if teacher else None,
    )
    return with_settings(config, TASKS[arch.task].retrain_overrides)


def _network_of(run: Path, limits: Mapping[str, Any]) -> Arch:
    """A run's best network, or the most accurate of its front within the limits."""
    if not (run / "best.yaml").exists():
        raise FileError(f"{run} has no best.yaml; `tinynas search --run {run}` writes it")
    if not limits:
        return load_arch(run / "best.yaml")
    require("min_macs" not in limits, "a network is chosen by upper limits", limits=limits)
    front = read_front(run)["front"]
    fitting = [entry for entry in front if all(entry[name] <= limit for name, limit in limits.items())]
    if not fitting:
        least = describe_limits({name: min(entry[name] for entry in front) for name in limits})
        raise BudgetError(f"no network of {run}'s front is within {describe_limits(limits)}; its least are {least}")
    return Arch.from_dict(max(fitting, key=lambda entry: entry["accuracy"])["arch"])


def _retraining_folder(run: Path, name: str | None, config: RetrainConfig, limits: Mapping[str, Any]) -> Path:
    seed = f"seed{config.recipe.seed}" if config.recipe.seed else ""
    parts = ("netaug" if config.netaug else "plain", config.distillation and "teacher", *_limit_names(limits), seed)
    folder = run / "retrain" / (name or "-".join(part for part in parts if part))
    if name and folder.exists():
        raise FileError(f"there is a retraining {name} in {run} already; choose another --name, or --resume it")
    return folder if name else unused_path(folder)


def _limit_names(limits: Mapping[str, Any]) -> list[str]:
    return [f"{name}-{limit}" for name, limit in limits.items()]


def _plan_resumed(
    run: Path | None, arch: Arch | None, name: str | None, netaug: bool, given: Mapping[str, Any]
) -> RetrainPlan:
    """The newest unfinished retraining in the run, if one is named, of the arch, if one is named."""
    pattern = f"retrain/{name or '*'}/config.yaml"
    paths = [path for path in (run or RUNS).glob(pattern if run else f"*/{pattern}") if not _is_finished(path.parent)]
    plans = [_read_retraining(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]
    wanted = [plan for plan in plans if arch is None or _same_network(plan.arch, arch)]
    if not wanted:
        raise FileError(
            f"no unfinished retraining{f' {name}' if name else ''} in {run or RUNS}; retrain without --resume"
        )
    plan = wanted[-1]
    if netaug and not plan.config.netaug:
        raise FileError(f"{plan.folder} is a retraining without NetAug; resume it without --netaug")
    return replace(plan, config=with_settings(plan.config, _with_paths(given)))


def _is_finished(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def _same_network(one: Arch, other: Arch) -> bool:
    """Whether the archs differ at most in what a data set decides."""
    return replace(one, classes=other.classes, in_channels=other.in_channels) == other


def _read_retraining(path: Path) -> RetrainPlan:
    plain = read_config(path)
    try:
        arch = Arch.from_dict(plain.pop("arch", None))
        config = read_settings(RetrainConfig, plain, str(path))
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None
    return RetrainPlan(folder=path.parent, arch=arch, config=config)


def _read_supernet_config(path: Path) -> SupernetConfig:
    try:
        return read_settings(SupernetConfig, read_config(path), str(path))
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None


def _with_paths(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, paths in them made absolute: NAME:PATH, or a model's file."""

    def resolved(value: str) -> str:
        words = value.split(":", 2 if value.startswith("torchvision:") else 1)
        is_path = len(words) > (2 if words[0] == "torchvision" else 1) or Path(value).suffix
        return ":".join([*words[:-1], _absolute(words[-1])]) if is_path and words[-1] else value

    return {name: resolved(value) if name in ("data", "teacher", "init") else value for name, value in given.items()}


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _is_trained(run: Path, config: SupernetConfig) -> bool:
    log = run / "log.jsonl"
    return log.exists() and last_record(log).get("epoch") == config.recipe.epochs


def _new_folder(name: str) -> Path:
    return unused_path(RUNS / f"{time.strftime('%Y-%m-%d')}-{name}")
