"""The costs by which runs are compared: what words mean for their targets, and where values come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..arch.arch import Arch
from ..arch.cost import Cost
from ..arch.cost_names import costs_named
from ..arch.targets import DEFAULT_TARGET, find_target
from ..utils.errors import InputError
from .evaluated import EvaluatedNetworks
from .results import FrontEntry, SearchResult
from .retrain_folder import RetrainFolder
from .run_folder import RunFolder
from .saved import read_config

_MACS = ("macs",)


@dataclass(frozen=True, kw_only=True)
class CostAxes:
    """The costs of a comparison.

    Attributes:
        costs: Names of one cost or two.
        units: Units of the user's own costs, by name.
    """

    costs: tuple[str, ...]
    units: Mapping[str, str]

    @classmethod
    def of_runs(cls, runs: Sequence[RunFolder], words: Sequence[str] | None) -> "CostAxes":
        """Return the costs that words mean for some runs, or those of their searches; see `compare_runs`.

        Raises:
            InputError: There is no such cost, or it means different ones for the runs' targets.
            FileError: A front.json is damaged.
        """
        results = [run.read_front() for run in runs if run.front.exists()]
        units: dict[str, str] = {}
        for result in results:
            units |= result.units
        if words is not None:
            return cls(costs=_meaning(words, results, units), units=units)
        fronts = {result.objectives for result in results}
        return cls(costs=fronts.pop() if len(fronts) == 1 else _MACS, units=units)

    def front_of(self, evaluated: EvaluatedNetworks) -> list[FrontEntry]:
        """Return the front of the networks by these costs; none if a cost is not known of all."""
        for entry in evaluated.networks:
            if not entry.cost.named().keys() >= set(self.costs):
                return []
        return evaluated.front_of(self.costs)

    def complete(self, cost: Cost, run: RunFolder, retraining: RetrainFolder) -> Cost:
        """Return the cost of a retrained network, with what only its search knows, such as the latency."""
        missing = set(self.costs) - cost.named().keys()
        if not missing or not run.front.exists():
            return cost
        arch = Arch.from_dict(read_config(retraining.config).get("arch"))
        for entry in run.read_evaluations().networks:
            if entry.arch == arch:
                known = entry.cost.named()
                return cost.with_values({name: known[name] for name in missing if name in known})
        return cost


def _meaning(words: Sequence[str], results: Sequence[SearchResult], own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the costs that words mean for all of the searches."""
    targets = list(dict.fromkeys(result.target for result in results)) or [DEFAULT_TARGET]
    meanings = {costs_named(words, find_target(target), own) for target in targets}
    if len(meanings) > 1:
        raise InputError(
            f"{','.join(words)} means different costs for the targets {', '.join(targets)}; name one of "
            f"{', '.join(sorted({name for names in meanings for name in names}))}"
        )
    return meanings.pop()
