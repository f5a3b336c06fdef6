"""Whole jobs, from a configuration to a finished folder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .comparison import compare_runs
from .cost import cost
from .delivered import data_of, read_model
from .exporting import export
from .plans import SearchPlan, plan_retraining
from .prediction import predict
from .reporting import Report
from .retraining import retrain
from .searching import search
from .tasks import check_task

__all__ = ["evaluate", "export", "predict", "quickstart", "retrain", "search"]


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
    data = data_of(model, path, data_name)
    arch = model.net.arch
    task = check_task(arch.task, data)
    return {
        "model": str(path),
        "data": data_name or model.data,
        "metric": task.metric,
        **task.score(model.net, arch, data, data.test),
        **asdict(cost(arch)),
    }
