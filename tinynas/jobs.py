"""Whole jobs, from a configuration to a finished folder: search, retrain, compare."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

from .arch import Arch, read_yaml
from .augmentation import augment
from .comparison import compare_runs
from .cost import cost
from .data import Data
from .datasets import load_data
from .errors import InputError
from .evaluation import SubnetEvaluator, accuracy, accuracy_of, confusion, extract_calibrated, standard_error
from .files import write, write_json, write_yaml
from .nets import Network
from .objectives import Objective, largest, netaug, plain, sandwich
from .parallel import device, rank
from .pareto import Series, front, picture
from .plans import RetrainConfig, RetrainPlan, SearchPlan, SupernetConfig, plan_retraining
from .runs import Log, Model, digest, keep_earlier, last_record, read_model, save_model, settle_config, space_text
from .search import Evaluation, check_budget
from .search import search as search_space
from .space import SearchSpace
from .supernet import Supernet
from .training import Progress, train


class Report(Protocol):
    """Who is told how a job gets on."""

    def note(self, text: str) -> None:
        """A line worth reading."""

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """`done` of `total` parts of the task, and how it stands."""


def search(plan: SearchPlan, *, report: Report) -> dict[str, Any]:
    """Train the run's supernet unless it is trained, search it within the budget, write the front; returns front.json.

    Goes on where a killed search was. Under torchrun all processes train, and the first searches; the others return
    an empty result. Raises BudgetError at once if no network fits.
    """
    run, config, budget = plan.run, plan.config, plan.budget
    text = space_text(run, config.space)
    data = load_data(config.data)
    space = SearchSpace.from_dict(read_yaml(text, config.space))
    space = replace(space, in_channels=data.channels, classes=len(data.classes))
    check_budget(space, budget)
    if rank() == 0:
        settle_config(run / "config.yaml", asdict(config))
        write(run / "space.yaml", text)
        write_yaml(run / "search.yaml", {"limits": budget.limits(), "trials": plan.trials, "sampler": plan.sampler})
    supernet = _train_supernet(run, space, data, config, report)
    if rank() > 0:
        return {}

    def after_trial(found: list[Evaluation], avoided: int) -> None:
        best, on_front = max((e.accuracy for e in found), default=0.0), len(front(found, _point))
        text = f"best {best:.1f}% on search-val, {on_front} on the front, {avoided} over-budget draws avoided"
        report.advance("search", min(len(found), plan.trials), plan.trials, text)

    found = search_space(
        space,
        budget,
        SubnetEvaluator(supernet, data),
        weights=digest(supernet.state_dict())[:12],
        journal=run / "study.journal",
        trials=plan.trials,
        sampler=plan.sampler,
        seed=config.recipe.seed,
        after_trial=after_trial,
    )
    if len(found) < plan.trials:
        report.note(f"search: found no more than {len(found)} different networks within the limits")
    return _write_front(plan, found, len(data.val.labels))


def retrain(plan: RetrainPlan, *, report: Report) -> dict[str, Any]:
    """Train a network from scratch, with NetAug if asked, and write it to the folder; returns metrics.json.

    Goes on where a killed retraining was. The arch takes its colours and classes from the data. Under torchrun all
    processes train; all but the first return an empty result.
    """
    folder, config = plan.folder, plan.config
    data = load_data(config.data)
    arch = replace(plan.arch, in_channels=data.channels, classes=len(data.classes))
    if rank() == 0:
        settle_config(folder / "config.yaml", {"arch": arch.to_dict(), **asdict(config)})
    net = _train_target(folder, arch, config, data, report)
    if rank() > 0:
        return {}
    model = Model(net=net, data=config.data, classes=data.classes, normalise=data.normalise)
    save_model(folder / "model.safetensors", model)
    metrics = {
        "accuracy": accuracy(net, data, data.test, arch.resolution),
        "train_accuracy": accuracy(net, data, data.train, arch.resolution),
        **asdict(cost(arch)),
        "seconds": last_record(folder / "log.jsonl")["seconds"],
        "epochs": config.recipe.epochs,
        "netaug": config.netaug,
        "teacher": None,
        "seed": config.recipe.seed,
        "data": config.data,
    }
    write_json(folder / "metrics.json", metrics)
    return metrics


def _train_target(folder: Path, arch: Arch, config: RetrainConfig, data: Data, report: Report) -> Network:
    """The network alone, trained and calibrated, in eval mode."""
    recipe, calibration = config.recipe, data.calibration_batches(arch.resolution)
    torch.manual_seed(recipe.seed)
    supernet = Supernet(_augmented(arch, config, epoch=0)).to(device())
    log = Log(folder / "log.jsonl")

    def objective(epoch: int) -> Objective:
        if not config.netaug:
            return plain(arch, smoothing=recipe.smoothing)
        return netaug(arch, _augmented(arch, config, epoch), smoothing=recipe.smoothing)

    def before_epoch(epoch: int, optimizer: Optimizer) -> None:
        if config.widens(epoch):
            supernet.sort_channels(optimizer)

    def after_step(progress: Progress) -> None:
        _advance(report, folder.name, progress)
        if progress.ends_epoch:
            net = extract_calibrated(supernet, arch, calibration)
            log.add(_record(progress) | {"val_accuracy": accuracy(net, data, data.val, arch.resolution)})

    train(
        supernet,
        objective,
        data,
        recipe,
        resolutions=(arch.resolution,),
        checkpoint=folder / "checkpoint.pt",
        before_epoch=before_epoch,
        after_step=after_step,
    )
    return extract_calibrated(supernet, arch, calibration)


def quickstart(plan: SearchPlan, given: Mapping[str, Any], *, report: Report) -> dict[str, Any]:
    """Search, retrain the best network plain and with NetAug, compare; returns the comparison.

    `given` are the retrainings' settings, of `RetrainConfig` and `Recipe`.
    """
    search(plan, report=report)
    for with_netaug in (False, True):
        retrain(plan_retraining(str(plan.run), name=None, resume=False, netaug=with_netaug, given=given), report=report)
    return compare_runs([plan.run], plan.run / "compare.png")


def evaluate(path: Path, data_name: str | None) -> dict[str, Any]:
    """Accuracy of a delivered model on a data set's test split, over all and by class, beside its cost.

    The data set is by default the one the model was trained on. Raises InputError if it has other classes.
    """
    model = read_model(path)
    name = data_name or model.data
    data = replace(load_data(name), normalise=model.normalise)
    if data.classes != model.classes:
        raise InputError(
            f"{path} knows {len(model.classes)} classes ({_some(model.classes)}), but {name} has "
            f"{len(data.classes)} ({_some(data.classes)}); give the data set it was trained for"
        )
    counts = confusion(model.net, data, data.test, model.net.arch.resolution)
    by_class = 100 * counts.diagonal() / counts.sum(1)
    return {
        "model": str(path),
        "data": name,
        "accuracy": accuracy_of(counts),
        "by_class": dict(zip(data.classes, by_class.tolist(), strict=True)),
        **asdict(cost(model.net.arch)),
    }


def _augmented(arch: Arch, config: RetrainConfig, epoch: int) -> SearchSpace:
    """The networks around the target at an epoch; without NetAug the target alone."""
    if not config.netaug:
        return augment(arch, width=(1.0,), expand=(1.0,))
    return augment(arch, width=config.width if config.widens(epoch) else (1.0,), expand=config.expand)


def _train_supernet(run: Path, space: SearchSpace, data: Data, config: SupernetConfig, report: Report) -> Supernet:
    recipe = config.recipe
    torch.manual_seed(recipe.seed)
    supernet = Supernet(space).to(device())
    log = Log(run / "log.jsonl")

    def after_step(progress: Progress) -> None:
        _advance(report, "supernet", progress)
        if progress.ends_epoch:
            log.add(_record(progress))

    def objective(epoch: int) -> Objective:
        if epoch < config.largest_epochs:
            return largest(space, smoothing=recipe.smoothing)
        elastic = space.pinned(*config.pinned(epoch))
        return sandwich(elastic, randoms=config.randoms, smoothing=recipe.smoothing)

    train(
        supernet,
        objective,
        data,
        recipe,
        resolutions=space.resolution,
        checkpoint=run / "supernet.pt",
        after_step=after_step,
    )
    return supernet


def _write_front(plan: SearchPlan, found: list[Evaluation], images: int) -> dict[str, Any]:
    """Write what a search found; `images` is the size of search-val, for the standard errors."""
    run, config, budget = plan.run, plan.config, plan.budget
    on_front = front(found, _point)
    document = {
        "space": config.space,
        "data": config.data,
        "limits": budget.limits(),
        "evaluations": len(found),
        "front": [
            {
                "arch": e.arch.to_dict(),
                "accuracy": e.accuracy,
                "standard_error": standard_error(e.accuracy, images),
                **asdict(e.cost),
            }
            for e in on_front
        ],
        "best": len(on_front) - 1,  # the front ascends in accuracy
    }
    keep_earlier(run, document)
    series = [
        Series(label="evaluated", points=[_point(e) for e in found], faint=True),
        Series(label="front", points=[_point(e) for e in on_front], line=True),
    ]
    title = f"{config.space} on {config.data}: subnets on search-val"
    write(run / "front.png", picture(series, title=title, budget=budget.macs))
    write_json(run / "front.json", document)
    write(run / "best.yaml", _headline(document) + on_front[-1].arch.to_yaml())
    return document


def _headline(document: dict[str, Any]) -> str:
    """What the best network is, as YAML comments."""
    best = document["front"][document["best"]]
    costs = ", ".join(f"{name} {best[name]}" for name in asdict(cost(Arch.from_dict(best["arch"]))))
    return (
        f"# The best of {document['evaluations']} networks of {document['space']} evaluated on {document['data']}:\n"
        f"# {best['accuracy']:.2f}% on search-val (standard error {best['standard_error']:.2f}); {costs}.\n"
    )


def _point(evaluation: Evaluation) -> tuple[float, float]:
    return evaluation.cost.macs, evaluation.accuracy


def _advance(report: Report, task: str, progress: Progress) -> None:
    text = (
        f"epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.3f}, {progress.images_per_second:.0f} images/s"
    )
    report.advance(task, progress.step, progress.steps, text)


def _record(progress: Progress) -> dict[str, Any]:
    return {
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "lr": progress.lr,
        "images_per_second": progress.images_per_second,
        "seconds": progress.seconds,
        "skipped": progress.skipped,
    }


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
