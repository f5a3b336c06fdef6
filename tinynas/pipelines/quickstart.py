"""Whole jobs, from a configuration to a finished folder."""

from collections.abc import Mapping
from typing import Any

from ..experiment.compare import compare_runs
from ..experiment.config import SearchPlan
from ..experiment.reporter import Report
from .planning import plan_retraining
from .retrain import retrain
from .search import search


def quickstart(plan: SearchPlan, given: Mapping[str, Any], *, report: Report) -> dict[str, Any]:
    """Search, retrain the best network plain and with NetAug, compare; returns the comparison.

    `given` are the retrainings' settings, of `RetrainConfig` and `Recipe`.
    """
    search(plan, report=report)
    for with_netaug in (False, True):
        retrain(plan_retraining(str(plan.run), name=None, resume=False, netaug=with_netaug, given=given), report=report)
    return compare_runs([plan.run], plan.run / "compare.png")
