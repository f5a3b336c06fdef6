"""The networks that are within a search's limits."""

from ..arch.cost import MEASURED, MeasuredCosts
from ..arch.space import SearchSpace
from ..experiment.plans import SearchPlan
from ..study.feasible import Feasible


def feasible_networks(plan: SearchPlan, space: SearchSpace) -> Feasible:
    """Return the networks of the space within the plan's budget."""
    return Feasible(space=space, budget=plan.budget, measured=_measured_costs(plan))


def _measured_costs(plan: SearchPlan) -> MeasuredCosts | None:
    """Return where costs that are not counted come from, if one of them is limited: the plan's table, or the target."""
    if not plan.budget.only(MEASURED).limits():
        return None
    if plan.latency_table:
        return plan.latency_table
    from ..deploy.measured_costs import measured_costs

    return measured_costs(plan.target, sram=plan.budget.peak_sram_vela)
