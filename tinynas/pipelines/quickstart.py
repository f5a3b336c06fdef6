"""The quickstart command: search, retrain the best network with and without NetAug, compare."""

from ..experiment.compare import compare_runs
from ..experiment.comparison import Comparison
from ..experiment.config import RetrainConfig
from ..experiment.reporter import ProgressReporter
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..utils.overrides import Overrides
from .planning import plan_retraining
from .retrain import retrain
from .search import search


def quickstart(plan: SearchPlan, overrides: Overrides, *, report: ProgressReporter) -> Comparison:
    """Search, retrain the best network plain and with NetAug, compare; return the comparison.

    `overrides` are settings of both retrainings, of `RetrainConfig`.
    """
    search(plan, report=report)
    for netaug in (False, True):
        settings = overrides | Overrides.read({"netaug": netaug}, RetrainConfig)
        retrain(plan_retraining(str(plan.run), overrides=settings), report=report)
    return compare_runs([plan.run], RunFolder(plan.run).comparison_plot)
