"""Costs of the user's own: added up from tables of layers, or returned by functions of a program."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite

from ..utils.errors import InputError
from ..utils.io import json_digest
from ..utils.numbers import as_number
from .arch import Arch
from .cost_names import check_own_name
from .cost_table import CostTable
from .space import SearchSpace

CostFunction = Callable[[Arch], float]
_KEPT = 2**12  # archs whose values are kept


@dataclass(frozen=True, kw_only=True)
class OwnCosts:
    """The user's own costs of a search.

    Attributes:
        tables: Tables of them.
        functions: Functions of an arch, by name of the cost; they return finite numbers above 0.

    Raises:
        InputError: A name is not valid, or there twice, or what has it is no function.
    """

    tables: tuple[CostTable, ...] = ()
    functions: Mapping[str, CostFunction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, function in self.functions.items():
            check_own_name(name, "costs")
            if not callable(function):
                raise InputError(
                    f"costs: {name} is of the type {type(function).__name__}; pass a function of an Arch that returns "
                    "a number"
                )
        for number, name in enumerate(self.names):
            if name in self.names[:number]:
                raise InputError(f"two sources have the cost {name}; remove one, or give it another name")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the costs."""
        return tuple([table.cost for table in self.tables]) + tuple(self.functions)

    @property
    def units(self) -> dict[str, str]:
        """Units by name of the cost; empty for functions."""
        return {table.cost: table.unit for table in self.tables} | dict.fromkeys(self.functions, "")

    def digests(self, space: SearchSpace) -> dict[str, str]:
        """Return what tells each cost from another of its name: a table's content, or two values of a function.

        Args:
            space: The functions are called for its smallest and its largest arch.
        """
        digests = {table.cost: table.digest for table in self.tables}
        for name, function in self.functions.items():
            digests[name] = json_digest([_value(name, function, arch) for arch in (space.min(), space.max())])
        return digests


class AddedCosts:
    """Costs from tables and functions as `MeasuredCosts`: quick, and the same on every machine.

    Args:
        own: The user's own costs.
        latency_table: Table of the latency, if it is taken from one.
        space: Space of the archs.
    """

    def __init__(self, own: OwnCosts, latency_table: CostTable | None, space: SearchSpace) -> None:
        self._tables = list(own.tables)
        if latency_table:
            self._tables.append(latency_table)
        self._functions = own.functions
        self.names: Collection[str] = set(own.names).union(table.cost for table in self._tables)
        digests = own.digests(space)
        self.digest = latency_table.digest if latency_table else ""
        if digests:
            self.digest = json_digest([self.digest, digests])
        self._values = lru_cache(maxsize=_KEPT)(self._compute)

    def measure(self, arch: Arch) -> Mapping[str, float]:
        """Return the costs of an arch by name.

        Raises:
            InputError: A function raised an exception, or returned no finite number above 0.
            FileError: A table lacks a layer.
        """
        return self._values(arch)

    def _compute(self, arch: Arch) -> dict[str, float]:
        values: dict[str, float] = {}
        for table in self._tables:
            values |= table.measure(arch)
        for name, function in self._functions.items():
            values[name] = _value(name, function, arch)
        return values


def _value(name: str, function: CostFunction, arch: Arch) -> float:
    """Return the value of a function for an arch. Raises InputError if it is no finite number above 0."""
    try:
        returned = function(arch)
    except Exception as error:
        raise InputError(f"the function of the cost {name} failed: {type(error).__name__}: {error}") from error
    value = as_number(returned)
    if value is None or not isfinite(value) or value <= 0:
        raise InputError(
            f"the function of the cost {name} must return a finite number above 0, but returned {returned!r:.60} of "
            f"the type {type(returned).__name__}"
        )
    return value
