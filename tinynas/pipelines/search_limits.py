"""The limits of a search, and the networks that are within them."""

from ..arch.cost import MeasuredCosts
from ..arch.own_costs import AddedCosts
from ..arch.space import SearchSpace
from ..experiment.reporter import ProgressReporter
from ..experiment.saved_search import SavedSearch
from ..experiment.search_plan import SearchPlan
from ..study.feasible import Feasible


def check_costs(plan: SearchPlan, space: SearchSpace) -> None:
    """Check the user's tables and functions of costs.

    Raises:
        FileError: A table lacks layers of the space, or a cost is another one than that of the search to resume.
        InputError: A function returns no cost.
    """
    if plan.latency_table:
        plan.latency_table.check_covers(space, plan.config.space)
    for table in plan.own.tables:
        table.check_covers(space, plan.config.space)
    plan.resumed.check_own(plan.own.digests(space))


def note_other_limits(plan: SearchPlan, report: ProgressReporter) -> None:
    """Say so if a search is resumed within other limits than it had."""
    before = plan.resumed
    if before != SavedSearch() and before.budget != plan.budget:
        report.note(f"limits: {plan.budget.describe()}; those of the search to resume were {before.budget.describe()}")


def feasible_networks(plan: SearchPlan, space: SearchSpace) -> Feasible:
    """Return the networks of the space within the plan's budget."""
    has_own = plan.latency_table or plan.own.names
    return Feasible(
        space=space,
        budget=plan.budget,
        added=AddedCosts(plan.own, plan.latency_table, space) if has_own else None,
        measured=_measured_costs(plan),
    )


def _measured_costs(plan: SearchPlan) -> MeasuredCosts | None:
    """Return where costs come from that the target measures, if one of them is limited or a cost of the front."""
    if not plan.measured:
        return None
    from ..deploy.measured_costs import measured_costs

    return measured_costs(plan.target, sram=plan.budget.peak_sram_vela)
