"""Tables of a dry run: every field of a retraining, beside the authors' of its recipe."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from tinynas.arch.arch import Arch
from tinynas.experiment.authors import Authors, ComparedField, compare_with_authors
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.recipes import RecipeFile

from ..screen import Row, Screen


class Resolved(Protocol):
    """A retraining whose network and settings are resolved."""

    @property
    def arch(self) -> Arch:
        """The network."""

    @property
    def config(self) -> RetrainConfig:
        """The settings."""


def show_dry_run(screen: Screen, resolved: Resolved, recipe: RecipeFile | None, *, notes: Sequence[str] = ()) -> None:
    """Show the fields of a retraining, what there is to say about them, and that nothing was done."""
    content = show_fields(screen, resolved, recipe, title=f"Retraining on {resolved.config.data}, resolved")
    for line in notes:
        screen.note(line)
    screen.note("nothing was trained or written")
    screen.document(content)


def show_fields(screen: Screen, resolved: Resolved, recipe: RecipeFile | None, *, title: str) -> dict[str, Any]:
    """Show the fields of a retraining: those of settings, then those that no setting changes; and why they differ.

    Returns:
        The network and the fields as plain data.
    """
    authors = recipe.authors if recipe else None
    compared = compare_with_authors(resolved.arch, resolved.config, authors)
    settings = [field for field in compared if field.is_setting]
    screen.table(title, _rows(settings, authors), left=5)
    others = [field for field in compared if not field.is_setting]
    if others:
        screen.table("What no setting changes", _rows(others, authors), left=5)
    if recipe and not recipe.arch.is_when_fitted(resolved.arch):
        screen.note(f"the network is not that of the recipe {recipe.name}")
    if authors:
        _note_differences(screen, compared, authors)
    return {"network": resolved.arch.to_dict(), "fields": [asdict(field) for field in compared]}


def _rows(fields: list[ComparedField], authors: Authors | None) -> list[Row]:
    """Return a row for each field; without authors, only with the field's own value."""
    rows = []
    for field in fields:
        row = {"field": field.name, "here": field.here}
        if authors:
            row["authors"] = field.authors
            row[""] = "differs" if field.differs else ""
            row["in their code"] = f"{field.written} ({field.source})" if field.written else field.source
        rows.append(row)
    return rows


def _note_differences(screen: Screen, compared: list[ComparedField], authors: Authors) -> None:
    """Say why fields differ, and where the authors' values are from."""
    for field in compared:
        if field.differs:
            reason = field.note or "set otherwise than in the recipe"
            screen.note(f"differs: {field.name} ({field.here}; theirs: {field.authors}): {reason}")
    screen.note(f"authors: {authors.repository}, commit {authors.commit[:12]}")
