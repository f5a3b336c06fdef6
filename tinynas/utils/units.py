"""Numbers with units, parsed and formatted: "50M" MACs, "256KB" of memory, "5ms".

Counts use factors of 1000 (K, M, G), sizes in bytes factors of 1024 (KB, MB, GB; the B may be omitted).
"""

import re
from collections.abc import Iterable

from .errors import InputError

_COUNT_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_BYTE_FACTORS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6}
_SECONDS = {"min": 60, "h": 3600}


def parse_count(text: str | int) -> int:
    """Parse a positive count: 50M, 1.5K, 300000. Raises InputError."""
    return _parse(text, r"([KMG]?)", _COUNT_FACTORS, "a count like 300K, 50M or 1.2G")


def parse_bytes(text: str | int) -> int:
    """Parse a positive size in bytes: 256KB, 1MB, 4096. Raises InputError."""
    return _parse(text, r"([KMG]?)(?:I?B)?", _BYTE_FACTORS, "a size like 4096, 256KB or 1MB")


def parse_seconds(text: str) -> float:
    """Parse a positive time in seconds: 5ms, 800us, 0.1s, 10min, 1h. Raises InputError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|ms|us|min|h)\s*", text.lower())
    example = "a time like 5ms, 800us, 0.1s or 10min"
    if not match:
        raise InputError(f"cannot read {text!r}: expected {example}")
    if float(match[1]) == 0:
        raise InputError(f"the value must be above 0, but is {text}; write {example}")
    number, unit = float(match[1]), match[2]
    return number * _SECONDS[unit] if unit in _SECONDS else number / _UNITS_PER_SECOND[unit]


def format_count(value: float) -> str:
    """Format a count with three significant digits: 81.8M, 737K, 950."""
    return _format(value, 1000, ["", "K", "M", "G"])


def format_bytes(value: float) -> str:
    """Format a size with three significant digits: 333KB, 1.2MB, 950B."""
    return _format(value, 1024, ["B", "KB", "MB", "GB"])


def format_seconds(value: float) -> str:
    """Format a time with three significant digits: 5ms, 812us, 1.5s."""
    for unit, per_second in _UNITS_PER_SECOND.items():
        if value * per_second >= 1 or unit == "us":
            break
    return f"{value * per_second:.3g}{unit}"


def threshold_text(thresholds: Iterable[float]) -> str:
    """Format the thresholds of early exits: 0.9 if all exits share one, or 0.9, 0.75."""
    return ", ".join(f"{threshold:.4g}" for threshold in thresholds)


def _parse(text: str | int, suffix: str, factors: dict[str, int], example: str) -> int:
    match = re.fullmatch(rf"\s*(\d+(?:\.\d+)?)\s*{suffix}\s*", str(text).upper())
    value = float(match[1]) * factors[match[2]] if match else 0.0
    if match and value == 0:
        raise InputError(f"the value must be above 0, but is {text}; write {example}")
    if value < 1:
        raise InputError(f"cannot read {text!r}: expected {example}")
    return round(value)


def _format(value: float, base: int, units: list[str]) -> str:
    for unit in units:
        if abs(value) < 999.5 or unit == units[-1]:
            break
        value /= base
    digits = 0 if value >= 99.95 or value == int(value) else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{unit}"
