"""Literals of C: strings, floats, arrays."""

from collections.abc import Iterable
from textwrap import indent

import numpy as np

from .quantization import Array

_WIDTH = 112  # characters of a line of numbers
_INDENT = "  "
_ESCAPED = b'"\\?'  # a ? could begin a trigraph


def c_string(text: str) -> str:
    """Return a text as a string literal in UTF-8; all bytes but printable ASCII are octal escapes."""
    literal = ""
    for byte in text.encode(errors="replace"):
        character = chr(byte)
        if byte in _ESCAPED:
            literal += f"\\{character}"
        elif 32 <= byte < 127:
            literal += character
        else:
            literal += f"\\{byte:03o}"
    return f'"{literal}"'


def c_float(value: float) -> str:
    """Return the shortest float literal that is read as exactly the fp32 nearest to a value."""
    return f"{np.float32(value)!s}f"


def c_array(values: Array) -> str:
    """Return integers as an initializer, nested as the array is; bytes (uint8) are hexadecimal."""
    if values.ndim > 1:
        return braces_of_rows(map(c_array, values))
    form = "0x{:02x}" if values.dtype == np.uint8 else "{}"
    return braces(map(form.format, values.tolist()))


def braces(initializers: Iterable[str]) -> str:
    """Return initializers within braces, as many in a line as there is room for."""
    lines, line = [], _INDENT
    for initializer in initializers:
        if len(line) + len(initializer) > _WIDTH and line.strip():
            lines.append(line.rstrip())
            line = _INDENT
        line += f"{initializer}, "
    lines.append(line.rstrip())
    return "\n".join(["{", *lines, "}"])


def braces_of_rows(initializers: Iterable[str]) -> str:
    """Return initializers within braces, each from a line of its own on."""
    rows = "".join(f"{initializer},\n" for initializer in initializers)
    return f"{{\n{indent(rows, _INDENT)}}}"
