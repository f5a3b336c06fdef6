import json

import pytest
from tinynas.cli.__main__ import _how_to_continue


@pytest.fixture
def quick(searched, monkeypatch):
    monkeypatch.chdir(searched.parent)
    return ["tune", searched, "--trials", "3", "--epochs", "2", "--batch-size", "16"]


def test_tune_command_shows_the_recipes_and_what_comes_next(quick, watched, tinynas):
    code, out, err = tinynas(*quick, "--dropout", "0")
    assert code == 0, err
    assert "Recipes tried: 3" in out
    assert "augmentation" in out
    assert "dropout" not in out.split("Recipes tried")[1].split("written to")[0]
    assert "tune/recipe.yaml: the best recipe" in out


def test_tune_command_prints_json(quick, watched, tinynas):
    code, out, err = tinynas(*quick, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert len(document["tried"]) == 3
    assert document["tried"][0]["is_complete"]
    assert document["recipe"].endswith("tune/recipe.yaml")


def test_tune_command_needs_a_searched_run(fails):
    message = "there is no run folder mcunet-in3; tune needs the folder of a searched run"
    assert message in fails("tune", "mcunet-in3")
    assert message in fails("tune", "mcunet-in3", "--flops", "1M")


def test_tune_command_refuses_limits_that_no_network_keeps(quick, watched, fails):
    assert "no network that" in fails(*quick, "--flops", "1")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["tune"], "run it again"),
        (["reproduce", "netaug"], "run it again"),
        (["retrain", "r", "--front=2"], "run it again"),
        (["quickstart", "--run", "q"], "run it again"),
        (["search"], "add --resume"),
    ],
)
def test_interrupted_command_says_what_continues_it(words, advice):
    expected = f"{advice} to continue from the last checkpoint, if there is one"
    assert _how_to_continue(["tinynas", *words]) == expected


def test_interrupted_command_without_checkpoints_is_to_be_run_again():
    assert _how_to_continue(["tinynas", "data", "yolo:x"]) == "run it again"
