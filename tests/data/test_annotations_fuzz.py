"""Valid folders of VOC, COCO and YOLO with random damage: the right result, or an error of one line."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from boxes import coco_folder, photograph, voc_folder, yolo_folder
from tinynas.data.registry import load_data
from tinynas.utils.errors import TinyNASError

SEEDS = range(12)  # of each damage and format
VALUES = (None, True, -1, 0, 41, 1e300, float("nan"), 10**400, "", "1", "a/b\n", "\ud800", [], [1], {}, {"id": 1})
WORDS = (b"", b" ", b"-1", b"0", b"41", b"1e300", b"nan", b"&x;", b"<", b"\xff", b"\n", b"1 2")


@pytest.fixture(scope="module")
def valid_folders(tmp_path_factory):
    """A folder of each format, with images of two sizes."""
    root = tmp_path_factory.mktemp("valid")
    folders = {
        "voc": voc_folder(root / "voc", train=5, val=3),
        "coco": coco_folder(root / "coco", train=5, val=3),
        "yolo": yolo_folder(root / "yolo", train=5, val=3),
    }
    (folders["yolo"] / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [dog, cat]\nnc: 2\n")
    for folder in folders.values():
        photograph(next(folder.rglob("train0.jpg")), 20, 40, orientation=6)
        photograph(next(folder.rglob("val0.jpg")), 40, 20, orientation=3)
    return folders


def cut(files, rng):
    file = rng.choice(files)
    file.write_bytes(file.read_bytes()[: rng.integers(file.stat().st_size + 1)])


def empty(files, rng):
    rng.choice(files).write_bytes(b"")


def remove(files, rng):
    rng.choice(files).unlink()


def rename(files, rng):
    file = rng.choice(files)
    ending = rng.choice([".jpg", ".PNG", ".xml", ".json", ".txt", ""])
    file.rename(file.with_name(str(rng.choice(["train 1", "val1", "x", ".y", "größe"])) + ending))


def swap(files, rng):
    first, second = rng.choice(files, 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def change_bytes(files, rng):
    file = rng.choice([file for file in files if file.stat().st_size])
    content = bytearray(file.read_bytes())
    for place in rng.integers(len(content), size=3):
        content[place] = rng.integers(256)
    file.write_bytes(content)


def change_values(files, rng):
    """Replace a number or word of an annotation or list."""
    file = rng.choice([file for file in files if file.suffix != ".jpg" and file.stat().st_size])
    if file.suffix == ".json":
        document = json.loads(file.read_bytes())
        records = document[rng.choice(list(document))]
        record = records[rng.integers(len(records))]
        record[rng.choice(list(record))] = VALUES[rng.integers(len(VALUES))]
        file.write_text(json.dumps(document))
        return
    words = list(re.finditer(rb"[\w.]+", file.read_bytes()))
    word = words[rng.integers(len(words))]
    new = WORDS[rng.integers(len(WORDS))]
    file.write_bytes(word.string[: word.start()] + new + word.string[word.end() :])


def check_data(data):
    """Check all labels, and load all images."""
    assert data.classes
    for split in data.splits.values():
        assert len(split)
        labels = split.labels
        number, (x1, y1, x2, y2) = labels[:, 1], labels[:, 2:6].T
        assert labels.isfinite().all()
        assert ((number >= 0) & (number < len(data.classes))).all()
        assert ((x1 >= 0) & (y1 >= 0) & (x2 <= 1) & (y2 <= 1) & (x1 < x2) & (y1 < y2)).all()
        batches = data.evaluation_batches(split, 8)
        assert sum(len(images) for images, _ in batches) == len(split)
    batch = next(data.training_batches(2, (8,), seed=0, epoch=0))
    assert batch.images.shape[1:] == (3, 8, 8)
    assert all("\n" not in line for line in data.left_out)


def load_or_message(name, skip_unreadable):
    """The data set and "", or None and the message of the error."""
    try:
        return load_data(name, skip_unreadable=skip_unreadable), ""
    except TinyNASError as error:
        return None, str(error)


@pytest.mark.parametrize("damage", [cut, empty, remove, rename, swap, change_bytes, change_values])
@pytest.mark.parametrize("kind", ["voc", "coco", "yolo"])
def test_damaged_folders_give_valid_data_or_an_error_of_one_line(valid_folders, tmp_path, kind, damage):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        folder = shutil.copytree(valid_folders[kind], tmp_path / str(seed))
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        damage(np.array(files), rng)
        data, message = load_or_message(f"{kind}:{folder}", skip_unreadable=bool(seed % 2))
        if data is not None:
            check_data(data)
        else:
            assert "\n" not in message
            assert str(folder) in message
            assert len(message) < 1000


@pytest.mark.parametrize("kind", ["voc", "coco", "yolo"])
def test_folders_without_damage_are_read(valid_folders, kind):
    data = load_data(f"{kind}:{valid_folders[kind]}")
    assert sum(len(split) for split in data.splits.values()) == 8
    assert (
        torch.cat([split.labels for split in data.splits.values()]).shape[0]
        == {"voc": 16, "coco": 15, "yolo": 12}[kind]
    )
    check_data(data)
