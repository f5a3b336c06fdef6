import os
from collections import Counter

import pytest
import torch

from pictures import ENDINGS, fill
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError

GOOD = {"train/disc/*.png": 4, "train/square/*.png": 3, "val/disc/*.png": 2, "val/square/*.png": 1}


def understood(root):
    """What a folder was understood to be: classes, images to train on and of the test split by class, left out."""
    data = load_data(f"imagefolder:{root}")
    counts = []
    for labels in (torch.cat([data.train.labels, data.val.labels]), data.test.labels):
        by_class = Counter(data.classes[label] for label in labels.tolist())
        counts.append(" ".join(f"{name}:{by_class[name]}" for name in data.classes))
    assert {os.path.basename(os.path.dirname(file)) for file in data.test.files} <= set(data.classes)
    return *counts, list(data.left_out)


GOOD_COUNTS = ("disc:4 square:3", "disc:2 square:1")
HIDDEN = (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git", "lost+found", "#recycle", "$RECYCLE.BIN")
UNDERSTOOD = {
    "plain": (GOOD, *GOOD_COUNTS, []),
    "upper case": ({"train/a/*.PNG": 2, "train/b/*.JPG": 2, "val/b/*.Gif": 1}, "a:2 b:2", "a:0 b:1", []),
    "many formats": (
        GOOD | {f"train/disc/*{ending}": 2 for ending in ENDINGS},
        "disc:16 square:3",
        "disc:2 square:1",
        [],
    ),
    "subfolders of classes": (GOOD | {"train/disc/a/b/*.png": 2}, "disc:6 square:3", "disc:2 square:1", []),
    "folder called like an image": (GOOD | {"train/disc/a.png/*.png": 2}, "disc:6 square:3", "disc:2 square:1", []),
    "loose images": (
        GOOD | {"train/*.png": 5, "val/x.jpg": 1},
        *GOOD_COUNTS,
        [
            "train/: 5 images in no class folder (00.png, 01.png, 02.png and 2 more)",
            "val/: 1 image in no class folder (x.jpg)",
        ],
    ),
    "other endings": (
        GOOD | {"train/disc/a.heic": "", "train/disc/b.HEIC": "", "train/labels.csv": "", "val/disc/c": ""},
        *GOOD_COUNTS,
        [
            "train/: 3 files whose ending is not read: .heic (2), .csv (1)",
            "val/: 1 file whose ending is not read: no ending (1)",
        ],
    ),
    "hidden and tool-made folders": (
        GOOD | {f"train/{name}/*.png": 2 for name in HIDDEN} | {f"train/disc/{name}/*.png": 2 for name in HIDDEN},
        *GOOD_COUNTS,
        ["train/: hidden or tool-made files and folders: 14"],
    ),
    "hidden and tool-made files": (
        GOOD
        | {f"{folder}/._00.png": "Mac OS X" for folder in ("train", "train/disc")}
        | {f"val/{name}": "" for name in (".DS_Store", "Thumbs.db", "desktop.ini")},
        *GOOD_COUNTS,
        ["train/: hidden or tool-made files and folders: 2", "val/: hidden or tool-made files and folders: 3"],
    ),
    "class empty in val": (
        GOOD | {"train/cross/*.png": 2, "val/cross": None},
        "cross:2 disc:4 square:3",
        "cross:0 disc:2 square:1",
        ["val/: class folders without images: cross"],
    ),
    "class empty in train and val": (
        GOOD | {"train/cross": None, "val/cross": None},
        *GOOD_COUNTS,
        ["train/: class folders without images: cross", "val/: class folders without images: cross"],
    ),
    "folders beside": (
        GOOD | {"test/disc/*.png": 1, "__MACOSX/x": "", "notes": "", "raw/x": ""},
        *GOOD_COUNTS,
        ["folders beside train/ and val/: raw, test"],
    ),
    "single training image": (
        GOOD | {"train/cross/*.png": 1, "val/cross/*.png": 1},
        "cross:1 disc:4 square:3",
        "cross:1 disc:2 square:1",
        [],
    ),
    "names": (
        {"train/日本/*.png": 2, "train/a b%s{c}/*.png": 2, "val/日本/👩‍👧 *.png": 1, "val/日本/\u202e*.png": 1},
        "a b%s{c}:2 日本:2",
        "a b%s{c}:0 日本:2",
        [],
    ),
    "long names": (
        {f"train/{'a' * 255}/{'*' + 'b' * 249}.png": 2, "train/b/*.png": 2, "val/b/*.png": 1},
        f"{'a' * 255}:2 b:2",
        f"{'a' * 255}:0 b:1",
        [],
    ),
    "newlines": (
        {"train/a\nb/*.png": 2, "train/b/*.png": 2, "val/b/*.png": 1, "val/c\nd/x": ""},
        "a\nb:2 b:2",
        "a\nb:0 b:1",
        [
            "val/: 1 file whose ending is not read: no ending (1)",
            "val/: class folders without images: c\nd",
        ],
    ),
}


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_folders_are_understood(case, tmp_path):
    tree, *expected = UNDERSTOOD[case]
    fill(tmp_path, tree)
    assert understood(tmp_path) == tuple(expected)


REFUSED = {
    "nothing": ({}, "no images in ROOT: there is no folder train/; expected train/CLASS/IMAGE files"),
    "no train": (
        {"val/disc/*.png": 1, ".git/x": "", "training/x": "", "a.txt": "", "z.txt": ""},
        "no images in ROOT: there is no folder train/, but a.txt, training/, val/ and 1 more; "
        "expected train/CLASS/IMAGE files",
    ),
    "train is a file": (
        {"train": "", "val/disc/*.png": 1},
        "no images in ROOT: there is no folder train/, but train, val/; expected train/CLASS/IMAGE files",
    ),
    "test instead of val": (
        {"train/disc/*.png": 2, "train/square/*.png": 2, "test/disc/*.png": 2},
        "no images in ROOT: there is no folder val/, but test/, train/; expected val/CLASS/IMAGE files",
    ),
    "valid instead of val": (
        {"train/disc/*.png": 2, "train/square/*.png": 2, "valid/disc/*.png": 2},
        "no images in ROOT: there is no folder val/, but train/, valid/; expected val/CLASS/IMAGE files",
    ),
    "empty train": (
        {"train": None, "val/disc/*.png": 1},
        "no images in ROOT/train, which is empty; expected train/CLASS/IMAGE files",
    ),
    "empty classes in train": (
        {"train/disc": None, "train/square": None, "val/disc/*.png": 1},
        "no images in ROOT/train, which has empty class folders disc, square; expected train/CLASS/IMAGE files",
    ),
    "loose images only": (
        {"train/*.png": 5, "train/x.txt": "", "val/*.png": 1},
        "no images in ROOT/train, which has 5 images in no class folder (00.png, 01.png, 02.png and 2 more) and "
        "1 file whose ending is not read: .txt (1); expected train/CLASS/IMAGE files",
    ),
    "one class": (
        {"train/disc/*.png": 5, "val/disc/*.png": 1},
        "ROOT/train has images of one class only, disc; add images of another",
    ),
    "too deep": (
        {"train/images/disc/*.png": 5, "train/images/square/*.png": 5, "val/images/disc/*.png": 1},
        "ROOT/train has images of one class only, images; if the classes are its subfolders (disc, square), "
        "move these to ROOT/train",
    ),
    "only other endings": (
        {"train/disc/*.heic": 2, "train/square/*.heic": 1, "val/disc/*.heic": 1},
        "no images in ROOT/train, which has empty class folders disc, square and 3 files whose ending is "
        "not read: .heic (3); expected train/CLASS/IMAGE files",
    ),
    "no test images": (
        {"train/disc/*.png": 2, "train/square/*.png": 2, "val/disc": None},
        "no images in ROOT/val, which has empty class folders disc; expected val/CLASS/IMAGE files",
    ),
    "class in val only": (
        GOOD | {"val/cross/*.png": 1},
        "ROOT: val/ has images of cross, of which train/ has none (its classes are disc, square); "
        "give both folders the same classes",
    ),
    "class empty in train": (
        GOOD | {"train/cross": None, "val/cross/*.png": 1},
        "ROOT: val/ has images of cross, of which train/ has none (its classes are disc, square); "
        "give both folders the same classes",
    ),
    "single images only": (
        {"train/disc/*.png": 1, "train/square/*.png": 1, "val/disc/*.png": 1},
        "no class has more than one of the 2 training images, so that none can be held out as search-val; add images",
    ),
    "newlines": (
        {"train/a\nb/\x1b[31m/*.png": 2, "val/a\nb/*.png": 1},
        r"ROOT/train has images of one class only, a\nb; if the classes are its subfolders (\x1b[31m), "
        "move these to ROOT/train",
    ),
    "bytes": (
        {"train/caf\udce9/*.png": 2, "train/b/*.png": 2, "val/b/*.png": 1},
        r"the name of the class folder ROOT/train/caf\udce9 is not UTF-8; rename it",
    ),
    "damaged images with odd names": (
        GOOD | {"train/disc/a\nb.png": "", "val/disc/c\udce9.png": "text"},
        r"2 of 12 images of imagefolder:ROOT cannot be read: ROOT/train/disc/a\nb.png (it is empty), "
        r"ROOT/val/disc/c\udce9.png (it is not an image, or in a format that is not read); "
        "replace them, or leave them out with --skip-unreadable",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_are_refused_in_a_line(case, tmp_path):
    tree, message = REFUSED[case]
    fill(tmp_path, tree)
    with pytest.raises((FileError, InputError)) as error:
        load_data(f"imagefolder:{tmp_path}")
    assert str(error.value) == message.replace("ROOT", str(tmp_path))


def test_paths_that_are_no_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="imagefolder needs a path"):
        load_data("imagefolder")
    (tmp_path / "file").write_text("")
    for name in ("none", "file"):
        with pytest.raises(FileError) as error:
            load_data(f"imagefolder:{tmp_path}/{name}")
        assert str(error.value) == (
            f"there is no folder {tmp_path}/{name} with train/CLASS/IMAGE files; if it was moved, pass its new "
            "path with --data imagefolder:PATH, or move it back"
        )


def test_file_names_that_are_not_utf8_are_read(tmp_path):
    fill(tmp_path, GOOD | {"train/disc/caf\udce9 *.png": 3})
    assert understood(tmp_path) == ("disc:7 square:3", "disc:2 square:1", [])
    assert understood(tmp_path) == ("disc:7 square:3", "disc:2 square:1", []), "from the cache"


def test_links_are_followed_once(tmp_path):
    fill(tmp_path, GOOD | {"elsewhere/cross/*.png": 3, "more/*.png": 2})
    (tmp_path / "train" / "cross").symlink_to(tmp_path / "elsewhere" / "cross")
    (tmp_path / "train" / "disc" / "more").symlink_to(tmp_path / "more")
    (tmp_path / "train" / "disc" / "again").symlink_to(tmp_path / "more")
    (tmp_path / "train" / "disc" / "up").symlink_to(tmp_path / "train" / "disc")
    (tmp_path / "more" / "round").symlink_to(tmp_path / "train" / "disc")
    (tmp_path / "train" / "square" / "itself").symlink_to("itself")
    assert understood(tmp_path) == (
        "cross:3 disc:6 square:3",
        "cross:0 disc:2 square:1",
        [
            "train/: 1 file whose ending is not read: no ending (1)",
            "folders beside train/ and val/: elsewhere, more",
        ],
    )


def test_files_that_are_no_images_are_named(tmp_path):
    fill(tmp_path, GOOD)
    os.mkfifo(tmp_path / "train" / "disc" / "pipe.png")
    (tmp_path / "val" / "disc" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(FileError) as error:
        load_data(f"imagefolder:{tmp_path}")
    assert str(error.value) == (
        f"2 of 12 images of imagefolder:{tmp_path} cannot be read: {tmp_path}/train/disc/pipe.png "
        f"(it is not a regular file), {tmp_path}/val/disc/lost.png (No such file or directory); "
        "replace them, or leave them out with --skip-unreadable"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["", "train", "train/disc", "train/disc/deeper"])
def test_folders_without_permission_are_refused(tmp_path, name):
    fill(tmp_path, GOOD | {"train/disc/deeper/*.png": 1})
    (tmp_path / name).chmod(0)
    try:
        with pytest.raises(FileError, match="Permission denied"):
            load_data(f"imagefolder:{tmp_path}")
    finally:
        (tmp_path / name).chmod(0o700)


def test_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    """As it is without permission, which root has."""
    fill(tmp_path, GOOD | {"train/disc/deeper/*.png": 1})
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("deeper"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(FileError) as error:
        load_data(f"imagefolder:{tmp_path}")
    assert str(error.value) == (
        f"cannot read the folder {tmp_path}/train/disc/deeper: Permission denied; change its permissions"
    )


def test_image_folder_has_classes_and_repeatable_augmentation(image_folder):
    data = load_data(f"imagefolder:{image_folder}")
    assert data.classes == ("cat", "dog")
    assert [len(split.labels) for split in (data.train, data.val, data.test)] == [14, 2, 6]
    images, labels, *_ = next(iter(data.training_batches(5, (24,), seed=0, epoch=0)))
    assert images.shape == (5, 3, 24, 24)
    assert labels.shape == (5,)
    again = next(iter(data.training_batches(5, (24,), seed=0, epoch=0))).images
    other = next(iter(data.training_batches(5, (24,), seed=1, epoch=0))).images
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    strong = next(iter(data.training_batches(5, (24,), seed=0, epoch=0, augmentation="strong"))).images
    assert strong.shape == images.shape
    assert not torch.equal(images, strong)
