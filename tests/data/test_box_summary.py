import math
from dataclasses import replace

import pytest
import torch

from boxes import photograph, voc_folder, voc_xml
from tinynas.data.box_summary import summarise_boxes
from tinynas.data.boxes import BoxSplit
from tinynas.data.registry import load_data
from tinynas.data.sources import MemoryImages
from tinynas.data.summary import summarise


def split_of(sides, *, height=200, width=400, images=2):
    """A split whose first image has a box of each width and height in pixels; the others are empty."""
    rows = [[0, 0, 0, across / width, down / height] for across, down in sides]
    objects = [torch.tensor(rows).reshape(-1, 5)] + [torch.zeros(0, 5)] * (images - 1)
    return BoxSplit(read=MemoryImages(torch.zeros(images, 1, height, width, dtype=torch.uint8)), objects=objects)


def test_boxes_are_counted_by_their_area_on_the_original_image():
    sides = [(31, 32), (33, 32), (10, 90), (8, 130), (95, 96), (97, 96), (300, 190)]
    summary = summarise_boxes({"train": split_of(sides), "val": split_of([(5, 5)]), "test": split_of([], images=3)})
    assert summary.sizes == {
        "train": {"small": 2, "medium": 3, "large": 2},
        "val": {"small": 1, "medium": 0, "large": 0},
        "test": {"small": 0, "medium": 0, "large": 0},
    }
    assert summary.empty == {"train": 1, "val": 1, "test": 3}
    assert summary.lines()[0] == (
        "boxes: 2 small (under 32x32 pixels), 3 medium, 2 large (from 96x96 on) in train; 1, 0 and 0 in search-val; "
        "0, 0 and 0 in test"
    )
    assert summary.lines()[-1] == "images without objects: 1 train, 1 search-val, 3 test"


def test_shorter_sides_are_fractions_of_the_side_of_the_image():
    sides = [(40, 100), (200, 40), (4 * 20, 100)]  # a tenth of the width, a fifth of the height, a fifth of the width
    splits = dict.fromkeys(("train", "val", "test"), split_of(sides, images=1))
    summary = summarise_boxes(splits, 64)
    assert summary.sides == pytest.approx((0.11, 0.2, 0.2))
    assert summary.few_pixels == pytest.approx(1 / 3), "6.4 pixels of 64"
    assert summary.lines()[1:] == [
        "shorter sides of boxes: median 20% of the image's; 90% are from 11% to 20%",
        "at 64x64: 33% of the boxes have a side under 8 pixels",
    ]
    assert summarise_boxes(splits, (32, 160)).few_pixels == pytest.approx(1 / 3), "6.4 pixels of 32 in height"
    assert summarise_boxes(splits, (160, 64)).few_pixels == pytest.approx(1 / 3), "6.4 pixels of 64 in width"
    assert summarise_boxes(splits, 160).few_pixels == 0
    assert summarise_boxes(splits).few_pixels is None


def test_training_splits_without_boxes_have_no_sides():
    summary = summarise_boxes({"train": split_of([]), "val": split_of([]), "test": split_of([(5, 5)])}, 32)
    assert summary.sides == (0, 0, 0)
    assert summary.few_pixels is None
    assert not any(math.isnan(value) for value in summary.to_dict()["shorter_side"].values())


def test_crowds_and_difficult_objects_do_not_count():
    box = [0, 0, 0.5, 0.5]
    kinds = [torch.tensor([[0, *box, 100, kind] for kind in of_image]).reshape(-1, 7) for of_image in ([0, 1], [2], [])]
    kinds[0] = torch.cat([kinds[0], torch.tensor([[0, *box, 9216, 0]])])
    split = BoxSplit(read=MemoryImages(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)), objects=kinds)
    summary = summarise_boxes({"train": split})
    assert summary.sizes == {"train": {"small": 1, "medium": 0, "large": 1}}, "by area, not by box"
    assert summary.empty == {"train": 2}


def test_files_and_images_of_unknown_size(tmp_path):
    voc_folder(tmp_path, train=4, val=2)
    data = load_data(f"voc:{tmp_path}")
    assert summarise(data, "x").boxes.sizes["test"] == {"small": 4, "medium": 0, "large": 0}
    photograph(tmp_path / "JPEGImages" / "val1.jpg", 400, 200)
    (tmp_path / "Annotations" / "val1.xml").write_bytes(voc_xml([("dog", 1, 1, 200, 200, 0)], (400, 200)))
    data = load_data(f"voc:{tmp_path}")
    assert summarise(data, "x").boxes.sizes["test"] == {"small": 2, "medium": 0, "large": 1}

    class Unknown(list):
        for_workers = False

    splits = {}
    for name, split in data.splits.items():
        boxes = [objects[:, :5] for objects in split.objects]
        splits[name] = replace(split, read=Unknown([0] * len(split)), objects=boxes)
    summary = summarise_boxes(splits)
    assert summary.sizes == {}
    assert summary.lines()[0].startswith("shorter sides of boxes")
    assert summarise(load_data("digits"), "digits").boxes is None
