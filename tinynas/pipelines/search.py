"""The search job: train a run's supernet, search it, write what was found."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from multiprocessing import get_context, parent_process
from typing import Any

import torch

from ..arch.cost import TimedCost, cost
from ..arch.space import SearchSpace
from ..data.base import Data
from ..data.registry import load_data
from ..deploy.latency import timed_cost
from ..experiment.config import SearchPlan
from ..experiment.log import Log
from ..experiment.plots import Series, picture
from ..experiment.reporter import Report, advance, record
from ..experiment.results import keep_earlier
from ..experiment.run_folder import settle_config
from ..models.model_file import digest
from ..models.supernet import Supernet
from ..study.evaluator import SubnetEvaluator
from ..study.feasible import Feasible
from ..study.loop import Evaluation
from ..study.loop import search as search_space
from ..study.predictor import held_out_correlation
from ..tasks.registry import TASKS, Task
from ..training.loop import train
from ..training.objectives import Objective, largest, sandwich
from ..training.precision import check_precision
from ..training.progress import Progress
from ..utils.distributed import device, rank
from ..utils.errors import TinyNASError
from ..utils.io import only_one, write, write_json, write_yaml
from ..utils.pareto import front
from .planning import search_settings
from .run_supernet import space_for, space_text


def search(plan: SearchPlan, *, report: Report) -> dict[str, Any]:
    """Train the run's supernet unless it is trained, search it within the budget, write the front; returns front.json.

    Goes on where a killed search was; several processes may search one run together. Under torchrun all processes
    train, and the first searches; the others return an empty result. Raises BudgetError at once if no network fits.
    """
    supernet, data = train_supernet(plan, report=report)
    if rank() > 0:
        return {}

    def after_trial(found: list[Evaluation], avoided: int) -> None:
        best, on_front = max((e.accuracy for e in found), default=0.0), len(front(found, _point))
        text = f"best {best:.1f}% on search-val, {on_front} on the front, {avoided} over-budget draws avoided"
        report.advance("search", min(len(found), plan.trials), plan.trials, text)

    with _workers_beside(plan, report):
        found = _search(plan, supernet, data, after_trial)
    if len(found) < plan.trials:
        report.note(f"search: found no more than {len(found)} different networks within the limits")
    if plan.sampler == "predictor" and len(found) >= 10:
        tau = held_out_correlation(supernet.space, [e.arch for e in found], [e.accuracy for e in found])
        report.note(f"predictor: Kendall's tau {tau:.2f} on evaluations held out of its fit (5 folds of {len(found)})")
    return _write_front(plan, found, TASKS[data.task], len(data.val))


def train_supernet(plan: SearchPlan, *, report: Report) -> tuple[Supernet, Data]:
    """The run's supernet, trained to its end, and the data. Raises BudgetError before it trains if no network fits.

    One process trains it; others that come meanwhile wait.
    """
    run, config = plan.run, plan.config
    text = space_text(run, config.space)
    data = load_data(config.data)
    space = space_for(data, text, config.space)
    _feasible(plan, space).check()
    check_precision(config.recipe.precision, device())
    log = Log(run / "log.jsonl", tensorboard=plan.tensorboard)
    if rank() > 0:
        return _train(plan, space, data, log, report), data
    with only_one(run / ".training", lambda: report.note(f"waiting for another process to train {run}")):
        settle_config(run / "config.yaml", asdict(config))
        write(run / "space.yaml", text)
        write_yaml(run / "search.yaml", search_settings(plan))
        return _train(plan, space, data, log, report), data


def _train(plan: SearchPlan, space: SearchSpace, data: Data, log: Log, report: Report) -> Supernet:
    run, config, recipe = plan.run, plan.config, plan.config.recipe
    torch.manual_seed(recipe.seed)
    supernet = Supernet(space).to(device())
    task = TASKS[data.task]
    criterion = task.criterion(space.max(), recipe.label_smoothing)

    def after_step(progress: Progress) -> None:
        advance(report, "supernet", progress)
        if progress.ends_epoch:
            log.add(record(progress))

    def objective(epoch: int) -> Objective:
        if epoch < config.largest_warmup_epochs:
            return largest(space, criterion)
        elastic = space.fixed_choices(*config.fixed_choices(epoch))
        return sandwich(
            elastic,
            criterion=criterion,
            imitation=task.imitation,
            num_random_subnets=config.num_random_subnets,
            size_balanced=config.size_balanced_sampling,
            distillation=config.distillation,
        )

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


def _feasible(plan: SearchPlan, space: SearchSpace) -> Feasible:
    return Feasible(space=space, budget=plan.budget, price=timed_cost if plan.budget.latency else cost)


def _search(
    plan: SearchPlan, supernet: Supernet, data: Data, after_trial: Callable[[list[Evaluation], int], None]
) -> list[Evaluation]:
    return search_space(
        _feasible(plan, supernet.space),
        SubnetEvaluator(supernet, data),
        weights=digest(supernet.state_dict())[:12],
        storage=plan.storage or str(plan.run / "study.journal"),
        trials=plan.trials,
        sampler=plan.sampler,
        pareto=plan.pareto,
        seed=plan.config.recipe.seed,
        after_trial=after_trial,
    )


@contextmanager
def _workers_beside(plan: SearchPlan, report: Report) -> Iterator[None]:
    """All but one of the plan's workers, as processes that search beside this one; the threads are shared out."""
    threads = torch.get_num_threads()
    each = max(1, threads // plan.workers)
    context = get_context("spawn")
    workers = [context.Process(target=_work, args=(plan, each), daemon=True) for _ in range(plan.workers - 1)]
    try:
        for worker in workers:
            worker.start()
        torch.set_num_threads(each)
        yield
        for worker in workers:
            worker.join()
            if worker.exitcode:
                report.note(f"a worker ended with exit code {worker.exitcode}; the others evaluated its network")
    finally:
        torch.set_num_threads(threads)
        for worker in workers:
            worker.terminate()


def _work(plan: SearchPlan, threads: int) -> None:
    """A worker process: search until the study is complete, or the process that started it is gone."""
    torch.set_num_threads(threads)

    def after_trial(found: list[Evaluation], avoided: int) -> None:
        if not (starter := parent_process()) or not starter.is_alive():
            sys.exit(1)

    try:
        supernet, data = train_supernet(plan, report=_Silent())
        _search(plan, supernet, data, after_trial)
    except KeyboardInterrupt:
        sys.exit(1)
    except TinyNASError as error:
        sys.exit(f"tinynas: a worker stopped: {error}")


class _Silent:
    """A report that nobody reads."""

    def note(self, text: str) -> None: ...

    def advance(self, task: str, done: int, total: int, text: str) -> None: ...


def _write_front(plan: SearchPlan, found: list[Evaluation], task: Task, images: int) -> dict[str, Any]:
    """Write what a search found, by a measure on so many images of search-val."""
    run, config, budget = plan.run, plan.config, plan.budget
    on_front = front(found, _point)
    document = {
        "space": config.space,
        "data": config.data,
        "metric": task.metric,
        "limits": budget.limits(),
        "evaluations": len(found),
        "front": [
            {
                "arch": e.arch.to_dict(),
                "accuracy": e.accuracy,
                "standard_error": task.standard_error(e.accuracy, images),
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
    budgets = [limit for limit in (budget.min_macs, budget.macs) if limit]
    title = f"{config.space} on {config.data}: subnets on search-val"
    write(run / "front.png", picture(series, title=title, budgets=budgets, metric=task.metric))
    write_json(run / "front.json", document)
    write(run / "best.yaml", _headline(document) + on_front[-1].arch.to_yaml())
    return document


def _headline(document: dict[str, Any]) -> str:
    """What the best network is, as YAML comments."""
    best = document["front"][document["best"]]
    costs = ", ".join(f"{field.name} {best[field.name]}" for field in fields(TimedCost) if field.name in best)
    error = f" (standard error {best['standard_error']:.2f})" if best["standard_error"] is not None else ""
    return (
        f"# The best of {document['evaluations']} networks of {document['space']} evaluated on {document['data']}:\n"
        f"# {best['accuracy']:.2f}% {document['metric']} on search-val{error}; {costs}.\n"
    )


def _point(evaluation: Evaluation) -> tuple[float, float]:
    return evaluation.cost.macs, evaluation.accuracy
