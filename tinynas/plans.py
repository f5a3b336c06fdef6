"""From what the user asked for to what is done: which folder, which configuration, everything resolved."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from .arch import Arch, from_mapping
from .cost import Budget
from .errors import FileError, InputError, require, unknown
from .runs import RUNS, last_record, newest, read_config
from .samplers import SAMPLERS
from .shipped import load_arch, short_name
from .study import public
from .training import Recipe


@dataclass(frozen=True, kw_only=True)
class SupernetConfig:
    """What a run's supernet is trained on and how; a run's config.yaml."""

    space: str = "mobile32"
    data: str = "digits"
    randoms: int = 2  # random subnets a step, beside the largest and the smallest
    spread: bool = True  # random subnets of all sizes alike, instead of mostly middle ones
    distillation: float = 0.5  # share of the largest network's outputs in the others' targets, beside the labels
    largest_epochs: int = 0  # at the start, in which the largest network is trained alone
    shrinking: bool = False  # then kernels, depths, expansions, widths become elastic one after the other
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=6, clip=1.0))

    def __post_init__(self) -> None:
        require(self.randoms >= 0, "randoms >= 0", randoms=self.randoms)
        require(0 <= self.distillation <= 1, "0 <= distillation <= 1", distillation=self.distillation)
        rule = "0 <= largest_epochs < epochs"
        holds = 0 <= self.largest_epochs < self.recipe.epochs
        require(holds, rule, largest_epochs=self.largest_epochs, epochs=self.recipe.epochs)

    def pinned(self, epoch: int) -> tuple[str, ...]:
        """The kinds of choices that are not yet elastic in an epoch, counted from 0.

        Progressive shrinking (Cai et al., ICLR 2020, section 3.3), each kind in an equal part of the epochs.
        """
        if not self.shrinking:
            return ()
        kinds = ("kernel", "depth", "expand", "width")
        part = len(kinds) * (epoch - self.largest_epochs) // (self.recipe.epochs - self.largest_epochs)
        return kinds[part + 1 :]


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A search of a run's supernet: `trials` networks within the budget are evaluated.

    `pareto` looks for the whole front. `storage` is where the study is kept, by default a journal file in the run.
    """

    run: Path
    config: SupernetConfig
    budget: Budget
    trials: int = 50
    pareto: bool = False
    sampler: str = "predictor"
    storage: str | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("trials", "workers"):
            require(getattr(self, name) > 0, f"{name} > 0", **{name: getattr(self, name)})
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        low, high = self.budget.min_macs, self.budget.macs
        if low is not None:
            require(self.pareto, "a range of MACs is for --pareto", pareto=self.pareto)
            require(high is None or low <= high, "low <= high", low=low, high=high)

    def settings(self) -> dict[str, Any]:
        """What a resumed search takes over; a run's search.yaml."""
        storage = self.storage and public(self.storage)
        names = {name: getattr(self, name) for name in ("trials", "sampler", "pareto")}
        return {"limits": self.budget.limits(), **names} | ({"storage": storage} if storage else {})


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """How a network is retrained; `width` and `expand` are NetAug's augmentation factors."""

    data: str = "digits"
    netaug: bool = False
    width: tuple[float, ...] = (1.0, 1.8, 2.6)
    expand: tuple[float, ...] = (1.0, 1.6, 2.2, 2.8)
    recipe: Recipe = field(default_factory=Recipe)

    def widens(self, epoch: int) -> bool:
        """Whether NetAug still augments widths in an epoch, counted from 0: in the first half it does."""
        return self.netaug and epoch < self.recipe.epochs / 2


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """A retraining of one network into a folder."""

    folder: Path
    arch: Arch
    config: RetrainConfig


def plan_search(
    run: Path | None,
    *,
    resume: bool,
    limits: Mapping[str, Any],
    how: Mapping[str, Any],
    given: Mapping[str, Any],
) -> SearchPlan:
    """A search in a new run, or in one that is there: its supernet is then used, or trained to its end.

    `how` are the settings the user named of the search, as in `SearchPlan`; `given` those of `SupernetConfig` and
    `Recipe`. A run that is there supplies the others, and to a resumed search also limits and settings.
    Raises FileError or InputError.
    """
    if resume:
        run = run or newest("*/config.yaml").parent
        if not (run / "config.yaml").exists():
            raise FileError(f"nothing to resume in {run}: it has no config.yaml; search without --resume")
    if run and (run / "config.yaml").exists():
        config = _read_supernet_config(run / "config.yaml")
        if not resume and not _is_trained(run, config):
            raise FileError(f"the supernet of {run} is not trained to its end; add --resume to go on with it")
    else:
        config = SupernetConfig()
    config = _with(config, given)
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


def plan_retraining(
    target: str | None, *, name: str | None, resume: bool, netaug: bool, given: Mapping[str, Any]
) -> RetrainPlan:
    """A retraining of a run's best network, of a network by name or of a YAML file's; of the newest run by default.

    Resumed, it is the unfinished one of that target and name, or the newest, with the configuration it has.
    Raises FileError or InputError.
    """
    run = Path(target) if target and Path(target).is_dir() else None
    if target and not run and Path(target).parent.name and not Path(target).suffix:
        raise FileError(f"there is no run folder {target}; `tinynas retrain` takes the newest run")
    if resume:
        return _plan_resumed(run, load_arch(target) if target and not run else None, name, netaug, given)
    if target and not run:
        arch, run = load_arch(target), _new_folder(short_name(target))
        config = RetrainConfig(netaug=netaug)
    else:
        run = run or newest("*/best.yaml").parent
        if not (run / "best.yaml").exists():
            raise FileError(f"{run} has no best.yaml; `tinynas search --run {run}` writes it")
        arch = load_arch(run / "best.yaml")
        config = RetrainConfig(netaug=netaug, data=_read_supernet_config(run / "config.yaml").data)
    config = _with(config, given)
    seed = f"-seed{config.recipe.seed}" if config.recipe.seed else ""
    folder = run / "retrain" / (name or ("netaug" if netaug else "plain") + seed)
    if not name:
        folder = _unused(folder)
    elif folder.exists():
        raise FileError(f"there is a retraining {name} in {run} already; choose another --name, or --resume it")
    return RetrainPlan(folder=folder, arch=arch, config=config)


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
    return replace(plan, config=_with(plan.config, given))


def _is_finished(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def _same_network(one: Arch, other: Arch) -> bool:
    """Whether the archs differ at most in what a data set decides."""
    return replace(one, classes=other.classes, in_channels=other.in_channels) == other


def _read_retraining(path: Path) -> RetrainPlan:
    plain = read_config(path)
    try:
        arch = Arch.from_dict(plain.pop("arch", None))
        config = from_mapping(RetrainConfig, _with_recipe(plain, "width", "expand"), str(path))
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None
    return RetrainPlan(folder=path.parent, arch=arch, config=config)


def _read_supernet_config(path: Path) -> SupernetConfig:
    try:
        return from_mapping(SupernetConfig, _with_recipe(read_config(path)), str(path))
    except InputError as error:
        raise FileError(f"{path} is damaged: {error}") from None


def _with_recipe(plain: Mapping[str, Any], *tuples: str) -> dict[str, Any]:
    recipe = from_mapping(Recipe, plain.get("recipe"), "recipe")
    return {**plain, **{name: tuple(plain[name]) for name in tuples if name in plain}, "recipe": recipe}


def _with(config: Any, given: Mapping[str, Any]) -> Any:
    """The config with the settings given, its own or its recipe's; a data set's path made absolute."""
    kind, colon, path = given.get("data", "").partition(":")
    if path:
        given = {**given, "data": f"{kind}{colon}{_absolute(path)}"}
    own = {f.name for f in fields(config)}
    recipe = replace(config.recipe, **{name: value for name, value in given.items() if name not in own})
    return replace(config, recipe=recipe, **{name: value for name, value in given.items() if name in own})


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _is_trained(run: Path, config: SupernetConfig) -> bool:
    log = run / "log.jsonl"
    return log.exists() and last_record(log).get("epoch") == config.recipe.epochs


def _new_folder(name: str) -> Path:
    return _unused(RUNS / f"{time.strftime('%Y-%m-%d')}-{name}")


def _unused(folder: Path) -> Path:
    """The path itself, or with the first number behind it that is free."""
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in range(2, 1_000_000))
    return next(path for path in chain([folder], numbered) if not path.exists())
