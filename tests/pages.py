"""README and docs/ as tests read them: pages, their fenced blocks, and the commands in them."""

import importlib.util
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from tinynas.cli.__main__ import main
from tinynas.cli.app import app

from helpers import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app).commands

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    title: str
    text: str


def blocks_of(page, *languages):
    """The fenced blocks of a page in some languages."""
    return [Block(page, *match) for match in FENCE.findall(page.read_text()) if match[0] in languages]


def program(page, title):
    """The text of the program with a title on a page of docs/."""
    (block,) = [block for block in blocks_of(DOCS / page, "python") if block.title == title]
    return block.text


def commands_of(page):
    """The tinynas commands in the shell blocks of a page, as lists of words without "tinynas"."""
    for block in blocks_of(page, "sh", "console"):
        for line in block.text.splitlines():
            for part in line.removeprefix("$ ").split("&&"):
                words = shlex.split(part, comments=True)
                if words[:1] == ["tinynas"]:
                    yield words[1:]
                elif "tinynas.cli" in words:  # of torchrun
                    yield words[words.index("tinynas.cli") + 1 :]


def visible_flags(command):
    """The flags of a command that --help shows."""
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    return {flag for option in options for flag in (*option.opts, *option.secondary_opts)}


def make_example_run():
    """Make the run that pages and docstrings name, runs/example, and its two retrainings, in the current folder."""
    quick = ("--epochs", "1", "--batch-size", "256")
    run_command("search", "--space", "micro", "--flops", "150K", "--trials", "2", "--run", "runs/example", *quick)
    run_command("retrain", "runs/example", "--name", "plain", *quick)
    run_command("retrain", "runs/example", "--name", "netaug", "--netaug", *quick)


def run_command(*words):
    """Run a command, which must succeed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tinynas", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code, words


def script_of_docs(name):
    """A module of docs/scripts/."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
