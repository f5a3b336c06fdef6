"""All evaluated networks of a search: a run's evaluations.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..arch.budget import Budget
from ..arch.cost import COSTS
from ..arch.cost_names import cost_word
from ..utils.errors import InputError
from ..utils.pareto import pareto_front
from ..utils.schema import check_list, check_mapping
from .results import FrontEntry


@dataclass(frozen=True, kw_only=True)
class EvaluatedNetworks:
    """The networks that a search has evaluated.

    Attributes:
        networks: The networks, in the order in which they were evaluated.
        front: Digest of the content of the front.json that was written with them; empty if there is none.
    """

    networks: tuple[FrontEntry, ...]
    front: str = ""

    def best_within(self, budget: Budget) -> FrontEntry | None:
        """Return the most accurate network within a budget, of equal ones that with the fewest MACs; None if none is.

        Raises:
            InputError: A limited cost is not known of the networks.
        """
        within = self.within(budget)
        return most_accurate(within) if within else None

    def within(self, budget: Budget) -> list[FrontEntry]:
        """Return the networks within a budget.

        Raises:
            InputError: A limited cost is not known of the networks.
        """
        self._check_known(list(budget.limits()))
        return [entry for entry in self.networks if budget.fits(entry.cost)]

    def smallest(self, budget: Budget) -> Budget:
        """Return the smallest value for each limit of a budget.

        Raises:
            InputError: A limited cost is not known of the networks.
        """
        self._check_known(list(budget.limits()))
        values: dict[str, float] = {}
        for name in budget.limits():
            values[name] = min(entry.cost.named()[name] for entry in self.networks)
        own = {name: value for name, value in values.items() if name not in COSTS}
        return Budget(own=own, **{name: value for name, value in values.items() if name in COSTS})  # type: ignore[arg-type]

    def front_of(self, costs: Sequence[str]) -> list[FrontEntry]:
        """Return the networks that no other beats in accuracy and these costs, in ascending order of the first.

        Args:
            costs: Names of one cost or two.

        Raises:
            InputError: A cost is not known of the networks.
        """
        self._check_known(costs)
        return pareto_front(self.networks, lambda entry: entry.point(costs))

    def _check_known(self, names: Sequence[str]) -> None:
        for name in names:
            if name != "min_macs" and any(name not in entry.cost.named() for entry in self.networks):
                word = cost_word(name)
                raise InputError(
                    f"the search did not record the {word} of its networks; search again with {word} as a limit or in "
                    "--pareto"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of evaluations.json."""
        return {"networks": [entry.to_dict() for entry in self.networks], "front": self.front}

    @classmethod
    def from_dict(cls, plain: object) -> "EvaluatedNetworks":
        """Return the networks that `to_dict` made plain.

        Raises:
            InputError: A key is missing, its value is of the wrong type, or there is no network.
        """
        values = check_mapping(plain, "the file")
        networks = tuple(map(FrontEntry.from_dict, check_list(values.get("networks"), "networks")))
        if not networks:
            raise InputError("there is no network")
        return cls(networks=networks, front=str(values.get("front")))


def most_accurate(entries: Sequence[FrontEntry]) -> FrontEntry:
    """Return the most accurate of some networks, of equally accurate ones that with the fewest MACs."""
    return max(entries, key=_rank)


def _rank(entry: FrontEntry) -> tuple[float, float]:
    return entry.accuracy, -entry.cost.macs
