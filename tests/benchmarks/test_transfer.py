"""The trainings that transfer.py compares differ in what the table names, and in nothing else."""

import pytest

from helpers import TINY
from tinynas.utils.settings import settings_of


@pytest.fixture
def transfer(load_script):
    return load_script("transfer")


def settings_in(config):
    return {declared.path: declared.default_in(config) for declared in settings_of(type(config))}


def test_rows_differ_from_plain_in_the_settings_that_are_named(transfer):
    base = {"epochs": transfer.EPOCHS} | transfer.PRETRAINING
    plain = settings_in(transfer.configuration(TINY, "digits", base))
    named = {}
    for row, change in transfer.ROWS.items():
        other = settings_in(transfer.configuration(TINY, "digits", base | change))
        named[row] = {path for path in plain if plain[path] != other[path] and not path.startswith("netaug.")}
    assert named == {
        "plain": set(),
        "plain, 4 times the epochs": {"recipe.epochs"},
        "plain, NetAug's initial weights": {"init"},
        "teacher": {"distillation", "distillation.teacher"},
        "NetAug": {"netaug", "init"},
    }
    assert transfer.settings_text("NetAug") == "`--netaug --expand-until 1.0 --init kaiming-uniform`"


def test_rate_is_the_best_on_search_val_and_of_the_plain_row(transfer, results):
    from common.cells import Cells

    cells = Cells("transfer")
    for number, rate in enumerate(transfer.RATES):
        for row, value in (("plain", (1, 5, 3, 5)[number]), ("from scratch", number)):
            cells.measure(transfer.rate_cell("0.1M", "elpv", row, rate), dict, {"val": float(value)}.items())
    for row in ("plain", "teacher", "NetAug"):
        assert transfer.choose_rate(cells, "0.1M", "elpv", row) == transfer.RATES[1]
    assert transfer.choose_rate(cells, "0.1M", "elpv", "from scratch") == transfer.RATES[3]
    *_, rates = transfer.tables(cells.read())
    assert ["0.1M", "elpv", "plain", "1.00", "5.00", "3.00", "5.00", "0.03"] in rates.rows
    assert ["0.3M", "elpv", "plain", "-", "-", "-", "-", "-"] in rates.rows


def test_table_pairs_rows_by_seed(transfer):
    cells = {}
    for seed, (plain, netaug) in enumerate(((80.0, 81.0), (82.0, 84.0))):
        cells[transfer.transfer_cell("0.1M", "digits", "plain", seed)] = {"accuracy": plain}
        cells[transfer.transfer_cell("0.1M", "digits", "NetAug", seed)] = {"accuracy": netaug}
    table, *_ = transfer.tables(cells)
    assert ["0.1M", "digits", "plain", "2", "81.00 ± 1.41", "-"] in table.rows
    (row,) = (row for row in table.rows if row[:3] == ["0.1M", "digits", "NetAug"])
    assert row[3:] == ["2", "82.50 ± 2.12", "+1.50 (-4.85 to +7.85)"]
