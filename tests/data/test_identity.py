import shutil
from dataclasses import replace

import pytest

from pictures import COLOUR, encoded, fill
from tinynas.data.identity import DataIdentity
from tinynas.data.registry import load_data
from tinynas.utils.errors import InputError

TREE = {"train/disc/*.png": 12, "train/square/*.png": 11, "val/disc/*.png": 3, "val/square/*.png": 2}


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "pictures", TREE)
    return tmp_path / "pictures"


def identity(folder):
    return DataIdentity.of(load_data(f"imagefolder:{folder}"))


def rename_class(folder):
    for part in ("train", "val"):
        (folder / part / "disc").rename(folder / part / "zdisc")


def add_class(folder):
    fill(folder, {"train/cross/*.jpg": 2})


def remove_class(folder):
    fill(folder, {"train/cross/*.jpg": 4})
    for part in ("train", "val"):
        shutil.rmtree(folder / part / "disc")


def add_image(folder):
    fill(folder, {"train/disc/x.png": 1})


def remove_image(folder):
    (folder / "val" / "disc" / "00.png").unlink()


def change_image(folder):
    (folder / "val" / "disc" / "00.png").write_bytes(encoded(COLOUR, "PNG"))


def swap_labels(folder):
    """Of two images of the test split."""
    first, second = folder / "val" / "disc" / "00.png", folder / "val" / "square" / "00.png"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


CHANGES = {
    rename_class: "class disc is gone, class zdisc is new, train has other images or labels (21 as before), "
    "search-val has other images or labels (2 as before), test has other images or labels (5 as before)",
    add_class: "class cross is new, train had 21 images, has 22, search-val had 2 images, has 3, "
    "test has other images or labels (5 as before)",
    remove_class: "class disc is gone, class cross is new, train had 21 images, has 13, "
    "search-val has other images or labels (2 as before), test had 5 images, has 2",
    add_image: "train had 21 images, has 22, search-val has other images or labels (2 as before)",
    remove_image: "test had 5 images, has 4",
    change_image: "test has other images or labels (5 as before)",
    swap_labels: "test has other images or labels (5 as before)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_named(folder, change):
    before = identity(folder)
    change(folder)
    assert before.changes(identity(folder)) == CHANGES[change]


def test_the_same_images_elsewhere_are_the_same_data(folder, tmp_path):
    before = identity(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert identity(tmp_path / "copy") == before
    assert before.changes(identity(tmp_path / "copy")) is None


def test_what_is_left_out_is_no_part_of_the_data(folder):
    before = identity(folder)
    fill(folder, {"train/.DS_Store": "", "train/disc/x.txt": "", "train/cross": None, "train/x.png": 1})
    assert identity(folder) == before


def test_order_of_images_and_classes_counts(data):
    flipped = replace(data.train, images=data.train.images.flip(0), labels=data.train.labels.flip(0))
    before = DataIdentity.of(data)
    assert before.changes(DataIdentity.of(replace(data, train=flipped))) == (
        "train has other images or labels (96 as before)"
    )
    other_order = DataIdentity.of(replace(data, classes=("b", "a", "c")))
    assert before.changes(other_order) == "its classes have another order"
    assert before.changes(DataIdentity.of(data)) is None


def test_identity_is_plain_data_and_back(data):
    before = DataIdentity.of(data)
    assert DataIdentity.from_dict(before.to_dict()) == before
    for damage in ({}, {"classes": "abc", "splits": {}}, {"classes": ["a"], "splits": {"train": {"images": "3"}}}, 3):
        with pytest.raises(InputError):
            DataIdentity.from_dict(damage)
