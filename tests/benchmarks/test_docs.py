"""The tables of docs/results/ are those of the saved cells, and each script says which it writes."""

import ast
import re

import pytest

from helpers import ROOT

SCRIPTS = (
    "budgets",
    "complementary",
    "deploy",
    "detect",
    "early_exits_photos",
    "early_exits_text",
    "exit_rules",
    "ssdlite",
    "finetune_imported",
    "fronts",
    "imports",
    "load",
    "methods",
    "netaug",
    "ranking",
    "recipes",
    "samplers",
    "scaling",
    "serving",
    "sidenet",
    "similar",
    "spaces",
    "speed",
    "target",
    "throughput",
    "transfer",
)
MARKER = re.compile(r"<!-- begin:(\S+) -->")


@pytest.fixture(scope="module")
def tables_of(load_script):
    """A function that returns the tables of a script's saved cells."""
    from common.cells import Cells

    known = {}

    def tables(name):
        if name not in known:
            known[name] = load_script(name).tables(Cells(name).read())
        return known[name]

    return tables


@pytest.mark.parametrize("name", SCRIPTS)
def test_pages_have_the_tables_of_the_cells(tables_of, name):
    from common.tables import table_on_page

    for table in tables_of(name):
        assert len(table.rows) > 1
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert table_on_page(table) == table.to_markdown(), f"run: python benchmarks/{name}.py --write-docs"


def test_pages_have_no_other_tables(tables_of):
    written = {(table.page, table.name) for name in SCRIPTS for table in tables_of(name)}
    pages = (ROOT / "docs" / "results").glob("*.md")
    assert {(page.stem, marker) for page in pages for marker in MARKER.findall(page.read_text())} == written


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_names_its_time_its_tables_and_their_page(load_script, tables_of, name):
    description = load_script(name).__doc__
    assert re.search(r"Takes (about \d+|some) (minutes|hours?) on one core", description)
    for table in tables_of(name):
        assert f"`{table.name}`" in description
        assert f"docs/results/{table.page}.md" in description


def test_scripts_are_all_tested_and_import_no_other():
    files = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(files) == {*SCRIPTS, "behaviour"}
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not set(imported) & set(files), path


def test_caption_is_true_of_the_initial_weights(load_script):
    from common.cells import Cells

    checked = 0
    for key, cell in Cells("netaug").read().items():
        if isinstance(cell, dict) and "init" in cell and "from the supernet" not in key and "kaiming" not in key:
            assert cell["init"] == ("kaiming-uniform" if cell["netaug"] else "kaiming-normal"), key
            checked += 1
    assert checked > 10
    caption = load_script("netaug").CAPTION
    assert re.search("Plain rows start from `kaiming-normal`.*NetAug's rows from `kaiming-uniform`", caption)


def test_netaug_plan_is_what_was_measured(load_script):
    from common.cells import Cells
    from common.netaug_rows import trainings

    measured = {name for name in Cells("netaug").read() if " seed " in name}
    assert {training.cell for training in trainings()} == measured
