"""The command reference: every command of the command line with its arguments and options, as Markdown."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import typer
from tinynas.cli.app import app

OTHERS = "Other options"  # the last group
TYPE_NAMES = {int: "INTEGER", float: "FLOAT", Path: "PATH"}  # as --help prints them


def reference() -> str:
    """Return a section for each command, with a table for each group of its options."""
    group: Any = typer.main.get_command(app)
    return "\n\n".join(section(name, command) for name, command in group.commands.items())


def section(name: str, command: Any) -> str:
    """Return a command's usage, help and parameters."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(["tinynas", name, *map(placeholder, arguments), "[OPTIONS]"])
    parts = [f"## tinynas {name}", f"```text\n{usage}\n```", command.help]
    if arguments:
        rows = [f"| `{placeholder(p)}` | {cell(p.help)} |" for p in arguments]
        parts.append("\n".join(["| argument | |", "|---|---|", *rows]))
    panels = defaultdict(list)
    for option in options:
        panels[option.rich_help_panel or OTHERS].append(option)
    for title in sorted(panels, key=OTHERS.__eq__):
        rows = [f"| {flags(option)} | {cell(option.help)}{default(option)} |" for option in panels[title]]
        parts.append("\n".join([f"| {title} | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def flags(option: Any) -> str:
    """Return an option's flags and the placeholder of its value."""
    names = " / ".join(option.opts + option.secondary_opts)
    return f"`{names}`" if option.is_flag else f"`{names} {placeholder(option)}`"


def placeholder(parameter: Any) -> str:
    """Return the word that stands for the value of an argument or option."""
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return TYPE_NAMES.get(parameter.type_descriptor.annotation, "TEXT")


def default(option: Any) -> str:
    """Return " Default: VALUE." where the option shows its default."""
    if not option.show_default or option.default is None or option.is_flag:
        return ""
    return f" Default: {option.default}."


def cell(text: str | None) -> str:
    """Return text that can stand in a cell of a Markdown table."""
    return " ".join((text or "").split()).replace("|", "\\|")
