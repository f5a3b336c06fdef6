"""Budgets: hard limits of what a network may cost."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isfinite
from numbers import Real
from typing import Any

from ..utils.errors import InputError, require
from ..utils.schema import check_mapping, check_value, from_mapping
from ..utils.units import parse_bytes, parse_count, parse_seconds
from .cost import Cost, describe
from .cost_names import check_own_limit, cost_word
from .targets import DEFAULT_TARGET, find_target

OwnLimits = Mapping[str, str | float]  # limits of the user's own costs by name, as texts or numbers
NO_OWN: OwnLimits = {}


def split_own_limits(texts: Iterable[str]) -> dict[str, str]:
    """Split limits of the user's own costs, "energy=3.5" and so on, into names and values.

    Raises:
        InputError: A text is not a name and a value, or a cost is there twice.

    Example:
        >>> split_own_limits(["energy=3.5"])
        {'energy': '3.5'}
    """
    limits: dict[str, str] = {}
    for text in texts:
        name, separator, limit = text.partition("=")
        if not separator:
            raise InputError(f"cannot read {text!r}: expected a cost's name and its limit, like energy=3.5")
        if name in limits:
            raise InputError(f"{name} is limited twice, to {limits[name]} and {limit}; remove one of the two")
        limits[name] = limit
    return limits


def _own_limit(name: str, limit: object) -> float:
    """Return the limit of a cost of the user's own. Raises InputError unless it is a finite number above 0."""
    check_own_limit(name)
    value = 0.0
    if isinstance(limit, str | Real) and not isinstance(limit, bool):  # numbers of NumPy are `Real` too
        with suppress(ValueError):
            value = float(limit)
    if not isfinite(value) or value <= 0:
        raise InputError(f"the limit of {name} must be a finite number above 0, but is {limit!r:.60}")
    return value


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Hard limits of a network's cost; None is no limit.

    Attributes:
        macs: Multiply-accumulates of one inference.
        params: Learnable parameters.
        peak_sram: Peak int8 activation memory, in bytes.
        peak_sram_inplace_dw: The same where depthwise convolutions run in place, in bytes.
        peak_sram_tflm: Arena of TensorFlow Lite Micro, in bytes.
        peak_sram_tflm_cmsis_nn: The same with CMSIS-NN's kernels, in bytes.
        peak_sram_vela: Memory of the network that Vela compiles for an Ethos-U, in bytes.
        flash: Size of the int8 weights, in bytes.
        file_tflite: Size of the int8 TFLite file, in bytes.
        file_vela: Size of the file that Vela writes, in bytes.
        latency: Time of one inference, in seconds.
        min_macs: Fewest multiply-accumulates, where a search covers a range of them.
        own: Limits of costs of the user's own, by name.

    Raises:
        InputError: `min_macs` is larger than `macs`, or a limit of `own` is no number.

    Example:
        >>> from tinynas import Budget, cost, load_arch
        >>> Budget(macs=100_000_000).fits(cost(load_arch("mcunet-in3")))
        True
    """

    macs: int | None = None
    params: int | None = None
    peak_sram: int | None = None
    peak_sram_inplace_dw: int | None = None
    peak_sram_tflm: int | None = None
    peak_sram_tflm_cmsis_nn: int | None = None
    peak_sram_vela: int | None = None
    flash: int | None = None
    file_tflite: int | None = None
    file_vela: int | None = None
    latency: float | None = None
    min_macs: int | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limit in check_mapping(self.own, "own limits").items():
            check_value(limit, float, f"the limit of {name}")
        if self.macs is not None and self.min_macs is not None:
            require(self.min_macs <= self.macs, "low <= high", low=self.min_macs, high=self.macs)

    @classmethod
    def parse(
        cls,
        *,
        flops: str | None = None,
        params: str | None = None,
        sram: str | None = None,
        flash: str | None = None,
        latency: str | None = None,
        own: OwnLimits = NO_OWN,
        target: str = DEFAULT_TARGET,
    ) -> "Budget":
        """Read limits as a command's options have them.

        Args:
            flops: Multiply-accumulates: "50M", or a range, "10M:50M".
            params: Parameters: "500K".
            sram: Memory that an inference takes: "256KB".
            flash: Memory of the network: "1MB".
            latency: Time of one inference: "5ms".
            own: Limits of the user's own costs, by name: numbers above 0.
            target: What runs the network; it decides which costs `sram` and `flash` limit, see `tinynas.arch.targets`.

        Returns:
            The budget of these limits.

        Raises:
            InputError: A text is not a count, size or time, the range is empty, the target is unknown, or a limit of
                `own` is no number above 0 or of a cost of tinynas.

        Example:
            >>> from tinynas import Budget
            >>> Budget.parse(flops="50M", sram="256KB").limits()
            {'macs': 50000000, 'peak_sram_tflm': 262144}
        """
        runtime = find_target(target)
        low, is_range, high = (flops or "").rpartition(":")
        if is_range and not (low and high):
            raise InputError(f"cannot read {flops!r}: expected a count or a range, like 50M or 10M:50M")
        limits: dict[str, Any] = {"own": {name: _own_limit(name, limit) for name, limit in own.items()}}
        if flops is not None:
            limits["macs"] = parse_count(high)
        if is_range:
            limits["min_macs"] = parse_count(low)
        if params is not None:
            limits["params"] = parse_count(params)
        if sram is not None:
            limits[runtime.sram] = parse_bytes(sram)
        if flash is not None:
            limits[runtime.flash] = parse_bytes(flash)
        if latency is not None:
            limits["latency"] = parse_seconds(latency)
        return from_mapping(cls, limits, "limits")

    def limits(self) -> dict[str, float]:
        """Return the limits that are set.

        Returns:
            Limit by name of the cost: counts, bytes, seconds, or units of the user's own.
        """
        return dict(self._limits)

    def to_dict(self) -> dict[str, Any]:
        """Return the limits that are set.

        Returns:
            Plain data, which `from_mapping` of `tinynas.utils.schema` reads.
        """
        return {name: limit for name, limit in asdict(self).items() if limit not in (None, {})}

    def excess(self, cost: Cost) -> dict[str, float]:
        """Return by how much a cost exceeds each limit.

        Args:
            cost: The cost of a network, in which all limited costs are known.

        Returns:
            Excess by name of the limit, at most 0 where the cost is within the limit.
        """
        excess = {}
        known = cost.named() if self.own else vars(cost)
        for name, limit in self._limits.items():
            excess[name] = limit - cost.macs if name == "min_macs" else known[name] - limit
        return excess

    def fits(self, cost: Cost) -> bool:
        """Return whether a cost is within every limit.

        Args:
            cost: The cost of a network, in which all limited costs are known.

        Returns:
            Whether no limit is exceeded.
        """
        return all(value <= 0 for value in self.excess(cost).values())

    def describe(self, *, exact: bool = False) -> str:
        """Return the limits as text.

        Args:
            exact: Whether to write every digit and the cost's name, instead of three digits, a unit and the word that
                limits have for the cost.

        Returns:
            All limits in one line.

        Example:
            >>> from tinynas import Budget
            >>> Budget(macs=300_000, peak_sram=16_384).describe()
            'macs <= 300K, sram <= 16KB'
        """
        return ", ".join(self._rules(exact)) or "no limits"

    def slug(self) -> str:
        """Return the limits as a part of a folder's name.

        Returns:
            Words and values, joined by hyphens.

        Example:
            >>> from tinynas import Budget
            >>> Budget(macs=300_000, peak_sram_tflm=16_384, own={"energy": 2.5}).slug()
            'macs-300000-sram-16384-energy-2.5'
        """
        parts = []
        for name, limit in self._limits.items():
            value = str(limit) if isinstance(limit, int) else f"{limit:.4g}"
            parts.append(f"{cost_word(name)}-{value}")
        return "-".join(parts)

    @cached_property
    def _limits(self) -> dict[str, float]:
        limits = self.to_dict()
        limits.pop("own", None)
        return {**limits, **self.own}

    def only(self, names: Collection[str]) -> "Budget":
        """Return the limits of some costs alone.

        Args:
            names: Names of costs.

        Returns:
            Their limits, as far as they are set.
        """
        limits = {name: limit for name, limit in self.to_dict().items() if name in names}
        return Budget(own={name: limit for name, limit in self.own.items() if name in names}, **limits)

    def _rules(self, exact: bool) -> Iterator[str]:
        for name, limit in self._limits.items():
            sign = ">=" if name == "min_macs" else "<="
            shown = name.removeprefix("min_")
            yield f"{shown} {sign} {limit}" if exact else f"{cost_word(shown)} {sign} {describe(name, limit)}"
