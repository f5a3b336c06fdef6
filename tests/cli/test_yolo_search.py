"""From a folder in ultralytics' layout, written by Pillow and as plain text, to a searched detector and its boxes."""

import json

import pytest
import yaml
from PIL import Image

from helpers import DETECTORS
from tinynas.data.packaged import digits
from tinynas.data.scattered import scattered

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def folder(tmp_path):
    """Scattered digits: images/PART/NUMBER.jpg, labels/PART/NUMBER.txt, data.yaml."""
    data = scattered(digits(None), side=32, images=(48, 2, 16))
    root = tmp_path / "digits"
    for part, split in (("train", data.train), ("val", data.test)):
        for kind in ("images", "labels"):
            (root / kind / part).mkdir(parents=True)
        for number in range(len(split)):
            Image.fromarray(split.read(number)[0].numpy()).save(root / "images" / part / f"{number:03}.jpg")
            lines = []
            for label, x1, y1, x2, y2, *_ in split.objects[number].tolist():
                centre, sides = f"{(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f}", f"{x2 - x1:.6f} {y2 - y1:.6f}"
                lines.append(f"{label:.0f} {centre} {sides}\n")
            (root / "labels" / part / f"{number:03}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text(
        f"path: /somewhere/else\ntrain: images/train\nval: images/val\nnc: 10\nnames: [{', '.join(NAMES)}]\n"
    )
    return root


def test_a_folder_of_ultralytics_is_searched_retrained_and_predicted(folder, tinynas, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(DETECTORS | {"resolution": [64]}))
    code, out, err = tinynas(
        *("search", "--task", "detect", "--data", "yolo:digits", "--space", "small.yaml", "--run", "run"),
        *("--trials", "2", "--epochs", "1", "--batch-size", "16"),
    )
    assert code == 0, err
    assert f"data: yolo:{folder}: 10 classes; images: 43 train, 5 search-val, 16 test" in out.splitlines()
    assert any(line.startswith("  shorter sides of boxes: median ") for line in out.splitlines())
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert front["data"] == f"yolo:{folder}"
    assert len(front["front"]) >= 1
    code, out, err = tinynas("retrain", "run", "--name", "plain", "--epochs", "1", "--batch-size", "16", "--json")
    assert code == 0, err
    code, out, err = tinynas("predict", "run/retrain/plain", folder / "images" / "val" / "000.jpg", "--json")
    assert code == 0, err
    (folder / "labels" / "val" / "000.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    code, out, err = tinynas("eval", "run/retrain/plain")
    assert code == 1
    assert "test has other images or labels (16 as before)" in err
