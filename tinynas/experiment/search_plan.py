"""The plan of a search: its supernet, limits, costs and settings, all resolved. `pipelines/` carries it out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..arch.budget import Budget
from ..arch.cost import MEASURED
from ..arch.cost_names import costs_named
from ..arch.cost_table import CostTable
from ..arch.own_costs import OwnCosts
from ..arch.space import SearchSpace
from ..arch.targets import Target, find_target
from ..utils.errors import InputError
from ..utils.overrides import Overrides
from .config import SupernetConfig
from .saved_search import SavedSearch
from .search_settings import PROGRAM_SAMPLER, SearchSettings
from .trackers import check_trackers


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A search of a run's supernet, which is trained first unless it has been.

    Attributes:
        run: The run's folder.
        config: Settings of the supernet.
        space: The search space, if a program made it; otherwise the configuration names it.
        evaluate: The function of a program that the settings name, if they do; it is called with a network and batches.
        budget: Limits.
        settings: Settings of the search.
        latency_table: Where the latency comes from, if not from the target.
        own: Costs of the user's own.
        sampler: Sampler of a program's own, a `BaseSampler` of Optuna; None if the settings name one.
        resumed: The search that is resumed; empty if none is.
        named: The settings that were named, if the others of the recipe are fitted to the data set: in a new run
            whose networks are all trained.
        track: Names of the trackers that show it.
    """

    run: Path
    config: SupernetConfig
    space: SearchSpace | None = None
    evaluate: Callable[..., float] | None = None
    budget: Budget
    settings: SearchSettings = field(default_factory=SearchSettings)
    latency_table: CostTable | None = None
    own: OwnCosts = field(default_factory=OwnCosts)
    sampler: Any = None
    resumed: SavedSearch = field(default_factory=SavedSearch)
    named: Overrides | None = None
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_trackers(self.track)
        if self.budget.min_macs is not None and not self.objectives:
            raise InputError("a range of MACs is for --pareto; add it, or limit --flops from above only")
        self._check_own_costs()
        self._check_sampler()
        self._check_latency()
        for name in self.objectives:
            if name in MEASURED and name not in self.measured and not (name == "latency" and self.latency_table):
                raise InputError(f"target {self.target.name} has no {name}; choose another --target, or another cost")

    def _check_own_costs(self) -> None:
        """Raise InputError unless all limited costs have a source that every process of the search can use."""
        for name in self.budget.own:
            if name not in self.own.names:
                known = f"there are {', '.join(self.own.names)}" if self.own.names else "there is none"
                raise InputError(f"no cost {name} to limit; {known}: name its source with --cost-table")
        if self.own.functions and self.settings.workers > 1:
            raise InputError(
                f"workers are processes of their own, which lack the function of {', '.join(self.own.functions)}; "
                "search with 1 worker, or write a table of layers (--cost-table)"
            )

    def _check_sampler(self) -> None:
        """Raise InputError unless the sampler is there, in every process of the search."""
        name = self.settings.sampler.removeprefix(PROGRAM_SAMPLER)
        if name == self.settings.sampler:
            return
        if self.sampler is None:
            raise InputError(
                f"the search to resume has the sampler {name} of a program; give one again, with sampler=, or name one "
                "with --sampler"
            )
        if self.settings.workers > 1:
            raise InputError(f"workers are processes of their own, which lack the sampler {name}; search with 1 worker")

    def _check_latency(self) -> None:
        """Raise InputError unless latency has one source, if it is limited or a cost of the front."""
        is_used = "latency" in self._used
        if self.latency_table and not is_used:
            raise InputError(
                f"--latency-table {self.latency_table.path} has the times that --latency limits, which is missing; "
                "add --latency"
            )
        if self.latency_table and self.target.accelerator:
            raise InputError(
                f"the latency on {self.target.name} is Vela's estimate, not a sum of {self.latency_table.path}; remove "
                "--latency-table, or choose another --target"
            )
        if is_used and not (self.latency_table or self.target.latency):
            raise InputError(
                f"target {self.target.name} has no source of latency; add --latency-table with times of your board, or "
                "choose --target onnxruntime, the time on this machine, or ethos-u55-128"
            )

    @property
    def target(self) -> Target:
        """What the networks are searched for."""
        return find_target(self.settings.target)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the costs of the front that is searched for; none if the most accurate network is."""
        return costs_named(self.settings.pareto, self.target, self.own.names)

    @property
    def front_costs(self) -> tuple[str, ...]:
        """Names of the costs of the front that is written: of MACs if the most accurate network is searched for."""
        return self.objectives or ("macs",)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the costs that are limited or costs of the front, and that the target measures."""
        sources = {"latency"} if self.target.latency == "onnxruntime" else set()
        if self.target.accelerator:
            sources = set(MEASURED)
        if self.latency_table:
            sources.discard("latency")
        return tuple([name for name in MEASURED if name in self._used and name in sources])

    @property
    def _used(self) -> set[str]:
        """Names of the costs that are limited or costs of the front."""
        return set(self.budget.limits()).union(self.objectives)
