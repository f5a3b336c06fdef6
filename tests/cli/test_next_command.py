"""Commands name the next one. The fixture `tinynas` parses every one that any test of a command prints."""

import json
import shlex

import pytest
from tinynas.cli.screen import Screen

from helpers import check_next_command


def last_line(result):
    code, out, err = result
    assert code == 0, err
    return out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "next_words"),
    [
        ("cost mcunet-in3", "retrain mcunet-in3"),
        ("data digits", "search --data digits"),
        ("scale --space micro --data digits --flops 100K --out 'a b.yaml'", "retrain 'a b.yaml' --data digits"),
    ],
)
def test_commands_end_with_the_next_one(tinynas, words, next_words):
    assert last_line(tinynas(*shlex.split(words))) == f"next: tinynas {next_words}"


def test_the_way_from_a_search_to_a_report(tinynas, searched, monkeypatch):
    monkeypatch.setattr("tinynas.cli.screen.find_spec", lambda name: None)
    line = last_line(tinynas("retrain", searched, "--epochs", "1"))
    plain = searched / "retrain" / "plain"
    assert line == f"next: tinynas export {plain} --to onnx"
    assert last_line(tinynas(*shlex.split(line)[2:])) == f"next: tinynas eval {plain}"
    assert last_line(tinynas("eval", plain)) == line
    line = last_line(tinynas("compare", searched))
    assert line == f"next: tinynas report {searched}"
    assert tinynas(*shlex.split(line)[2:])[0] == 0


def test_json_is_the_whole_output(tinynas):
    _, out, err = tinynas("cost", "mcunet-in3", "--json")
    assert json.loads(out)["name"] == "mcunet-in3"
    assert "next:" not in out + err


def test_names_are_quoted_for_a_shell(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "it's a run; rm *"
    folder.mkdir()
    Screen().next_command("retrain", folder)
    line = capsys.readouterr().out.removesuffix("\n")
    assert shlex.split(line) == ["next:", "tinynas", "retrain", str(folder)]
    check_next_command(line.removeprefix("next: tinynas "))


@pytest.mark.parametrize("text", ["retrain nowhere/else", "eval nowhere", "export --flops 3"])
def test_a_wrong_next_command_is_noticed(text):
    with pytest.raises(Exception, match=r"does not exist|No such option"):
        check_next_command(text)
