"""The quickstart command: a searched network beside one that is scaled by hand to the same limits."""

from collections.abc import Sequence
from dataclasses import replace

from ..arch.scaling import scale_to
from ..arch.zoo import load_arch
from ..data.registry import load_data
from ..experiment.compare import compare_runs
from ..experiment.comparison import Comparison, Difference
from ..experiment.config import RetrainConfig
from ..experiment.finished import FinishedNetwork, difference_of, finished_networks
from ..experiment.reporter import ProgressReporter
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..tasks.registry import fit_to_data
from ..utils.overrides import Overrides
from .planning import plan_network
from .retrain_front import retrain_front
from .search import search

PUBLISHED = "mobilenet-v2-tiny"
_RESOLUTION = 28  # that of the images
SEARCHED, BY_HAND = "searched", f"{PUBLISHED}-scaled"


def quickstart(
    plan: SearchPlan, overrides: Overrides, *, seeds: int, report: ProgressReporter
) -> tuple[Comparison, Difference]:
    """Search, and retrain the best network and a published one that is scaled by hand to the same limits.

    Args:
        plan: The search; its workers also retrain.
        overrides: Settings of the retrainings, of `RetrainConfig`; `seed` is the first seed.
        seeds: How many times each network is retrained.
        report: Receives messages and progress.

    Returns:
        The comparison of the run, and how much more accurate the searched network is, paired by seed.
    """
    search(plan, report=report)
    run = RunFolder(plan.run)
    data = load_data(plan.config.data)
    small = replace(load_arch(PUBLISHED), resolution=_RESOLUTION)
    archs = {SEARCHED: run.read_front().best_entry.arch, BY_HAND: scale_to(fit_to_data(small, data), plan.budget)}
    first = overrides.get("recipe.seed") or 0
    plans = []
    for seed in range(first, first + seeds):
        for label, arch in archs.items():
            of_seed = overrides | Overrides.read({"seed": seed}, RetrainConfig)
            plans.append(plan_network(plan.run, label, arch, data, of_seed))
    retrain_front(plans, workers=plan.settings.workers, report=report)
    finished = finished_networks(run)
    difference = difference_of(_named(finished, SEARCHED), _named(finished, BY_HAND))
    return compare_runs([plan.run], run.comparison_plot), difference


def _named(networks: Sequence[FinishedNetwork], label: str) -> FinishedNetwork:
    return next(network for network in networks if network.folder.name.startswith(label))
