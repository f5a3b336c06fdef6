import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import SMALL
from tinynas.cli.app import app
from typer.main import get_command

from tinynas.arch.cost import steps
from tinynas.arch.zoo import load_arch, shipped_networks
from tinynas.experiment.config import RetrainConfig, SearchPlan, SupernetConfig

COMMANDS = ["search", "retrain", "compare", "eval", "export", "cost", "spaces", "quickstart"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_what_every_flag_does(tinynas, command):
    code, out, _ = tinynas(command, "--help")
    assert code == 0
    assert f"Usage: tinynas {command}" in out
    words = " ".join(out.replace("│", " ").split())
    for option in get_command(app).commands[command].params:
        assert option.opts[0] in words or option.metavar in words
        assert " ".join(option.help.split()) in words


def test_help_tells_the_true_defaults(tinynas):
    def default(command, flag):
        words = " ".join(re.sub("[│╭╮╰╯─]", " ", tinynas(command, "--help")[1]).split())
        return words.split(f" {flag} ")[1].split("Default: ")[1].split(" -")[0]

    supernet, search, retraining = SupernetConfig(), SearchPlan, RetrainConfig().recipe
    assert default("search", "--space").endswith(f"{supernet.space}.")
    assert default("search", "--data").endswith(f"{supernet.data}.")
    assert default("search", "--epochs").endswith(f"{supernet.recipe.epochs}.")
    assert default("search", "--trials").endswith(f"{search.trials}.")
    assert default("retrain", "--epochs").endswith(f"{retraining.epochs}.")
    for command, recipe in (("search", supernet.recipe), ("retrain", retraining)):
        assert default(command, "--lr").startswith(f"{recipe.lr},")
        assert default(command, "--batch-size").startswith(f"{recipe.batch_size},")
        assert default(command, "--seed").startswith(f"{recipe.seed},")


def test_help_answers_in_half_a_second():
    seconds = []
    for _ in range(8):  # on a busy machine one of them is undisturbed
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tinynas.cli", "search", "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.5


def test_cost_as_json(tinynas):
    code, out, _ = tinynas("cost", "mcunet-in3", "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": "mcunet-in3",
        "resolution": 176,
        "macs": 81_785_520,
        "params": 737_408,
        "peak_sram": 340_736,
        "peak_sram_inplace_dw": 266_344,
        "flash": 790_536,
    }


def test_cost_shows_what_every_layer_holds(tinynas, tmp_path):
    code, out, _ = tinynas("cost", "mcunet-in3", "--plot", "memory.png")
    assert code == 0
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "█" in line}
    assert len(lines) == len(list(steps(load_arch("mcunet-in3"))))
    assert lines["stages.1.1.depthwise"] == ["█" * 40, "340,736"]
    assert lines["stem"][1] == f"{176 * 176 * 3 + 88 * 88 * 16:,}"
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", shipped_networks())
def test_cost_names_the_network(tinynas, name):
    assert json.loads(tinynas("cost", name, "--json")[1])["name"] == name


def test_cost_at_another_resolution(tinynas):
    _, out, _ = tinynas("cost", "mcunet-in3", "--resolution", "96", "--json")
    assert json.loads(out)["resolution"] == 96
    assert json.loads(out)["macs"] < 30e6


def test_cost_as_a_table_with_a_check(tinynas):
    _, out, _ = tinynas("cost", "mobilenet-v2-tiny", "--check")
    assert out.count("23,499,152") == 2
    assert "stages.1.0.depthwise" in out


def test_spaces(tinynas):
    code, out, _ = tinynas("spaces")
    assert code == 0
    for name in ("micro", "mobile32", "mcu", "mobile", "detect", "mcunet-in3"):
        assert name in out
    document = json.loads(tinynas("spaces", "--json")[1])
    assert document["networks"]["mcunet-in3"]["min"] == document["networks"]["mcunet-in3"]["max"]


def test_the_quickstart_shortened(tinynas, tmp_path):
    code, out, err = tinynas("quickstart", "--epochs", "1", "--trials", "5", "--json", "--run", "q")
    assert code == 0, err
    document = json.loads(out)
    assert [s["name"] for s in document["series"]] == ["searched", "retrained", "retrained + NetAug"]
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "supernet" in err

    # Everything else works on the run it left, with no argument.
    run = tmp_path / "q"
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "q")
    code, out, err = tinynas("retrain", "--netaug", "--epochs", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["model"].endswith("retrain/netaug-2/model.safetensors")
    code, out, err = tinynas("eval")
    assert code == 0
    assert "all classes" in out
    code, out, err = tinynas("export")
    assert code == 0, err
    assert "ONNX int8" in out
    folder = Path("runs/q/retrain/netaug-2")
    assert {"model.onnx", "model.int8.onnx", "export.json"} < {path.name for path in folder.iterdir()}
    code, out, err = tinynas("export", "--json", "--batch", "dynamic", "--margin", "-100", "--out", "deploy")
    assert [row["int8"] for row in json.loads(out)["files"]] == [False, False, True]
    assert "warning: model.int8.onnx loses" in err
    code, out, err = tinynas("export", "--out", "deploy/model.onnx")
    assert (code, err) == (1, "tinynas: cannot write to deploy/model.onnx: File exists; choose another folder\n")
    code, out, err = tinynas("compare")
    assert code == 0
    assert "hypervolume" in out
    code, out, err = tinynas("search", "--run", "runs/q", "--flops", "200K", "--trials", "3")
    assert code == 0
    assert "supernet" not in out, "it trained a supernet that was trained"
    assert "best" in out


def test_a_search_is_resumed_with_its_limits(tinynas, tmp_path, monkeypatch):
    from tinynas.pipelines import search as searching

    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    words = ["search", "--flops", "60K", "--space", space, "--epochs", "2", "--trials", "6", "--batch-size", "128"]

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(searching, "search_space", killed)
        code, _, err = tinynas(*words)
        assert code == 130
        assert "--resume goes on" in err
    code, out, err = tinynas("search", "--resume", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["limits"] == {"macs": 60_000}
    assert document["evaluations"] == 6


def test_one_supernet_is_searched_in_every_way(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    run, database = tmp_path / "run", f"sqlite:///{tmp_path / 'study'}"
    code, out, err = tinynas("search", "--run", run, "--space", space, "--epochs", "1", "--trials", "3")
    assert code == 0, err

    words = ["search", "--run", run, "--trials", "8", "--json"]
    code, out, err = tinynas(*words, "--pareto", "--flops", "30K:60K", "--workers", "2")
    assert code == 0, err
    document = json.loads(out)
    assert document["limits"] == {"macs": 60_000, "min_macs": 30_000}
    assert all(30_000 <= entry["macs"] <= 60_000 for entry in document["front"])
    assert document["evaluations"] == 8

    code, out, err = tinynas(*words, "--latency", "1s", "--storage", database, "--sampler", "predictor")
    assert code == 0, err
    document = json.loads(out)
    assert all(0 < entry["latency"] <= 1 for entry in document["front"])
    assert "# " in (run / "best.yaml").read_text()
    assert "latency" in (run / "best.yaml").read_text()
    assert yaml.safe_load((run / "search.yaml").read_text())["storage"] == database

    code, out, err = tinynas("search", "--run", run, "--resume", "--trials", "12")
    assert code == 0, err
    assert "latency <= 1s; 12 networks evaluated" in out
    assert "Kendall's tau" in out


def test_progress_in_a_pipe_is_plain_lines(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    _, out, _ = tinynas("search", "--space", space, "--epochs", "1", "--trials", "3")
    assert "data: digits" in out
    assert "\x1b" not in out
    assert "supernet" in out
    assert "search 3/3: best" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--flops", "50Q"], "cannot read '50Q': expected a count like"),
        (["search", "--flops", ""], "cannot read '': expected a count like"),
        (["search", "--flops", "2M:1M", "--pareto"], "`low <= high` must hold, but got (low=2000000, high=1000000)"),
        (["search", "--flops", "1M:2M"], "a range of MACs is for --pareto"),
        (["search", "--latency", "5"], "cannot read '5': expected a time like 5ms"),
        (["search", "--workers", "0"], "`workers > 0` must hold"),
        (["search", "--sampler", "tpo"], "did you mean 'tpe'?"),
        (["search", "--sram", "much"], "cannot read 'much': expected a size like"),
        (
            ["search", "--sram", "64KB", "--sram-model", "inplace"],
            "unknown SRAM model 'inplace'; did you mean 'inplace_dw'?",
        ),
        (
            ["search", "--flops", "10"],
            "no network of the space fits, the smallest has macs 3,053,312 (limit 10); raise the limit",
        ),
        (["search", "--space", "mirco"], "unknown search space 'mirco'; did you mean 'micro'?"),
        (["search", "--data", "digit"], "unknown data set 'digit'; did you mean 'digits'?"),
        (["search", "--epochs", "0"], "`0 < epochs < inf` must hold, but got (epochs=0)"),
        (["search", "--trials", "0"], "`trials > 0` must hold, but got (trials=0)"),
        (["search", "--sampler", "tpee"], "unknown sampler 'tpee'; did you mean 'tpe'?"),
        (["search", "--resume"], "no */config.yaml in runs"),
        (["search", "--resume", "--run", "nothing"], "nothing to resume in nothing"),
        (["retrain"], "no */best.yaml in runs; `tinynas search --flops 50M` makes a run"),
        (["retrain", "--resume"], "no unfinished retraining in runs"),
        (["retrain", "mcunet-in3", "--resume"], "no unfinished retraining in runs"),
        (["retrain", "runs/nothing"], "there is no run folder runs/nothing"),
        (["retrain", "mcunet-in33"], "did you mean 'mcunet-in3'?"),
        (["retrain", "."], "has no best.yaml"),
        (["compare", "nothing"], "nothing to compare in nothing"),
        (["eval", "nothing.safetensors"], "cannot read nothing.safetensors"),
        (["eval"], "no */retrain/*/model.safetensors in runs"),
        (["export"], "no */retrain/*/model.safetensors in runs"),
        (["export", "nothing.safetensors"], "cannot read nothing.safetensors"),
        (["cost", "mcunet.yaml"], "cannot read mcunet.yaml"),
        (["cost", "mcunet-in3", "--resolution", "0"], "`resolution > 0` must hold"),
    ],
)
def test_bad_input_is_answered_in_one_line(fails, words, message):
    assert message in fails(*words)


def test_wrong_usage_exits_with_2(tinynas):
    for words in (["search", "--flop", "50M"], ["cost"], ["nonsense"], ["search", "--epochs", "many"]):
        assert tinynas(*words)[0] == 2


def test_an_unfinished_supernet_is_not_searched(fails, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text("space: micro\ndata: digits\nrecipe: {epochs: 3}\n")
    assert "the supernet of r is not trained to its end; add --resume" in fails("search", "--run", "r")


def test_a_config_that_is_damaged(fails, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text("space: micro\ndata: digits\nrecipe: {epoch: 3}\n")
    assert "did you mean 'epochs'" in fails("search", "--run", "r")
    (tmp_path / "r" / "config.yaml").write_text("- 3\n")
    assert "must be a mapping" in fails("search", "--run", "r")
