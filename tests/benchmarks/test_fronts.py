"""The fronts that fronts.py compares: of the same networks, seed by seed."""

import pytest

from helpers import TINY
from tinynas import cost
from tinynas.utils.units import format_count

SIZE = format_count(cost(TINY).macs)


@pytest.fixture
def fronts(load_script):
    return load_script("fronts")


def cell(test):
    return {"test": test}


def test_networks_are_compared_in_all_ways(fronts, results):
    cells = {
        "networks": [{"arch": TINY.to_dict(), "val": 80.0}],
        f"fashion-mnist {SIZE} plain seed 1": cell(90.0),
        f"fashion-mnist {SIZE} plain seed 2": cell(91.0),
        f"fashion-mnist {SIZE} NetAug seed 1": cell(91.0),
        f"fashion-mnist {SIZE} NetAug seed 2": cell(91.0),
    }
    table, volumes = fronts.tables(cells)
    assert [row[2:5] for row in table.rows] == [
        ["plain", "2", "90.50 ± 0.71"],
        ["NetAug", "2", "91.00 ± 0.00"],
    ]
    assert [row[0] for row in volumes.rows] == ["plain", "NetAug"]
    assert table.rows[1][5].startswith("+0.50 (")


def test_networks_scaled_by_hand_are_those_of_the_methods(fronts, results):
    from common.cells import Cells

    Cells("methods").measure("fashion-mnist 0.3M plain seed 2", cell, 92.0)
    Cells("methods").measure("fashion-mnist 0.03M plain seed 2", cell, 88.0)  # below the front's smallest
    assert fronts.fronts({})[fronts.BY_HAND] == {1: [], 2: [(298_856, 92.0)], 3: []}
