import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from helpers import SMALL
from tinynas import Arch, SearchSpace, load_arch, load_space
from tinynas.arch.cost_table import CostTable, write_table
from tinynas.arch.layers import layers_of, layers_of_space

KINDS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "ADD", "MUL", "HARD_SWISH"}  # of classifiers


def test_layers_command_writes_a_table_to_fill_in(tinynas, tmp_path):
    code, out, err = tinynas("layers", "--space", "micro", "-o", "board.csv")
    assert code == 0, err
    listed = layers_of_space(load_space("micro"))
    with open(tmp_path / "board.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "microseconds"
    assert {row["microseconds"] for row in rows} == {""}
    assert [int(row["in_channels"]) for row in rows] == [layer.in_channels for layer in listed]
    assert [row["act"].replace("none", "") for row in rows] == [layer.act for layer in listed]
    assert f"all {len(listed)}" in " ".join(out.split())


def test_layers_command_lists_those_for_a_data_set(tinynas, tmp_path):
    words = ["layers", "--space", "micro", "--classes", "7", "--in-channels", "3", "--json"]
    code, out, err = tinynas(*words)
    assert code == 0, err
    document = json.loads(out)
    assert sum(document["by_kind"].values()) == document["layers"]
    with open(tmp_path / document["table"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["out_channels"] for row in rows if row["kind"] == "FULLY_CONNECTED"} == {"7"}
    assert {row["in_channels"] for row in rows if row["kind"] == "CONV_2D" and row["size"] == "32"} == {"3"}


def test_layers_command_reads_a_space_of_the_user(tinynas, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    code, out, err = tinynas("layers", "--space", "small.yaml", "--json")
    assert code == 0, err
    assert set(json.loads(out)["by_kind"]) == KINDS


def test_layers_command_keeps_a_table_that_exists(fails, tmp_path):
    (tmp_path / "board.csv").write_text("days of work")
    assert "board.csv exists and may hold measurements" in fails("layers", "--space", "micro", "-o", "board.csv")
    assert (tmp_path / "board.csv").read_text() == "days of work"


def test_cost_command_shows_the_latency_of_a_table(tinynas, tmp_path):
    layers = layers_of(load_arch("mcunet-in3"))
    write_table(tmp_path / "board.csv", set(layers), dict.fromkeys(layers, 250))
    code, out, err = tinynas("cost", "mcunet-in3", "--latency-table", "board.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["latency"] == pytest.approx(len(layers) * 250e-6, abs=1e-12)
    assert list(json.loads(out))[-1] == "latency"
    _, out, _ = tinynas("cost", "mcunet-in3", "--latency-table", "board.csv")
    assert f"{len(layers) / 4:.3g}ms" in next(line for line in out.splitlines() if line.startswith("latency"))


def test_cost_command_names_layers_that_a_table_lacks(fails, tmp_path):
    layers = layers_of(load_arch("mcunet-in3"))
    write_table(tmp_path / "board.csv", layers[:1], {layers[0]: 1})
    assert "board.csv lacks" in fails("cost", "mcunet-in3", "--latency-table", "board.csv")
    assert "cannot read none.csv" in fails("cost", "mcunet-in3", "--latency-table", "none.csv")


@pytest.fixture
def board(tmp_path):
    """A table for the space small.yaml and digits, by MACs and bytes; its path."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    layers = layers_of_space(SearchSpace.from_dict({**SMALL, "classes": 10}))
    times = {layer: 1 + layer.macs / 1000 + layer.bytes_moved / 100 for layer in layers}
    write_table(tmp_path / "board.csv", layers, times)
    return tmp_path / "board.csv"


QUICK = ("--space", "small.yaml", "--epochs", "1", "--batch-size", "256")


def test_search_command_takes_latency_from_a_table(tinynas, fails, board, tmp_path):
    words = ["search", "--run", "r", *QUICK, "--latency", "200us", "--latency-table", "board.csv", "--trials", "12"]
    code, out, err = tinynas(*words, "--json")
    assert code == 0, err
    document, table = json.loads(out), CostTable.read(board)
    largest = replace(SearchSpace.from_dict(SMALL).max(), classes=10)
    assert table.total(largest) > 200, "the limit decides nothing"
    assert all(e["latency"] == table.total(Arch.from_dict(e["arch"])) / 1e6 <= 200e-6 for e in document["front"])
    assert document["latency_table"] == table.digest
    settings = yaml.safe_load((tmp_path / "r" / "search.yaml").read_text())
    assert settings["latency_table"] == str(board)
    assert settings["latency_table_digest"] == table.digest

    code, out, err = tinynas("search", "--run", "r", "--resume", "--trials", "13", "--workers", "2", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["evaluations"] == 13
    assert all(e["latency"] == table.total(Arch.from_dict(e["arch"])) / 1e6 for e in document["front"])

    times = {layer: 2 * time for layer, time in table.values.items()}
    write_table(tmp_path / "other.csv", times, times)
    other = CostTable.read(tmp_path / "other.csv")
    message = fails("search", "--run", "r", "--resume", "--latency-table", "other.csv")
    assert f"has the latencies of a table with digest {table.digest[:12]}, these are of a table with" in message
    assert other.digest[:12] in message
    board.write_bytes((tmp_path / "other.csv").read_bytes())
    assert "restore the table, or search without --resume" in fails("search", "--run", "r", "--resume")

    code, out, err = tinynas(*words[:3], *words[-4:], "--latency", "200us", "--json")  # not resumed
    assert code == 0, err
    document = json.loads(out)
    assert all(e["latency"] == other.total(Arch.from_dict(e["arch"])) / 1e6 <= 200e-6 for e in document["front"])
    (earlier,) = (tmp_path / "r" / "earlier").iterdir()
    assert earlier.name == f"latency-0.0002-table-{table.digest[:8]}"

    code, out, err = tinynas("search", "--run", "r", "--resume", "--flops", "60K", "--trials", "3", "--json")
    assert code == 0, err
    assert "latency" not in json.loads(out)["front"][0]


def test_search_command_refuses_a_table_before_training(fails, board, tmp_path):
    words = ["search", "--run", "r", *QUICK, "--latency-table", "board.csv"]
    assert "has the times that --latency limits, which is missing; add --latency" in fails(*words)
    message = fails(*words[:4], "micro", *words[5:], "--latency", "1ms")
    assert "layers of micro with 1 input channels and 10 classes" in message
    assert "no network of small.yaml fits, the smallest has latency" in fails(*words, "--latency", "1us")
    assert not (tmp_path / "r" / "supernet.pt").exists()


def test_search_command_does_not_resume_measured_latency_with_a_table(tinynas, fails, board, tmp_path):
    code, _, err = tinynas(
        "search", "--run", "r", *QUICK, "--latency", "1s", "--target", "onnxruntime", "--trials", "1"
    )
    assert code == 0, err
    message = fails("search", "--run", "r", "--resume", "--latency-table", "board.csv")
    assert "has the latencies of this machine, these are of a table with digest" in message


@pytest.fixture
def measured(tmp_path):
    """A CSV file of networks of the space small.yaml and their times, which follow a linear model; its path."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "boards").mkdir()
    space, rng, archs = SearchSpace.from_dict(SMALL), np.random.default_rng(0), {}
    while len(archs) < 30:
        archs[space.sample(rng)] = None
    lines = ["arch,microseconds"]
    for number, arch in enumerate(archs):
        (tmp_path / "boards" / f"{number}.yaml").write_text(arch.to_yaml())
        time = sum(2 + layer.macs / 500 + layer.bytes_moved / 100 for layer in layers_of(arch))
        lines.append(f"{number}.yaml,{time}")
    path = tmp_path / "boards" / "measured.csv"
    path.write_text("\n".join(lines))
    return path


def test_fit_latency_command_writes_a_table_of_a_space(tinynas, measured, tmp_path):
    code, out, err = tinynas("fit-latency", measured, "-o", "table.csv", "--space", "small.yaml", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["networks"] == len(document["errors"]) == 30
    errors = [abs(error) for error in document["errors"].values()]
    assert document["mean_error"] == pytest.approx(sum(errors) / 30)
    assert abs(document["largest_error"]) == abs(document["errors"][document["largest_error_of"]]) == max(errors) < 1
    table = CostTable.read(tmp_path / document["table"])
    space = SearchSpace.from_dict(SMALL)
    table.check_covers(space, "small")
    largest = sum(2 + layer.macs / 500 + layer.bytes_moved / 100 for layer in layers_of(space.max()))
    assert table.total(space.max()) == pytest.approx(largest, rel=0.01)


def test_fit_latency_command_shows_coefficients_and_error(tinynas, measured):
    code, out, err = tinynas("fit-latency", measured)
    assert code == 0, err
    assert "Latency model, fitted to 30 networks" in out
    assert {line.split()[0] for line in out.splitlines()} >= KINDS
    assert "error, a network predicted from the other 29: 0.0% on average, at most 0." in out


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "network,microseconds", "lacks the column 'arch'; its first line must name arch,microseconds"),
        (3, "1.yaml,", "line 3: microseconds must be from 0.001 to 1e+12, but is ''; fix the file"),
        (3, "1.yaml,0", "line 3: microseconds must be from 0.001 to 1e+12, but is '0'"),
        (3, "1.yaml,nan", "line 3: microseconds must be from 0.001 to 1e+12, but is 'nan'"),
        (4, "0.yaml,7", "line 4 has the network of line 2 again; keep one of the two"),
        (5, "none.yaml,7", "line 5: cannot read"),
        (5, "mcunet-in4,7", "line 5: unknown network"),
    ],
)
def test_fit_latency_command_names_what_is_wrong_in_a_file(fails, measured, line, text, message):
    lines = measured.read_text().splitlines()
    lines[line - 1] = text
    measured.write_text("\n".join(lines))
    assert message in fails("fit-latency", measured)


def test_fit_latency_command_refuses_what_it_cannot_fit(fails, measured, tmp_path):
    assert "name both, or neither" in fails("fit-latency", measured, "-o", "table.csv")
    assert "name both, or neither" in fails("fit-latency", measured, "--space", "micro")
    message = fails("fit-latency", measured, "-o", "table.csv", "--space", "detect")
    assert "no measured network has a layer of kind 'RESIZE_NEAREST_NEIGHBOR'" in message
    measured.write_text("arch,microseconds\nmcunet-in3,50000\nmobilenet-v2-tiny,20000\n")
    assert "2 measured networks are too few to fit the 13 coefficients" in fails("fit-latency", measured)
    assert not (tmp_path / "table.csv").exists()


def test_latency_table_and_vela_exclude_each_other(fails, board):
    words = ["search", "--run", "r", "--target", "ethos-u55-128", "--latency", "1ms", "--latency-table", str(board)]
    problem = f"the latency on ethos-u55-128 is Vela's estimate, not a sum of {board}; remove --latency-table"
    assert problem in fails(*words)
