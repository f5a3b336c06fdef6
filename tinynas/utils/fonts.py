"""Fonts for the names in pictures: which installed fonts have the characters of a text."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .text import printable

REGULAR, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"  # files of matplotlib, which are always installed


class Run(NamedTuple):
    """Consecutive characters of a text that are drawn in one font."""

    text: str
    font: Path


def font_runs(text: str, preferred: str = REGULAR) -> list[Run]:
    """Return a text as runs of characters in fonts that have them.

    Args:
        text: The text; characters that no installed font has, line breaks too, become escapes such as \\u5706.
        preferred: The font of all characters that it has, REGULAR or BOLD.
    """
    runs: list[Run] = []
    for character in text:
        font = _font_of(character, preferred)
        if font is None:
            font = font_file(preferred)
            character = character.encode("unicode_escape").decode("ascii")
        if runs and runs[-1].font == font:
            runs[-1] = Run(runs[-1].text + character, font)
        else:
            runs.append(Run(character, font))
    return runs


def is_drawable(text: str) -> bool:
    """Return whether each character of a text is in some installed font."""
    return all(_font_of(character, REGULAR) for character in text)


def undrawable(texts: Iterable[str]) -> list[str]:
    """Return those texts that have a character which no installed font has, each once.

    Control characters do not count: no font has them, and they become escapes.
    """
    missing = []
    for text in dict.fromkeys(texts):
        if not is_drawable(printable(text)):
            missing.append(text)
    return missing


def font_file(name: str) -> Path:
    """Return the path of a font file of matplotlib, REGULAR or BOLD."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name


def family_of(path: Path) -> str:
    """Return the name of the family of a font file, by which matplotlib then knows the file."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    if str(path) not in {entry.fname for entry in fontManager.ttflist}:
        fontManager.addfont(path)
    return FT2Font(str(path)).family_name


def _font_of(character: str, preferred: str) -> Path | None:
    """Return the file of the first font that has a character: the preferred one, REGULAR, or an installed one."""
    for name in (preferred, REGULAR):
        if ord(character) in _characters(font_file(name)):
            return font_file(name)
    for path in _system_fonts():
        if ord(character) in _characters(path):
            return path
    return None


@cache
def _system_fonts() -> tuple[Path, ...]:
    """Return the font files that are installed on the machine, upright sans-serif ones first.

    matplotlib's own list of fonts is a cache, which lacks the fonts that were installed after it was written.
    """
    from matplotlib import font_manager

    return tuple(sorted(map(Path, font_manager.findSystemFonts()), key=_unsuitability))


def _unsuitability(path: Path) -> tuple[bool, bool, bool, str]:
    """Return what fonts are sorted by: slanted or not, sans-serif or not, monospaced or not, by their names."""
    name = path.name.lower()
    slanted = "italic" in name or "oblique" in name
    return slanted, "sans" not in name, "mono" in name, str(path)


@cache
def _characters(path: Path) -> frozenset[int]:
    """Return the code points that a font has glyphs for; none of a font that is not scalable, or has only boxes."""
    from matplotlib.ft2font import FT2Font

    if "lastresort" in path.name.lower():
        return frozenset()
    try:
        font = FT2Font(str(path))
    except (OSError, RuntimeError):  # removed meanwhile, or not a font
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
