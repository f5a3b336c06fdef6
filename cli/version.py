"""What comes before any command: `tinynas --version`."""

from importlib.metadata import version
from typing import Annotated

import typer


def _show(is_asked: bool) -> None:
    """Print the version, and end."""
    if is_asked:
        print(f"tinynas {version('tinynas')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_show, is_eager=True, help="Show the version.")]


def tinynas(show_version: Version = False) -> None:
    """Neural architecture search for networks that must fit on small devices."""
