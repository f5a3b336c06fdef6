"""The fronts that fronts.py compares: of the same networks, seed by seed."""

import pytest

from helpers import TINY
from tinynas import Budget, cost, load_space
from tinynas.arch.scaling import scale_to
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
    assert [row[1:5] for row in table.rows] == [
        ["searched, plain", "80.00", "2", "90.50 ± 0.71"],
        ["searched, NetAug", "80.00", "2", "91.00 ± 0.00"],
    ]
    assert [row[0] for row in volumes.rows] == ["searched, plain", "searched, NetAug"]
    assert table.rows[1][5].startswith("+0.50 (")


def test_networks_scaled_by_hand_have_the_macs_of_the_searched_ones(fronts, results):
    from common.method_trainings import Case

    searched = scale_to(load_space("micro").max(), Budget(macs=200_000))
    by_hand = fronts.scaled_by_hand(Case("digits", "200K", searched))
    assert by_hand.arch != searched
    assert 0.9 * cost(searched).macs <= cost(by_hand.arch).macs <= cost(searched).macs
