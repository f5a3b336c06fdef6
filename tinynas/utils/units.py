"""Numbers with units, read and written: "50M" multiply-accumulates, "256KB" of memory, "5ms".

Counts go up in thousands (K, M, G), sizes in bytes by 1024 (KB, MB, GB; the B may be left out).
"""

import re

from .errors import InputError

_COUNT = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def parse_count(text: str | int) -> int:
    """A positive count: 50M, 1.5K, 300000. Raises InputError."""
    return _parse(text, r"([KMG]?)", _COUNT, "a count like 300K, 50M or 1.2G")


def parse_bytes(text: str | int) -> int:
    """A positive size in bytes: 256KB, 1MB, 4096. Raises InputError."""
    return _parse(text, r"([KMG]?)(?:I?B)?", _BYTES, "a size like 4096, 256KB or 1MB")


def parse_seconds(text: str) -> float:
    """A positive time in seconds: 5ms, 800us, 0.1s. Raises InputError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|ms|us)\s*", text.lower())
    if not found or float(found[1]) == 0:
        raise InputError(f"cannot read {text!r}: expected a time like 5ms, 800us or 0.1s")
    return float(found[1]) * _SECONDS[found[2]]


def format_count(value: float) -> str:
    """Three significant digits: 81.8M, 737K, 950."""
    return _format(value, 1000, ["", "K", "M", "G"])


def format_bytes(value: float) -> str:
    """Three significant digits: 333KB, 1.2MB, 950B."""
    return _format(value, 1024, ["B", "KB", "MB", "GB"])


def format_seconds(value: float) -> str:
    """Three significant digits: 5ms, 812us, 1.5s."""
    unit = next(unit for unit in ("s", "ms", "us") if value >= _SECONDS[unit] or unit == "us")
    return f"{value / _SECONDS[unit]:.3g}{unit}"


def _parse(text: str | int, suffix: str, scale: dict[str, int], example: str) -> int:
    found = re.fullmatch(rf"\s*(\d+(?:\.\d+)?)\s*{suffix}\s*", str(text).upper())
    value = float(found[1]) * scale[found[2]] if found else 0.0
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
