"""Descriptions of Debian's packages: short texts, whose classes are the sections that the packages are in.

They are read from the lists that apt keeps: the section and the source package of every package from Packages, its
synopsis and long description from Translation-en.
"""

import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

APT_LISTS = Path("/var/lib/apt/lists")
APT_HELPER = "/usr/lib/apt/apt-helper"  # reads a list in whichever form apt has compressed it
UPDATE = "apt-get update -o Acquire::Languages=en"  # with descriptions, which some systems are set up to leave out
KINDS = frozenset(
    ["debug", "doc", "introspection", "libdevel", "libs", "localization", "metapackages", "misc", "oldlibs", "tasks"]
)  # sections that say what kind of package it is, not what it is for
MIN_SOURCES = 300  # source packages of a class
MAX_TEXTS = 400  # texts of a class
HELD_OUT = 0.2  # fraction of the source packages that are for testing; as many are for search-val
_FIELD = re.compile(r"^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


class PackageText(NamedTuple):
    """The description of a package.

    Attributes:
        section: Section that the package is in.
        source: Source package that it is built from.
        text: Synopsis and long description, on one line.
    """

    section: str
    source: str
    text: str


class TextSplit(NamedTuple):
    """Texts, and the indices of their classes."""

    texts: list[str]
    labels: list[int]


class TextData(NamedTuple):
    """Texts in three splits, no source package in two of them.

    Attributes:
        classes: Sections, in alphabetical order.
        train: Training texts.
        val: Texts of search-val, on which everything is chosen.
        test: Test texts.
    """

    classes: list[str]
    train: TextSplit
    val: TextSplit
    test: TextSplit


def load_package_texts(folder: Path = APT_LISTS) -> TextData:
    """Return the descriptions of the packages in apt's lists, with their sections as classes.

    Classes are the sections, without those of `KINDS`, that have texts of at least `MIN_SOURCES` source packages. A
    class has one text of a source package, and at most `MAX_TEXTS`. Hashes of the names of source packages choose these
    and the splits, so that another state of the lists changes little.

    Raises:
        SystemExit: The folder has no lists with descriptions.
    """
    by_section: dict[str, list[PackageText]] = {}
    for entry in one_per_source(read_package_texts(folder)):
        by_section.setdefault(entry.section, []).append(entry)
    classes = sorted(section for section, entries in by_section.items() if len(entries) >= MIN_SOURCES)
    train, val, test = [TextSplit([], []) for _ in range(3)]
    for label, section in enumerate(classes):
        for entry in sorted(by_section[section], key=_rank)[:MAX_TEXTS]:
            position = _hash("split", entry.source)
            split = test if position < HELD_OUT else val if position < 2 * HELD_OUT else train
            split.texts.append(entry.text)
            split.labels.append(label)
    return TextData(classes, train, val, test)


def one_per_source(entries: Iterable[PackageText]) -> Iterator[PackageText]:
    """Yield one text for each section and source package, and every text once; none of the sections in `KINDS`."""
    texts: set[str] = set()
    sources: set[tuple[str, str]] = set()
    for entry in sorted(entries):
        key = entry.section, entry.source
        if entry.section not in KINDS and entry.text not in texts and key not in sources:
            texts.add(entry.text)
            sources.add(key)
            yield entry


def read_package_texts(folder: Path) -> list[PackageText]:
    """Return the descriptions of all packages in apt's lists.

    Raises:
        SystemExit: The folder has no lists with descriptions.
    """
    descriptions = {}
    for path in _lists(folder, "Translation-en"):
        for fields in read_stanzas(path):
            descriptions[fields["Description-md5"]] = one_line(fields["Description-en"])
    if not descriptions:
        raise SystemExit(f"{folder} has no descriptions of packages (*_Translation-en); get them by: {UPDATE}")
    entries = []
    for path in _lists(folder, "Packages"):
        for fields in read_stanzas(path):
            text = descriptions.get(fields.get("Description-md5", ""))
            if text is not None and "Section" in fields:
                source = fields.get("Source", fields["Package"]).split()[0]  # without its version
                entries.append(PackageText(fields["Section"].split("/")[-1], source, text))
    return entries


def _lists(folder: Path, name: str) -> list[Path]:
    """Return apt's lists of a name, plain or compressed."""
    return sorted(path for path in folder.glob(f"*_{name}*") if path.name.split("_")[-1].split(".")[0] == name)


def read_stanzas(path: Path) -> Iterator[dict[str, str]]:
    """Yield the fields of each stanza of one of apt's lists."""
    if path.suffix:
        text = subprocess.run([APT_HELPER, "cat-file", path], check=True, capture_output=True, text=True).stdout
    else:
        text = path.read_text(encoding="utf-8")
    for stanza in text.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        if fields:
            yield fields


def one_line(description: str) -> str:
    """Return a description without its line breaks.

    Example:
        >>> one_line("editor of text\\n Edits text.\\n .\\n Quickly.")
        'editor of text. Edits text. Quickly.'
    """
    synopsis, *lines = description.splitlines()
    words = " ".join(line for line in lines if line.strip() != ".").split()
    return f"{synopsis.strip()}. {' '.join(words)}".strip()


def _rank(entry: PackageText) -> float:
    return _hash("rank", entry.source)


def _hash(purpose: str, name: str) -> float:
    """Return a number from 0 to 1 that a name always has for a purpose."""
    return int(hashlib.sha256(f"{purpose} {name}".encode()).hexdigest()[:12], 16) / 16**12
