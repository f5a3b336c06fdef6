"""Sizes in pixels: a number for both directions, or a pair of height and width."""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InputError

Size = int | tuple[int, int]


def pair(size: Size) -> tuple[int, int]:
    """Return a size's height and width."""
    return size if isinstance(size, tuple) else (size, size)


def size_of(sides: Sequence[int]) -> Size:
    """Return the size of a height and a width: a number if they are equal."""
    height, width = sides
    return height if height == width else (height, width)


def read_size(value: Any) -> Any:
    """Return a pair in place of a list of two values, a number in place of two equal ones, other values as they are."""
    return size_of(value) if isinstance(value, list) and len(value) == 2 else value


def parse_size(text: str) -> Size:
    """Return the size that a text names: "96", or "96x160" of height and width.

    Raises:
        InputError: It names none.
    """
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise InputError(
            f"a size is a number of pixels such as 96, or height and width such as 96x160, but got {text!r}"
        )
    return size_of((int(sides[0]), int(sides[-1])))


def format_size(size: Size) -> str:
    """Return a size as text: "96", or "96x160" of height and width."""
    return f"{size[0]}x{size[1]}" if isinstance(size, tuple) else str(size)


def check_size(name: str, size: object) -> None:
    """Check a size.

    Raises:
        InputError: It is not a positive whole number or a pair of two different ones.
    """
    sides = size if isinstance(size, tuple) and len(size) == 2 else (size,)
    if not all(type(side) is int and side > 0 for side in sides):
        raise InputError(
            f"{name} must be a positive whole number or a pair of height and width, but is {with_lists(size)!r}"
        )
    if len(sides) == 2 and sides[0] == sides[1]:
        raise InputError(f"{name} {list(sides)} is the same in both directions; write it as the number {sides[0]}")


def with_lists(value: Any) -> Any:
    """Return plain data with lists in place of tuples, as YAML writes pairs."""
    if isinstance(value, dict):
        return {key: with_lists(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [with_lists(item) for item in value]
    return value


def with_sizes(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with the sizes that lists describe in place of the lists."""
    return {key: read_size(value) for key, value in plain.items()}
