"""Fill the parts of pages that are generated from the code when the site is built.

A page marks such a part with a comment: `<!-- generate: commands -->`, `<!-- generate: settings Recipe -->`,
`<!-- generate: recipes imagenet -->`, or `<!-- include: CHANGELOG.md -->` for a file of the repository's top folder.
"""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).parent))

import commands  # noqa: E402
import recipe_tables  # noqa: E402
import settings  # noqa: E402

MARKER = re.compile(r"<!-- (generate|include): (.+?) -->")


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Replace the markers of a page; called by mkdocs for each page."""
    return MARKER.sub(lambda match: generated(match[1], match[2]), markdown)


def generated(kind: str, name: str) -> str:
    """Return the Markdown for a marker.

    Raises:
        ValueError: The marker names nothing that can be generated.
    """
    if kind == "include":
        return (ROOT / name).read_text().replace("](docs/", "](")
    if name == "commands":
        return commands.reference()
    if name == "published":
        return recipe_tables.published()
    what, _, class_name = name.partition(" ")
    if what == "settings":
        return settings.table(class_name)
    if what == "recipes":
        return recipe_tables.tables(class_name)
    known = "commands, published, settings CLASS, recipes PREFIX"
    raise ValueError(f"unknown marker {name!r} in a page; known: {known}")
