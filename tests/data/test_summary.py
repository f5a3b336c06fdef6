import shutil
from dataclasses import replace

import pytest
import torch

from boxes import voc_folder
from pictures import PICTURES, fill
from tinynas.data.registry import load_data
from tinynas.data.summary import summarise

KINDS = (
    "grey8.png",
    "palette-alphas.png",
    "deep.png",
    "deep-big-endian.tif",
    "cmyk.jpg",
    "frames.gif",
    "turned6.jpg",
    "grey-alpha.png",
    "colour-alpha.png",
    "colour.webp",
)


def summary_of(folder, **settings):
    return summarise(load_data(f"imagefolder:{folder}", **settings), "pictures")


def warnings_of(folder):
    return list(summary_of(folder).warnings)


def test_summary_of_stored_forms(tmp_path):
    """Ten images of each class and part, each stored in another way."""
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for kind in KINDS:
                content = PICTURES[kind].content
                (tmp_path / part / name / kind).write_bytes(content)
    summary = summary_of(tmp_path)
    assert summary.images == {"train": 18, "val": 2, "test": 20}
    assert summary.by_class == {"train": {"a": 9, "b": 9}, "val": {"a": 1, "b": 1}, "test": {"a": 10, "b": 10}}
    assert summary.sizes == ((7, 5), (7, 5), (32, 48)), "turned, from 48x32"
    assert summary.stored == {
        "16-bit grey PNG": 4,
        "16-bit grey TIFF": 4,
        "CMYK JPEG": 4,
        "RGB JPEG": 4,
        "RGB WEBP": 4,
        "RGB with transparency PNG": 4,
        "grey PNG": 4,
        "grey with transparency PNG": 4,
        "palette GIF": 4,
        "palette PNG": 4,
    }
    assert summary.converted == {
        "grey to RGB": 16,
        "transparent, composited over white": 12,
        "reduced from 16 to 8 bits": 8,
        "CMYK to RGB": 4,
        "turned as their EXIF orientation says": 4,
        "with several frames, of which the first is used": 4,
    }
    lines = summary.lines()
    assert lines[0] == "data: pictures: 2 classes; images: 18 train, 2 search-val, 20 test"
    assert lines[1] == "  9 images of each class in train"
    assert lines[2].startswith("  pixels: 7x5 to 32x48, median 7x5; stored as ")
    assert lines[2].endswith(" and 6 more")
    assert lines[3].startswith("  converted: 16 grey to RGB, 12 transparent, composited over white, 8 reduced ")
    assert summary.lines(brief=True) == [lines[0], *lines[4:]]


def test_summary_of_sizes_and_balance(tmp_path):
    fill(tmp_path, {"train/a/*.png": 30, "train/b/*.png": 12, "val/a/*.png": 1, "val/b/*.png": 1, "train/c.txt": ""})
    assert summary_of(tmp_path).lines() == [
        "data: pictures: 2 classes; images: 38 train, 4 search-val, 2 test",
        "  images in train: 11 of the smallest class, b, to 27 of the largest, a",
        "  pixels: 8x9; stored as 44 RGB PNG",
        "  left out: train/: 1 file whose ending is not read: .txt (1)",
    ]


def test_summary_of_images_in_memory(data):
    summary = summarise(data, "three")
    assert summary.lines() == [
        "data: three: 3 classes; images: 96 train, 30 search-val, 30 test",
        "  32 images of each class in train",
        "  pixels: 12x12",
    ]
    assert summary.to_dict()["sizes"] == {"smallest": [12, 12], "median": [12, 12], "largest": [12, 12]}


def test_summary_of_boxes_counts_objects(tmp_path):
    voc_folder(tmp_path, train=20, val=2)
    summary = summarise(load_data(f"voc:{tmp_path}"), "boxes")
    assert summary.task == "detect"
    assert summary.by_class["test"] == {"cat": 2, "dog": 2}
    assert summary.lines()[1] == "  18 objects of each class in train"


GOOD = {"train/a/*.png": 20, "train/b/*.png": 20, "val/a/*.png": 2, "val/b/*.png": 2}
WARNINGS = {
    "nothing": (GOOD, []),
    "few images": (
        GOOD | {"train/b/*.png": 9, "train/c/*.png": 5, "val/c/*.png": 1},
        ["fewer than 10 images to train on: b (8), c (4)"],
    ),
    "ten images": (GOOD | {"train/b/*.png": 11}, []),
    "missing class": (GOOD | {"val/b/*.png": 0}, ["no test images of b"]),
    "single image": (
        GOOD | {"train/c/*.png": 1, "val/c/*.png": 1},
        ["fewer than 10 images to train on: c (1)", "no search-val images of c"],
    ),
    "imbalance": (
        GOOD | {"train/a/*.png": 248},
        ["fewer than 10 images to train on: b (9)", "the largest class has 25 times the images of the smallest; "
         "consider --class-weights balanced"],
    ),
    "some imbalance": (GOOD | {"train/a/*.png": 200}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(tmp_path, case):
    tree, expected = WARNINGS[case]
    if case == "imbalance":
        tree = tree | {"train/b/*.png": 10}
    fill(tmp_path, tree)
    assert warnings_of(tmp_path) == expected


def test_warning_of_images_that_are_in_test_too(tmp_path):
    fill(tmp_path, GOOD)
    for number in range(20):
        shutil.copy(tmp_path / "train" / "a" / f"{number:02}.png", tmp_path / "val" / "b" / f"copy {number}.png")
    assert warnings_of(tmp_path) == [
        "train images that are in the test split as well: 18; test accuracy is too high",
        "search-val images that are in the test split as well: 2; test accuracy is too high",
    ]


def test_warning_of_images_in_memory_that_are_in_test_too(data):
    test = replace(data.test, images=torch.cat([data.train.images[:5], data.test.images[5:]]))
    assert summarise(replace(data, test=test), "three").warnings == (
        "train images that are in the test split as well: 5; test accuracy is too high",
    )


def test_unreadable_images_are_left_out(tmp_path):
    fill(tmp_path, GOOD | {"train/a/x.png": ""})
    summary = summary_of(tmp_path, skip_unreadable=True)
    assert summary.left_out == (f"1 image that cannot be read: {tmp_path}/train/a/x.png (it is empty)",)
    assert sum(summary.images.values()) == 44


class DrawnSplit:
    """A split of the user's own, whose images are neither files nor in memory."""

    def __init__(self, split):
        self._split = split
        self.labels = split.labels

    def __len__(self):
        return len(self._split)

    def digest(self):
        return self._split.digest()

    def batches(self, requests, normalise):
        return self._split.batches(requests, normalise)


def test_summary_of_images_that_are_neither_files_nor_in_memory(data):
    drawn = replace(data, **{name: DrawnSplit(split) for name, split in data.splits.items()})
    summary, in_memory = summarise(drawn, "drawn"), summarise(data, "drawn")
    assert summary.by_class == in_memory.by_class
    assert (summary.sizes, summary.to_dict()["sizes"]) == ((), None)
    assert summary.lines() == [line for line in in_memory.lines() if not line.startswith("  pixels")]
