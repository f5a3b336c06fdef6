"""Searches and retrainings as runs in trackers: their names, settings, last figures and files."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..utils.io import json_digest
from .log import last_record
from .plans import RetrainPlan
from .results import RetrainMetrics, SearchResult
from .retrain_folder import TRACKERS, RetrainFolder
from .run_folder import RunFolder
from .search_plan import SearchPlan
from .trackers import TrackedRun, Trackers, figures_in

_FINAL, _BEST = "final/", "best/"


def tracked_search(plan: SearchPlan, settings: Mapping[str, Any]) -> TrackedRun:
    """Return a search as a run in trackers; another one with the same limits and front continues it.

    Args:
        plan: The search.
        settings: Settings of its supernet and of the search.
    """
    run = RunFolder(plan.run)
    front = {
        "limits": plan.budget.to_dict(),
        "costs": plan.front_costs,
        "latency_table": plan.latency_table.digest if plan.latency_table else None,
        "own_costs": plan.own.names,
    }
    name = run.path.name
    if plan.budget.limits():
        name += f", {plan.budget.describe()}"
    return TrackedRun(
        folder=run.path,
        ids=run.path / TRACKERS,
        name=name,
        group=run.path.name,
        command="search",
        identity=f"search {json_digest(front)[:8]}",
        settings=settings,
        last_step=_last_step(run.log),
    )


def tracked_retraining(plan: RetrainPlan) -> TrackedRun:
    """Return a retraining as a run in trackers."""
    folder = RetrainFolder(plan.folder)
    return TrackedRun(
        folder=folder.path,
        ids=folder.path / TRACKERS,
        name=f"{plan.run.name}/{folder.name}",
        group=plan.run.name,
        command="retrain",
        identity="retraining",
        settings=asdict(plan.config),
        last_step=_last_step(folder.log),
    )


def conclude_search(trackers: Trackers, run: RunFolder, result: SearchResult) -> None:
    """Conclude a search: with accuracy and costs of the best network, and the files of the front."""
    entry = result.best_entry
    figures = {f"{_BEST}accuracy": entry.accuracy, **figures_in(entry.cost.named(), _BEST)}
    figures["front/networks"] = len(result.front)
    trackers.conclude(figures, [run.front_plot, run.front, run.best])


def conclude_retraining(trackers: Trackers, folder: RetrainFolder, metrics: RetrainMetrics) -> None:
    """Conclude a retraining: with the figures of metrics.json, the network with its settings, and the model."""
    measured = metrics.to_dict()
    for setting in ("epochs", "seed"):
        del measured[setting]
    trackers.conclude(figures_in(measured, _FINAL), [folder.config, folder.metrics, folder.model])


def _last_step(log: Path) -> int:
    """Return the last step in a log.jsonl, 0 if there is none."""
    return int(last_record(log).get("step", 0)) if log.exists() else 0
