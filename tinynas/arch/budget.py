"""Budgets: hard limits of what a network may cost."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

from ..utils.errors import InputError, require, unknown
from ..utils.units import parse_bytes, parse_count, parse_seconds
from .cost import Cost, describe

_SRAM_MODELS = {"generic": "peak_sram", "inplace_dw": "peak_sram_inplace_dw"}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Hard limits of a network's cost; None is no limit.

    Attributes:
        macs: Multiply-accumulates of one inference.
        params: Learnable parameters.
        peak_sram: Peak int8 activation memory, in bytes.
        peak_sram_inplace_dw: The same where depthwise convolutions run in place, in bytes.
        flash: Size of the int8 weights, in bytes.
        latency: Time of one inference, in seconds; only a `TimedCost` has it.
        min_macs: Fewest multiply-accumulates, where a search covers a range of them.

    Raises:
        InputError: `min_macs` is larger than `macs`.

    Example:
        >>> from tinynas import Budget, cost, load_arch
        >>> Budget(macs=100_000_000).fits(cost(load_arch("mcunet-in3")))
        True
    """

    macs: int | None = None
    params: int | None = None
    peak_sram: int | None = None
    peak_sram_inplace_dw: int | None = None
    flash: int | None = None
    latency: float | None = None
    min_macs: int | None = None

    def __post_init__(self) -> None:
        if self.macs is not None and self.min_macs is not None:
            require(self.min_macs <= self.macs, "low <= high", low=self.min_macs, high=self.macs)

    @classmethod
    def parse(
        cls,
        *,
        flops: str | None = None,
        params: str | None = None,
        sram: str | None = None,
        sram_model: str | None = None,
        flash: str | None = None,
        latency: str | None = None,
    ) -> "Budget":
        """Read limits as a command's options have them.

        Args:
            flops: Multiply-accumulates: "50M", or a range, "10M:50M".
            params: Parameters: "500K".
            sram: Peak activation memory: "256KB".
            sram_model: Counting rule of `sram`: "generic", the default, or "inplace_dw" (`Cost.peak_sram_inplace_dw`).
            flash: Size of the int8 weights: "1MB".
            latency: Time of one inference: "5ms".

        Returns:
            The budget of these limits.

        Raises:
            InputError: A text is not a count, size or time, the range is empty, or the SRAM model is unknown.

        Example:
            >>> from tinynas import Budget
            >>> Budget.parse(flops="50M", sram="256KB").limits()
            {'macs': 50000000, 'peak_sram': 262144}
        """
        if sram_model is not None and sram_model not in _SRAM_MODELS:
            raise unknown("SRAM model", sram_model, _SRAM_MODELS)
        if sram_model is not None and sram is None:
            raise InputError("--sram-model is the counting rule of --sram, which is missing; add --sram")
        low, is_range, high = (flops or "").rpartition(":")
        sram_bytes = None if sram is None else parse_bytes(sram)
        in_place = sram_model == "inplace_dw"
        return cls(
            macs=None if flops is None else parse_count(high),
            params=None if params is None else parse_count(params),
            peak_sram=None if in_place else sram_bytes,
            peak_sram_inplace_dw=sram_bytes if in_place else None,
            flash=None if flash is None else parse_bytes(flash),
            latency=None if latency is None else parse_seconds(latency),
            min_macs=parse_count(low) if is_range else None,
        )

    def limits(self) -> dict[str, float]:
        """Return the limits that are set.

        Returns:
            Limit by name of the field: counts, bytes or seconds.
        """
        return dict(self._limits)

    def excess(self, cost: Cost) -> dict[str, float]:
        """Return by how much a cost exceeds each limit.

        Args:
            cost: The cost of a network; a `TimedCost` if the latency is limited.

        Returns:
            Excess by name of the limit, at most 0 where the cost is within the limit.
        """
        excess = {}
        for name, limit in self._limits.items():
            excess[name] = limit - cost.macs if name == "min_macs" else getattr(cost, name) - limit
        return excess

    def fits(self, cost: Cost) -> bool:
        """Return whether a cost is within every limit.

        Args:
            cost: The cost of a network; a `TimedCost` if the latency is limited.

        Returns:
            Whether no limit is exceeded.
        """
        return all(value <= 0 for value in self.excess(cost).values())

    def describe(self, *, exact: bool = False) -> str:
        """Return the limits as text.

        Args:
            exact: Whether to write every digit, instead of three and a unit.

        Returns:
            All limits in one line.

        Example:
            >>> from tinynas import Budget
            >>> Budget(macs=300_000, peak_sram=16_384).describe()
            'macs <= 300K, peak_sram <= 16KB'
        """
        return ", ".join(self._rules(exact)) or "no limits"

    @cached_property
    def _limits(self) -> dict[str, float]:
        return {name: limit for name, limit in asdict(self).items() if limit is not None}

    def _rules(self, exact: bool) -> Iterator[str]:
        for name, limit in self._limits.items():
            sign = ">=" if name == "min_macs" else "<="
            yield f"{name.removeprefix('min_')} {sign} {limit if exact else describe(name, limit)}"
