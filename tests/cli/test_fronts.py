"""Fronts of other costs than MACs, on the command line: search, retrain and compare."""

import json

import pytest
import yaml
from tinynas.cli.settings_options import with_implied_values

from helpers import SMALL


@pytest.fixture
def words(tmp_path):
    """A quick search of a run."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return ["search", "--run", "run", "--space", "small.yaml", "--epochs", "1", "--batch-size", "256", "--trials", "14"]


def test_pareto_needs_no_value():
    assert with_implied_values(["--pareto"]) == ["--pareto", "macs"]
    assert with_implied_values(["--pareto", "--flops", "9"]) == ["--pareto", "macs", "--flops", "9"]
    assert with_implied_values(["--pareto", "sram,macs", "-h"]) == ["--pareto", "sram,macs", "-h"]
    assert with_implied_values(["--pareto=sram"]) == ["--pareto=sram"]
    assert with_implied_values(["--no-pareto"]) == ["--no-pareto"]


def is_beaten(entry, others, names):
    for other in others:
        better = [other["accuracy"] > entry["accuracy"], *(other[name] < entry[name] for name in names)]
        worse = [other["accuracy"] < entry["accuracy"], *(other[name] > entry[name] for name in names)]
        if any(better) and not any(worse):
            return True
    return False


def test_search_for_two_costs_keeps_the_front_and_all_networks(tinynas, fails, words, tmp_path, monkeypatch):
    code, out, err = tinynas(*words, "--pareto", "sram,macs", "--workers", "2", "--json")
    assert code == 0, err
    document = json.loads(out)
    costs = ["peak_sram_tflm", "macs"]
    assert document["objectives"] == costs
    run = tmp_path / "run"
    networks = json.loads((run / "evaluations.json").read_text())["networks"]
    assert len(networks) == document["evaluations"] == 14
    unbeaten = [entry["arch"] for entry in networks if not is_beaten(entry, networks, costs)]
    assert all(entry["arch"] in unbeaten for entry in document["front"])
    best = document["front"][document["best"]]
    assert best["accuracy"] == max(entry["accuracy"] for entry in networks)
    assert yaml.safe_load((run / "search.yaml").read_text())["pareto"] == ["sram", "macs"]
    assert (run / "front.png").read_bytes().startswith(b"\x89PNG")

    message = fails("search", "--run", "run", "--resume", "--pareto", "--trials", "15")
    assert "the search to resume searches the front of accuracy and sram,macs; remove --pareto, or search" in message
    code, out, err = tinynas("search", "--run", "run", "--resume", "--trials", "16")
    assert code == 0, err
    assert "16 networks evaluated" in out
    assert "by accuracy and TFLM arena and MACs (FLOPs)" in out
    assert "TFLM arena" in out

    networks = json.loads((run / "evaluations.json").read_text())["networks"]
    for limit in sorted({entry["peak_sram_tflm"] for entry in networks})[::4]:
        code, out, err = tinynas("retrain", "run", "--sram", limit, "--epochs", "1", "--name", f"at{limit}", "--json")
        assert code == 0, err
        within = [entry for entry in networks if entry["peak_sram_tflm"] <= limit]
        best = max(within, key=lambda entry: (entry["accuracy"], -entry["macs"]))
        assert {name: json.loads(out)[name] for name in costs} == {name: best[name] for name in costs}
    assert "did not record the latency of its networks" in fails("retrain", "run", "--latency", "5ms")
    assert "cannot read 'energy': expected" in fails("retrain", "run", "--limit", "energy")

    code, out, err = tinynas("compare", "run", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["costs"] == costs
    assert list(document["reference"]) == [*costs, "accuracy"]
    assert [series["name"] for series in document["series"]] == ["searched", "retrained"]
    pictures = []
    monkeypatch.setattr("tinynas.experiment.compare.render", lambda figure: pictures.append(figure) or b"")
    code, out, err = tinynas("compare", "run", "--x", "sram,macs")
    assert code == 0, err
    assert pictures[0].axes[0].get_ylabel() == "accuracy (%)"
    code, out, err = tinynas("compare", "run", "--x", "sram", "--json")
    assert code == 0, err
    front = json.loads(out)["series"][0]["points"]
    expected = {
        (entry["peak_sram_tflm"], entry["accuracy"])
        for entry in networks
        if not is_beaten(entry, networks, ["peak_sram_tflm"])
    }
    assert {(point["peak_sram_tflm"], point["accuracy"]) for point in front} == expected
    assert "unknown cost 'srma'; did you mean 'sram'?" in fails("compare", "run", "--x", "srma")
    assert "no network has a known latency; choose another cost" in fails("compare", "run", "--x", "latency")
    assert "no network has a known latency and a known macs" in fails("compare", "run", "--x", "latency,macs")
    assert "keeps sram <= 1KB; the smallest values are sram <= " in fails("retrain", "run", "--sram", "1KB")
    code, out, _ = tinynas("compare", "run", "--x", "flash")
    assert "percentage points x decades of int8 TFLite file that a series dominates" in out


@pytest.mark.parametrize(
    ("pareto", "message"),
    [
        ("sram,macs,flash", "a front is of accuracy and at most 2 costs, but got sram,macs,flash"),
        ("srma", "unknown cost 'srma'; did you mean 'sram'?"),
        ("sram,arena", "sram and arena are the same cost on tflm; name one of them"),
        ("latency", "target tflm has no source of latency; add --latency-table"),
        ("peak_sram_vela", "target tflm has no peak_sram_vela; choose another --target, or another cost"),
        ("energy", "unknown cost 'energy'"),
        ("", "expected one cost or two, like sram,macs, but got ''"),
        ("sram,", "expected one cost or two, like sram,macs, but got 'sram,'"),
        ("sram,sram", "sram,sram names a cost twice; name it once"),
    ],
)
def test_costs_that_no_front_can_have_are_errors_in_a_line(fails, words, pareto, message, tmp_path):
    assert message in fails(*words, f"--pareto={pareto}")
    assert not (tmp_path / "run").exists()


def test_pareto_without_a_value_is_the_front_of_macs(tinynas, words, tmp_path):
    code, out, err = tinynas(*words, "--pareto", "--json")
    assert code == 0, err
    assert json.loads(out)["objectives"] == ["macs"]
    assert "macs" in (tmp_path / "run" / "search.yaml").read_text()
    config = tmp_path / "search.yaml"
    config.write_text("pareto: true\n")  # as earlier versions wrote it
    code, out, err = tinynas(*words, "--config", config, "--trials", "15", "--json")
    assert code == 0, err
    assert json.loads(out)["evaluations"] == 15, "the same study"
    code, out, err = tinynas(*words, "--config", config, "--no-pareto", "--trials", "4", "--json")
    assert code == 0, err
    assert yaml.safe_load((tmp_path / "run" / "search.yaml").read_text())["pareto"] == []


def test_a_run_of_an_earlier_version_reads_as_before(tinynas, words, tmp_path):
    assert tinynas(*words)[0] == 0
    run = tmp_path / "run"
    settings = yaml.safe_load((run / "search.yaml").read_text())
    settings["pareto"] = False
    del settings["cost_tables"]
    (run / "search.yaml").write_text(yaml.safe_dump(settings))
    front = json.loads((run / "front.json").read_text())
    del front["objectives"], front["sha256"]
    (run / "front.json").write_text(json.dumps(front))
    (run / "evaluations.json").unlink()
    limit = sorted(entry["macs"] for entry in front["front"])[0]
    code, out, err = tinynas("retrain", "run", "--flops", limit, "--epochs", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["macs"] == limit
    code, out, err = tinynas("compare", "run", "--json")
    assert code == 0, err
    assert json.loads(out)["costs"] == ["macs"]
    points = json.loads(out)["series"][0]["points"]
    assert [point["macs"] for point in points] == [entry["macs"] for entry in front["front"]]
    code, out, err = tinynas("search", "--run", "run", "--resume", "--trials", "15", "--json")
    assert code == 0, err
    assert json.loads(out)["evaluations"] == 15
