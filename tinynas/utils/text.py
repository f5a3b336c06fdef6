"""Text that may hold names of other people's files and classes."""

import re

# Control characters, line and paragraph separators, and bytes of a file name that are no text (surrogates in Python).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text as one line that can be printed: what cannot be is written as in a Python string.

    Example:
        >>> print(printable("two\nlines"))
        two\nlines
    """
    return _UNPRINTABLE.sub(_escaped, text)


def counted(count: int, noun: str) -> str:
    """Return a number of things, for a message.

    Args:
        count: How many there are.
        noun: What one of them is called; its plural ends in "s", or in "es" after an "s".

    Example:
        >>> print(counted(1, "image"), counted(1200, "file"), sep=", ")
        1 image, 1,200 files
    """
    if count == 1:
        return f"{count} {noun}"
    return f"{count:,} {noun}es" if noun.endswith("s") else f"{count:,} {noun}s"


def first_line(text: str) -> str:
    r"""Return the first line of a text that is not empty, such as the message of another package's exception.

    Example:
        >>> print(first_line("\nconnection refused\nIs the server running?"))
        connection refused
    """
    return text.strip().partition("\n")[0].rstrip()


def _escaped(character: re.Match[str]) -> str:
    """Return a character's escape in a Python string."""
    return character[0].encode("unicode_escape").decode()
