"""The command data, and commands of a run whose data change between them."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from PIL import Image

from boxes import yolo_folder
from helpers import ROOT, SMALL, Interrupting
from pictures import fill

TREE = {"train/disc/*.png": 12, "train/square/*.png": 11, "val/disc/*.png": 3, "val/square/*.png": 2}
QUICK = ("--epochs", "1", "--batch-size", "8")


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "pictures", TREE)
    return tmp_path / "pictures"


def test_data_command_shows_what_was_understood(tinynas, folder, tmp_path):
    fill(folder, {"train/x.txt": "", "train/disc/a.png": "text"})
    code, out, err = tinynas("data", "imagefolder:pictures", "--out", "sheet.png")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Images of each class",
        "class   train  search-val  test",
        "disc       11           1     3",
        "square     10           1     2",
        f"data: imagefolder:{folder}: 2 classes; images: 21 train, 2 search-val, 5 test",
        "  images in train: 10 of the smallest class, square, to 11 of the largest, disc",
        "  pixels: 8x9; stored as 28 RGB PNG",
        "  left out: train/: 1 file whose ending is not read: .txt (1)",
        f"  left out: 1 image that cannot be read: {folder}/train/disc/a.png "
        "(it is not an image, or in a format that is not read)",
        "picture: sheet.png",
        "next: tinynas search --data imagefolder:pictures",
    ]
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_data_command_gives_json(tinynas, folder):
    code, out, _ = tinynas("data", f"imagefolder:{folder}", "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": f"imagefolder:{folder}",
        "task": "classify",
        "channels": 3,
        "images": {"train": 21, "search-val": 2, "test": 5},
        "by_class": {
            "train": {"disc": 11, "square": 10},
            "search-val": {"disc": 1, "square": 1},
            "test": {"disc": 3, "square": 2},
        },
        "sizes": {"smallest": [8, 9], "median": [8, 9], "largest": [8, 9]},
        "stored": {"RGB PNG": 28},
        "converted": {},
        "left_out": [],
        "notes": [],
        "warnings": [],
        "boxes": None,
        "picture": "data.png",
    }


def test_data_command_shows_boxes(tinynas, tmp_path):
    folder = yolo_folder(tmp_path / "set", "images", "labels", all=20)
    (folder / "labels" / "all0.txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.9 0.5 0.4 0.5\n1 1.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text("train: images\nnames: [dog, cat]\n")
    code, out, err = tinynas("data", "yolo:set", "--out", "sheet.png")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Objects of each class",
        "class  train  search-val  test",
        "dog       14           2     3",
        "cat       14           2     3",
        f"data: yolo:{folder}: 2 classes; images: 14 train, 2 search-val, 4 test",
        "  14 objects of each class in train",
        "  boxes: 28 small (under 32x32 pixels), 0 medium, 0 large (from 96x96 on) in train; 4, 0 and 0 in search-val; "
        "6, 0 and 0 in test",
        "  shorter sides of boxes: median 40% of the image's; 90% are from 25% to 50%",
        "  images without objects: 0 train, 0 search-val, 1 test",
        "  pixels: 40x20; stored as 20 RGB JPEG",
        "  left out: boxes outside of their image: 1 (first: (1.4, 0.4, 1.6, 0.6) of cat on all0.jpg)",
        "  note: there is no part to test on: 4 of 20 images, chosen at random and always the same, are the test split",
        "  note: boxes that reached outside of their image, clipped: 1 "
        "(first: (0.7, 0.25, 1.1, 0.75) of cat on all0.jpg)",
        "  warning: train images that are in the test split as well: 14; test accuracy is too high",
        "  warning: search-val images that are in the test split as well: 2; test accuracy is too high",
        "picture: sheet.png",
        "next: tinynas search --task detect --data yolo:set",
    ]
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width == 3 * 452 + 12, "three of 440 pixels in a row"
    code, out, _ = tinynas("data", "yolo:set", "--json", "--resolution", "16x64")
    assert code == 0
    boxes = json.loads(out)["boxes"]
    assert boxes["sizes"]["test"] == {"small": 6, "medium": 0, "large": 0}
    assert (boxes["resolution"], boxes["images_without"]["test"]) == ([16, 64], 1)
    assert 0.4 < boxes["under_8_pixels"] < 0.6, "a quarter of 16 pixels has the second box of an image"


def test_data_command_takes_any_name(tinynas, tmp_path):
    """Names with control characters are shown as one line, and never read as markup."""
    names = ["$x$", "a\nb", "[red]", "\x1b[31m", ":cat:", "日本"]
    fill(tmp_path / "p", {f"{part}/{name}/*.png": 3 for part in ("train", "val") for name in names})
    code, out, _ = tinynas("data", "imagefolder:p")
    assert code == 0
    shown = [line.split()[0] for line in out.splitlines()[2:8]]
    assert shown == [r"\x1b[31m", "$x$", ":cat:", "[red]", r"a\nb", "日本"]
    code, out, _ = tinynas("data", "imagefolder:p", "--json")
    assert sorted(json.loads(out)["by_class"]["train"]) == sorted(names)


def test_data_command_fails_in_a_line(fails, folder):
    assert fails("data", "imagefolder:nothing").endswith(
        "/nothing with train/CLASS/IMAGE files; if it was moved, pass its new path with --data imagefolder:PATH, or "
        "move it back\n"
    )
    assert "the data set digits takes no path" in fails("data", "digits:pictures")
    for resolution in ("2049", "100000", "96x2049"):
        assert fails("data", "digits", "--resolution", resolution) == (
            f"tinynas: the resolution must be from 1 to 2048 pixels, but is {resolution}; choose another\n"
        )
    (folder / "val").rename(folder / "a\nb")
    assert r"there is no folder val/, but a\nb/, train/" in fails("data", "imagefolder:pictures")


def test_long_checks_are_shown_on_stderr(folder):
    program = "from tinynas.data import files as f; from tinynas.cli.__main__ import main; f._LOG_SECONDS = 0; main()"
    words = [sys.executable, "-c", program, "data", f"imagefolder:{folder}", "--out", str(folder / "x.png"), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["images"]["train"] == 21
    assert f"checked 23 of 23 images, once; the result is kept in {folder}/cache/tinynas" in run.stderr.splitlines()


@pytest.fixture
def run_of_folder(tinynas, folder, tmp_path):
    """A searched run on the folder, with a retrained network."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL | {"in_channels": 3, "classes": 2}))
    for words in (
        ("search", "--space", "small.yaml", "--data", f"imagefolder:{folder}", "--run", "run", "--trials", "2", *QUICK),
        ("retrain", "run", "--name", "plain", *QUICK),
    ):
        code, _, err = tinynas(*words)
        assert code == 0, err
    return tmp_path / "run"


COMMANDS = {
    "search": ("search", "--run", "run", "--trials", "4"),
    "search --resume": ("search", "--run", "run", "--resume"),
    "plain": ("retrain", "run", "--name", "other", *QUICK),
    "init": ("retrain", "run", "--init", "supernet", *QUICK),
    "teacher": ("retrain", "run", "--teacher", "supernet", *QUICK),
    "netaug": ("retrain", "run", "--netaug", *QUICK),
}


def test_run_refuses_a_renamed_class_in_every_command(run_of_folder, folder, fails, tinynas):
    before = {path: path.read_bytes() for path in run_of_folder.rglob("*") if path.is_file()}
    for part in ("train", "val"):
        (folder / part / "disc").rename(folder / part / "zdisc")
    for name, words in COMMANDS.items():
        message = fails(*words)
        assert message == (
            f"tinynas: the data set imagefolder:{folder} has changed since run was begun: class disc is "
            "gone, class zdisc is new, train has other images or labels (21 as before), search-val has other images or "
            "labels (2 as before), test has other images or labels (5 as before); restore it, or begin a new run\n"
        ), name
    after = {path: path.read_bytes() for path in run_of_folder.rglob("*") if path.is_file()}
    assert after == before, "nothing was written"
    for part in ("train", "val"):
        (folder / part / "zdisc").rename(folder / part / "disc")
    for words in COMMANDS.values():
        code, _, err = tinynas(*words)
        assert code == 0, err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train/disc/x.png": 1}, "train had 21 images, has 22"),
        ({"val/square/01.png": 1}, "test has other images or labels (5 as before)"),
        ({"train/cross/*.png": 2}, "class cross is new"),
    ],
)
def test_run_refuses_other_images(run_of_folder, folder, fails, change, text):
    fill(folder, change)
    assert text in fails(*COMMANDS["search"])
    assert text in fails(*COMMANDS["teacher"])


def test_retraining_outside_of_a_run_resumes_with_its_own_data_only(
    folder, space, fails, tinynas, tmp_path, monkeypatch
):
    (tmp_path / "tiny.yaml").write_text(replace(space.min(), in_channels=3, classes=2).to_yaml())
    with monkeypatch.context() as patch:
        patch.setattr("tinynas.cli.screen.Screen.advance", Interrupting(after=3).advance)
        code, _, err = tinynas("retrain", "tiny.yaml", "--data", f"imagefolder:{folder}", *QUICK, "--epochs", "2")
    assert code == 130, err
    fill(folder, {"train/disc/x.png": 1})
    assert "train had 21 images, has 22" in fails("retrain", "--resume")
    (folder / "train" / "disc" / "x.png").unlink()
    code, _, err = tinynas("retrain", "--resume")
    assert code == 0, err


def test_run_takes_what_is_left_out(run_of_folder, folder, tinynas):
    fill(folder, {"train/.DS_Store": "", "train/disc/notes.txt": ""})
    code, _, err = tinynas(*COMMANDS["search"])
    assert code == 0, err
