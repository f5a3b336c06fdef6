"""The trainings that methods.py compares differ in what the table names, and in nothing else."""

import pytest

from helpers import TINY
from tinynas.utils.settings import settings_of

PLAIN = {"test": 90.0, "val": 90.0, "train": 91.0, "epochs": 20, "seconds": 10.0}


@pytest.fixture
def methods(load_script):
    return load_script("methods")


@pytest.fixture
def case(methods, monkeypatch):
    from common.method_trainings import Case

    monkeypatch.setitem(methods.BATCH_SIZES, "digits", 32)
    return Case("digits", "0.1M", TINY)


def settings_in(config):
    return {declared.path: declared.default_in(config) for declared in settings_of(type(config))}


def test_rows_differ_from_plain_in_the_settings_that_are_named(methods, case):
    plain = settings_in(case.configuration({}))
    for row, change in {**methods.METHODS, **methods.OPTIONS}.items():
        other = settings_in(case.configuration(change))
        differing = {path for path in plain if plain[path] != other[path]}
        named = {path for path in plain if path.split(".")[-1] in change}
        assert differing - {"distillation", "netaug.width"} == named, row  # widths are those of the network's family


def test_control_takes_as_long_as_the_method(methods):
    compared = {
        "digits 0.1M plain seed 1": PLAIN,
        "digits 0.1M plain seed 2": PLAIN | {"test": 91.0},
        "digits 0.1M NetAug seed 1": PLAIN | {"test": 91.0},
        "digits 0.1M NetAug seed 2": PLAIN | {"test": 93.0},
        "digits 0.1M NetAug time": {"times": 2.3},
        "digits 0.1M plain, 45 epochs seed 1": PLAIN | {"test": 90.5, "epochs": 45},
        "digits 0.1M plain, 45 epochs seed 2": PLAIN | {"test": 91.5, "epochs": 45},
        "digits 0.1M plain, 20 epochs seed 1": PLAIN | {"test": 0.0},  # of no method
    }
    (comparison,) = methods.comparisons(compared, "digits", "0.1M", methods.METHODS)
    table = methods.comparison_table("methods", "methods", [comparison])
    plain, netaug = table.rows
    assert plain[:6] == ["digits", "0.1M", "plain", "2", "90.50 ± 0.71", "91.00 ± 0.00"]
    assert netaug[2:5] == ["NetAug: `--netaug`", "2", "92.00 ± 1.41"]
    assert netaug[6].startswith("+1.50 (")
    assert netaug[7] == "45"
    assert netaug[8].startswith("+1.00 (")
    assert netaug[9] == "0.30"


def test_a_method_that_takes_no_longer_is_compared_with_plain_training(common):
    from common.method_trainings import control_row, epochs_for_as_long

    assert control_row(epochs_for_as_long({"times": 1.1})) == "plain"


def test_measured_cells_are_those_of_the_table(methods, case, results, monkeypatch):
    from common.cells import Cells

    trained = []

    def train(case, row, settings, seed, run="methods"):
        trained.append((run, row, seed))
        case.folder(row, seed, run).mkdir(parents=True)
        return PLAIN | {"epochs": settings.get("epochs", 20), "seconds": 25.0 if settings.get("netaug") else 10.0}

    monkeypatch.setattr("common.method_trainings.train", train)
    methods.measure_with_controls(Cells("methods"), case, {"NetAug": methods.METHODS["NetAug"]}, seeds=methods.SEEDS)
    timed = [("methods digits 0.1M NetAug timed", row, 0) for row in ("plain", "NetAug")] * 3
    rows = [("methods", row, seed) for row in ("plain", "NetAug", "plain, 50 epochs") for seed in methods.SEEDS]
    assert sorted(trained) == sorted(timed + rows)
    (comparison,) = methods.comparisons(Cells("methods").read(), "digits", "0.1M", methods.METHODS)
    assert [len(comparison.trained), len(comparison.plain), len(comparison.control)] == [5, 5, 5]


def test_options_stand_beside_plain_training_of_as_many_epochs(methods):
    cells = {
        "digits 0.1M plain seed 1": PLAIN,
        "digits 0.1M average of weights seed 1": PLAIN | {"val": 90.5},
        "digits 0.1M average of weights time": {"times": 1.04},
    }
    compared = list(methods.comparisons(cells, "digits", "0.1M", methods.OPTIONS))
    plain, average = methods.options_table("methods", "methods-options", compared).rows
    assert plain == ["plain", "1", "90.00", "91.00", "", ""]
    assert average == ["average of weights: `--ema 0.999`", "1", "90.50", "91.00", "+0.50", "1.0"]
