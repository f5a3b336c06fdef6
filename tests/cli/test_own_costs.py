"""Costs of the user's own on the command line: tables of layers."""

import csv
import json

import pytest
import yaml

from helpers import SMALL
from tinynas import Arch, SearchSpace
from tinynas.arch.cost_table import CostTable
from tinynas.arch.layers import layers_of_space

COLUMN = "energy (uJ)"
QUICK = ["search", "--run", "run", "--space", "small.yaml", "--epochs", "1", "--batch-size", "256", "--trials", "10"]


@pytest.fixture
def table(tinynas, tmp_path):
    """A table that `tinynas layers` has written for the space small.yaml and digits, filled in; its path."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    code, out, err = tinynas(
        "layers", "--space", "small.yaml", "--classes", 10, "--in-channels", 1, "--cost", COLUMN, "-o", "energy.csv"
    )
    assert code == 0, err
    assert "next: fill in its last column, energy (uJ)" in out
    layers = layers_of_space(SearchSpace.from_dict({**SMALL, "classes": 10}))
    fill(tmp_path / "energy.csv", [layer.macs / 1000 + 1 for layer in layers])
    return tmp_path / "energy.csv"


def fill(path, values):
    """Fill in the last column of a table."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    for row, value in zip(rows[1:], values, strict=True):
        row[-1] = value
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_layers_command_refuses_a_cost_without_a_unit(fails, tmp_path):
    assert "a column of costs must be titled like 'energy (uJ)', but is 'energy'" in fails("layers", "--cost", "energy")
    assert "macs is a cost that tinynas has itself" in fails("layers", "--cost", "macs (M)")


def test_cost_of_a_table_is_limited_searched_shown_and_compared(tinynas, fails, table, tmp_path):
    costs = CostTable.read(table)
    words = ["--cost-table", "energy.csv", "--limit", "energy=80", "--pareto", "energy,sram"]
    code, out, err = tinynas(*QUICK, *words, "--workers", "2", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["objectives"] == ["energy", "peak_sram_tflm"]
    assert document["limits"] == {"own": {"energy": 80.0}}
    assert document["own_costs"] == {"energy": {"unit": "uJ", "digest": costs.digest}}
    networks = json.loads((tmp_path / "run" / "evaluations.json").read_text())["networks"]
    assert len(networks) == 10
    for entry in networks + document["front"]:
        assert entry["own"]["energy"] == costs.total(Arch.from_dict(entry["arch"])) <= 80
    settings = yaml.safe_load((tmp_path / "run" / "search.yaml").read_text())
    assert settings["cost_tables"] == [str(table)]
    assert settings["own_cost_digests"] == {"energy": costs.digest}

    code, out, err = tinynas("search", "--run", "run", "--resume", "--trials", "12")
    assert code == 0, err
    assert "energy (uJ)" in out
    assert "(energy <= 80; 12 networks evaluated)" in out

    networks = json.loads((tmp_path / "run" / "evaluations.json").read_text())["networks"]
    limit = sorted(entry["own"]["energy"] for entry in networks)[5]
    code, out, err = tinynas("retrain", "run", "--limit", f"energy={limit}", "--epochs", "1", "--json")
    assert code == 0, err
    best = max((e for e in networks if e["own"]["energy"] <= limit), key=lambda e: (e["accuracy"], -e["macs"]))
    assert json.loads(out)["macs"] == best["macs"]
    assert "keeps energy <= 0.001; the smallest values are energy <=" in fails(
        "retrain", "run", "--limit", "energy=0.001"
    )

    code, out, err = tinynas("compare", "run", "--x", "energy", "--json")
    assert code == 0, err
    searched, retrained = json.loads(out)["series"]
    assert retrained["points"][0]["energy"] == best["own"]["energy"], "known from the search"
    assert [point["energy"] for point in searched["points"]] == sorted(point["energy"] for point in searched["points"])
    code, out, err = tinynas("compare", "run")
    assert code == 0, err
    assert "percentage points x decades of energy (uJ) x decades of arena" in out


def test_search_does_not_resume_with_another_table(tinynas, fails, table):
    code, _, err = tinynas(*QUICK, "--cost-table", "energy.csv", "--limit", "energy=80")
    assert code == 0, err
    fill(table, [3.0 for _ in table.read_text().splitlines()[1:]])
    message = fails("search", "--run", "run", "--resume")
    assert "the cost energy differs from that of the search to resume: restore its table" in message
    table.unlink()
    assert "cannot read" in fails("search", "--run", "run", "--resume")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "energy=80"], "no cost energy to limit; there is none: name its source with --cost-table"),
        (["--limit", "sram=20KB"], "sram is no cost of your own; limit it with --sram, to a value like 256KB"),
        (["--limit", "macs=20"], "macs is no cost of your own; limit it with --flops, to a value like 50M"),
        (["--limit", "energy=80", "--limit", "energy=9"], "energy is limited twice, to 80 and 9; remove one"),
        (["--cost-table", "energy.csv", "--limit", "enrgy=80"], "no cost enrgy to limit; there are energy: name"),
        (["--cost-table", "energy.csv", "--limit", "energy=0.01"], "no network of small.yaml fits, the smallest has"),
        (["--cost-table", "energy.csv", "--cost-table", "energy.csv"], "two sources have the cost energy; remove one"),
        (["--cost-table", "none.csv"], "cannot read"),
        (["--latency", "5ms", "--latency-table", "energy.csv"], "energy.csv lacks the column 'microseconds'"),
    ],
)
def test_tables_and_limits_that_do_not_fit_are_errors_in_a_line(fails, table, words, message, tmp_path):
    assert message in fails(*QUICK, *words)
    assert not (tmp_path / "run").exists()


def test_search_names_the_layers_that_a_table_lacks(fails, table, tmp_path):
    fill(table, ["" if number == 2 else 1.0 for number in range(len(table.read_text().splitlines()) - 1)])
    line = table.read_text().splitlines()[3].split(",")
    message = fails(*QUICK, "--cost-table", "energy.csv")
    assert f"has no energy (uJ) for 1 of {len(table.read_text().splitlines()) - 1} layers: line 4 ({line[0]}" in message
    table.write_text("\n".join(row for number, row in enumerate(table.read_text().splitlines()) if number != 3))
    message = fails(*QUICK, "--cost-table", "energy.csv")
    assert "energy.csv lacks 1 of the" in message
    assert line[0] in message
    assert not (tmp_path / "run").exists()


def test_cost_command_adds_up_tables(tinynas, table, tmp_path):
    space = SearchSpace.from_dict({**SMALL, "classes": 10})
    (tmp_path / "arch.yaml").write_text(space.min().to_yaml())
    code, out, err = tinynas("cost", "arch.yaml", "--cost-table", "energy.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["energy"] == CostTable.read(table).total(space.min())
    _, out, _ = tinynas("cost", "arch.yaml", "--cost-table", "energy.csv")
    assert "energy (uJ)" in out
