"""Output and files do not depend on the locale's encoding."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers import ROOT, model_of
from tinynas.models.model_file import save_model

ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
NAMES = ("cat", "кошка", "圆")


def run(*words, **environment):
    """Run a command in a process of its own; return its stdout in bytes. Warnings about encodings are errors."""
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-m", "tinynas.cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.run([*command, *map(str, words)], env=environment, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr.decode()
    return process.stdout


@pytest.fixture
def named_model(space, tmp_path):
    """The file of a classifier of classes with names in several scripts."""
    path = tmp_path / "model.safetensors"
    save_model(path, model_of(replace(space.min(), classes=3), classes=NAMES))
    return path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("L", (12, 12), 90).save(path)
    return path


@pytest.mark.parametrize(
    ("environment", "encoding"),
    [(ASCII, "ascii"), ({"PYTHONIOENCODING": "latin-1"}, "latin-1"), ({"PYTHONIOENCODING": "utf-8"}, "utf-8")],
)
def test_output_escapes_what_its_encoding_lacks(named_model, picture, tmp_path, environment, encoding):
    out = tmp_path / "out"
    text = run("predict", named_model, picture, "--out", out, **environment).decode(encoding)
    for name in NAMES:
        assert name.encode(encoding, "backslashreplace").decode(encoding) in text
    (prediction,) = json.loads((out / "predictions.json").read_text("utf-8"))
    assert set(prediction["classes"]) == set(NAMES)


def test_json_output_has_names_in_any_encoding(named_model, picture, tmp_path):
    (prediction,) = json.loads(run("predict", named_model, picture, "--out", tmp_path / "out", "--json", **ASCII))
    assert set(prediction["classes"]) == set(NAMES)


def test_tables_with_lines_and_bars_are_written_in_ascii():
    assert rb"\u2588" in run("cost", "mcunet-in3", **ASCII)


def test_error_names_a_file_that_the_encoding_lacks(tmp_path):
    command = [sys.executable, "-m", "tinynas.cli", "cost", str(tmp_path / "圆.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **ASCII}
    process = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert process.returncode == 1
    assert process.stderr.decode("ascii").count("\n") == 1


def test_name_that_the_file_system_cannot_encode_is_an_error_of_one_line(fails, monkeypatch):
    def evaluate(*arguments):
        raise UnicodeEncodeError("ascii", "a/圆.yaml", 2, 3, "ordinal not in range")

    monkeypatch.setattr("tinynas.experiment.runs.find_model", evaluate)
    assert fails("eval", "m.safetensors") == (
        "tinynas: the locale's encoding, ascii, lacks a character of the name 'a/\\u5706.yaml'; "
        "set the environment variable PYTHONUTF8=1\n"
    )


@pytest.fixture
def named_folders(tmp_path):
    """An image folder of classes with names in several scripts."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in NAMES:
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"imagefolder:{tmp_path / 'pictures'}"


def test_class_names_are_those_of_the_folders_in_any_locale(named_folders, space, tmp_path):
    """A model of these classes evaluates on them, which needs the same names in the same order."""
    path = tmp_path / "model.safetensors"
    save_model(path, model_of(replace(space.min(), in_channels=3), classes=NAMES))
    report = json.loads(run("eval", path, "--data", named_folders, "--json", **ASCII))
    assert tuple(report["by_class"]) == NAMES


def test_data_command_says_which_names_its_picture_lacks(named_folders, tinynas, install_fonts):
    install_fonts()
    code, out, err = tinynas("data", named_folders)
    assert code == 0, err
    assert (
        "no installed font has the characters of 圆: pictures show escapes; install a font with these characters, such "
        "as Noto Sans CJK"
    ) in out.splitlines()
    install_fonts(SquaresOfData="圆")
    assert "font" not in tinynas("data", named_folders)[1]
