"""What transfer.py compares: networks that differ in their pretraining alone, with rates chosen on search-val."""

import pytest

from helpers import TINY


@pytest.fixture
def transfer(load_script):
    return load_script("transfer")


@pytest.fixture
def digits(transfer):
    return transfer.Transfer("0.1M", "digits")


def test_rate_is_the_best_on_search_val_and_of_the_plain_row(transfer, digits, results):
    from common.cells import Cells

    cells = Cells("transfer")
    for number, rate in enumerate(transfer.RATES):
        for row, value in (("plain", (1, 5, 3, 5)[number]), ("from scratch", number)):
            cells.measure(digits.rate_cell(row, rate), dict, {"val": float(value)}.items())
    for row in ("plain", "teacher", "NetAug"):
        assert digits.choose_rate(cells, row) == transfer.RATES[1]
    assert digits.choose_rate(cells, "from scratch") == transfer.RATES[3]
    _, rates = transfer.tables(cells.read())
    assert ["0.1M", "digits", "plain", "1.00", "5.00", "3.00", "5.00", "0.01"] in rates.rows


def test_table_pairs_rows_by_seed(transfer, digits):
    cells = {}
    for seed, (plain, netaug) in enumerate(((80.0, 81.0), (82.0, 84.0)), 1):
        cells[f"{digits} plain seed {seed}"] = {"test": plain}
        cells[f"{digits} NetAug seed {seed}"] = {"test": netaug}
    table, _ = transfer.tables(cells)
    assert table.rows == [
        ["0.1M", "digits", "plain", "2", "81.00 ± 1.41", "", "-"],
        ["0.1M", "digits", "NetAug", "2", "82.50 ± 2.12", "+1.50 (-4.85 to +7.85)", "0.20"],
    ]


def test_pretrained_networks_are_those_of_the_methods(transfer, results, monkeypatch):
    from common.cells import Cells

    trained = []

    def train(case, row, settings, seed, run="methods"):
        trained.append(f"{row} of {run}")
        model = case.folder(row, seed, run) / "model.safetensors"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.touch()
        return {"seconds": 24.0 if settings.get("netaug") else 10.0}

    monkeypatch.setattr(transfer, "train", train)
    monkeypatch.setattr("common.method_trainings.train", train)
    case = transfer.Case("fashion-mnist", "0.1M", TINY)
    assert transfer.pretrained(case, transfer.LONGER, 1) == case.folder("plain, 50 epochs", 1) / "model.safetensors"
    assert transfer.pretrained(case, "NetAug", 1).exists()
    timed = [f"{row} of methods {case} NetAug timed" for row in ("plain", "NetAug")] * 3
    assert trained == [*timed, "plain, 50 epochs of methods", "NetAug of methods"]
    rows = ("NetAug time", "plain, 50 epochs seed 1", "NetAug seed 1")
    assert set(Cells("methods").read()) == {f"{case} {row}" for row in rows}


def test_fine_tuning_begins_with_the_pretrained_weights(transfer, digits, results, monkeypatch):
    configs = []

    def retrain(folder, arch, config):
        configs.append(config)
        return {}

    monkeypatch.setattr(transfer, "retrain_network", retrain)
    monkeypatch.setattr(transfer, "case_of", lambda data, size: transfer.Case(data, size, TINY))
    monkeypatch.setattr(transfer, "pretrained", lambda case, row, seed: f"/models/{row} {seed}")
    for row in ("NetAug", transfer.FRESH):
        digits.fine_tune("name", row, 2, 0.03)
    pretrained, fresh = configs
    assert (pretrained.init, fresh.init) == ("/models/NetAug 2", "kaiming-normal")
    assert pretrained.recipe == fresh.recipe
    assert (fresh.recipe.lr, fresh.recipe.seed, fresh.recipe.epochs, fresh.netaug) == (0.03, 2, 30, None)
