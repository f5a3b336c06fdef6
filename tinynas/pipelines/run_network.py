"""Which network of a run is retrained: the most accurate of those that its search has evaluated within limits."""

from pathlib import Path

from ..arch.arch import Arch
from ..arch.budget import NO_OWN, Budget, OwnLimits
from ..arch.targets import DEFAULT_TARGET
from ..experiment.run_folder import BEST, RunFolder
from ..experiment.runs import newest_run
from ..utils.errors import BudgetError, InputError


def front_budget(
    target: str | None,
    source: Path | None,
    *,
    flops: str | None = None,
    params: str | None = None,
    sram: str | None = None,
    flash: str | None = None,
    latency: str | None = None,
    own: OwnLimits = NO_OWN,
) -> Budget:
    """Read the limits that choose a network of a run.

    What `sram` and `flash` limit is decided by what the run's networks were searched for.

    Args:
        target: A run's folder, or another network than a run's. None: the newest run.
        source: Trained model that is trained further, in place of `target`.
        flops: As in `Budget.parse`, like the others.
        params: Parameters.
        sram: Memory that an inference takes.
        flash: Memory of the network.
        latency: Time of one inference.
        own: Limits of the user's own costs, by name.

    Raises:
        InputError: A text is not a count or size.
        FileError: There is no run, or its front.json is damaged.
    """
    runtime = DEFAULT_TARGET
    if source is None and (sram is not None or flash is not None):
        run = Path(target) if target else newest_run(BEST).path
        runtime = RunFolder(run).read_front().target if run.is_dir() else DEFAULT_TARGET
    return Budget.parse(flops=flops, params=params, sram=sram, flash=flash, latency=latency, own=own, target=runtime)


def network_of_run(run: Path, budget: Budget) -> Arch:
    """Return a run's best network, or the most accurate that it has evaluated within a budget."""
    if not budget.limits():
        return RunFolder(run).read_best()
    if budget.min_macs is not None:
        raise InputError("a network is chosen by upper limits; give --flops one count, not a range")
    evaluated = RunFolder(run).read_evaluations()
    entry = evaluated.best_within(budget)
    if entry is None:
        smallest = evaluated.smallest(budget)
        raise BudgetError(
            f"no network that {run} has evaluated keeps {budget.describe()}; the smallest values are "
            f"{smallest.describe()}; raise the limits, or search with them"
        )
    return entry.arch
