"""The quickstart command: search, retrain the best network with and without NetAug, compare."""

from collections.abc import Mapping
from typing import Any

from ..experiment.compare import compare_runs
from ..experiment.config import SearchPlan
from ..experiment.reporter import Report
from .planning import plan_retraining
from .retrain import retrain
from .search import search


def quickstart(plan: SearchPlan, given: Mapping[str, Any], *, report: Report) -> dict[str, Any]:
    """Search, retrain the best network plain and with NetAug, compare; return the comparison.

    `given` are settings of the two retrainings, of `RetrainConfig` and `Recipe`.
    """
    search(plan, report=report)
    for netaug in (False, True):
        retrain_plan = plan_retraining(str(plan.run), name=None, resume=False, netaug=netaug, given=given)
        retrain(retrain_plan, report=report)
    return compare_runs([plan.run], plan.run / "compare.png")
