"""Cells, statistics and tables of benchmarks/common/."""

import doctest

import pytest


@pytest.fixture
def calls():
    return []


@pytest.fixture
def measure(calls):
    def function(value):
        calls.append(value)
        return value

    return function


def test_measure_keeps_a_saved_cell(results, measure, calls):
    from common.cells import Cells

    for _ in range(2):
        Cells("table").measure("a", measure, 1)
    assert Cells("table").read() == {"a": 1}
    assert calls == [1]


def test_measure_again_replaces_a_saved_cell(results, measure):
    from common.cells import Cells

    Cells("table").measure("a", measure, 1)
    Cells("table", again=True).measure("a", measure, 2)
    assert Cells("table").read() == {"a": 2}


def test_only_selects_what_is_measured_but_not_what_is_required(results, measure):
    from common.cells import Cells

    cells = Cells("table", only="plain")
    cells.measure("NetAug seed 0", measure, 1)
    cells.measure("plain seed 0", measure, 2)
    assert cells.require("arch", measure, 3) == 3
    assert cells.read() == {"arch": 3, "plain seed 0": 2}


def test_measure_skips_a_cell_that_another_process_measures(results, measure, calls):
    from common.cells import Cells, _lock

    with _lock("table", "a", wait=True):
        Cells("table").measure("a", measure, 1)
    assert calls == []
    Cells("table").measure("a", measure, 1)
    assert calls == [1]


def test_cells_are_lines_in_order_of_their_names(results, measure):
    from common.cells import Cells

    for name in ("b", "a"):
        Cells("table").measure(name, measure, name)
    assert (results / "table.json").read_text() == '{\n"a": "a",\n"b": "b"\n}\n'


def test_stats_examples_run():
    import common.stats

    outcome = doctest.testmod(common.stats)
    assert outcome.attempted == 7
    assert outcome.failed == 0


def test_paired_difference_skips_seeds_without_a_baseline():
    from common.stats import paired_difference

    assert paired_difference({0: 2.0, 1: 9.0}, {0: 1.0}) == "+1.00"


@pytest.fixture
def page(results, monkeypatch):
    import common.tables

    monkeypatch.setattr(common.tables, "PAGES", results)
    path = results / "page.md"
    path.write_text("above\n<!-- begin:t -->\nold\n<!-- end:t -->\nbelow\n<!-- begin:other -->\n<!-- end:other -->\n")
    return path


def test_write_table_replaces_what_is_between_its_markers(page):
    from common.tables import Table, write_table

    table = Table(page="page", name="t", columns=["a", "b"], rows=[["1", "2"]], caption="Read it well.")
    for _ in range(2):  # writing it again changes nothing
        write_table(table)
        assert page.read_text() == (
            "above\n<!-- begin:t -->\n| a | b |\n|---|---|\n| 1 | 2 |\n\nRead it well.\n<!-- end:t -->\nbelow\n"
            "<!-- begin:other -->\n<!-- end:other -->\n"
        )


def test_write_table_needs_its_markers(page):
    from common.tables import Table, write_table

    with pytest.raises(ValueError, match="must have the lines <!-- begin:absent -->"):
        write_table(Table(page="page", name="absent", columns=["a"], rows=[["1"]]))
