"""Every path, name, flag, command and link on README and the pages of docs/ exists."""

import ast
import re

from helpers import ROOT
from pages import COMMANDS, DOCS, FENCE, commands_of, every_page, visible_flags

INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
REPOSITORY_PATH = re.compile(r"(?:tinynas|cli|tests|benchmarks|examples|docs|search_spaces|recipes|\.ci)/[\w./-]*")
NAMES_IN_FILE = re.compile(r"`([\w/]+\.py)` \(((?:`\w+`(?:, )?)+)\)")  # `tinynas/arch/cost.py` (`cost`)
FLAGS_OF_OTHERS = {"--nproc-per-node", "--strict", "--all-files", "--hook-stage", "--against", "--help", "--no-deps"}
FLAGS_OF_OTHERS |= {"--install-completion", "--show-completion"}  # of `tinynas` itself, by typer
FLAGS_OF_OTHERS |= {"--photos", "--runner"}  # of benchmarks
FLAGS_OF_OTHERS |= {"--photos", "--runner", "--netaug-code"}  # of benchmarks


def test_readme_fits_its_length():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_readme_has_pictures():
    pictures = [link for link in LINK.findall((ROOT / "README.md").read_text()) if link.endswith(".png")]
    assert len(pictures) >= 2


@every_page
def test_page_links_lead_to_files(page):
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@every_page
def test_page_paths_exist_in_the_repository(page):
    for code in INLINE_CODE.findall(page.read_text()):
        for path in REPOSITORY_PATH.findall(code):
            assert (ROOT / path).exists(), path


@every_page
def test_page_names_are_defined_in_their_files(page):
    for path, names in NAMES_IN_FILE.findall(page.read_text()):
        tree = ast.parse((ROOT / path).read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        assert set(re.findall(r"\w+", names)) <= defined, path


@every_page
def test_page_flags_are_options_that_help_shows(page):
    known = FLAGS_OF_OTHERS.union(*map(visible_flags, COMMANDS.values()))
    for code in INLINE_CODE.findall(FENCE.sub("", page.read_text())):
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code):
            assert flag in known, f"{code}: {flag}"


@every_page
def test_page_commands_parse_with_the_real_command_line(page):
    for name, *words in commands_of(page):
        COMMANDS[name].make_context(name, list(words))  # raises a usage error
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert flags <= visible_flags(COMMANDS[name]), (name, words)


def test_docs_have_commands_to_check():
    assert len(list(commands_of(ROOT / "README.md"))) >= 6
    assert sum(len(list(commands_of(page))) for page in DOCS.glob("*.md")) >= 40
