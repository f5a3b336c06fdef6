"""The space of a run that is made for its limits."""

from ..arch.cost import quick_cost
from ..arch.narrowing import narrowed
from ..arch.space import SearchSpace
from ..experiment.search_plan import SearchPlan
from ..experiment.space_file import space_to_yaml
from ..study.feasible import Feasible
from ..study.near_limits import options_near_limits
from ..utils.errors import InputError
from ..utils.rng import generator
from ..utils.schema import read_yaml
from ..utils.units import format_count


def narrowed_text(plan: SearchPlan, text: str, feasible: Feasible) -> tuple[str, str]:
    """Return the YAML of a space without the options that networks near the limits hardly have, and a note about it.

    Args:
        plan: The search.
        text: The YAML of the space.
        feasible: The networks of the space, fitted to the data set, that are within the limits.

    Raises:
        InputError: There are no limits.
    """
    if not plan.budget.limits():
        raise InputError(
            "--narrow leaves out what is far from the limits, but there are none; add --flops, or remove it"
        )
    rng = generator(plan.config.recipe.seed, "narrow")
    counts = options_near_limits(feasible.with_predictor(plan.objectives), rng)
    whole = SearchSpace.from_dict(read_yaml(text, "space"))
    space = narrowed(whole, counts)
    before, after = quick_cost(feasible.space.max()).macs, quick_cost(narrowed(feasible.space, counts).max()).macs
    note = f"space: narrowed to networks of up to {format_count(after)} MACs, from {format_count(before)}"
    if space == whole:
        note = "space: nothing is left out, networks near the limits have all options"
    return space_to_yaml(space), note
