import unicodedata
from pathlib import Path

import pytest

from tinynas.data.coco_images import locate_images
from tinynas.utils.errors import FileError

COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "Müll.jpg"), unicodedata.normalize("NFD", "Müll.jpg")


def located(root, files, names):
    """The paths, relative to the root, of the images that train.json names; it is looked for in three folders."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    folders = [root / "train", root / "images", root]
    folder, paths = locate_images(Path("train.json"), folders, names)
    return folder.relative_to(root).as_posix(), [Path(path).relative_to(root).as_posix() for path in paths]


@pytest.mark.parametrize(
    ("files", "names", "folder", "expected"),
    [
        (["train/a.jpg", "val/a.jpg"], ["a.jpg"], "train", ["train/a.jpg"]),
        (["images/a.jpg", "images/b.png"], ["b.png", "a.jpg"], "images", ["images/b.png", "images/a.jpg"]),
        (["a.jpg"], ["a.jpg"], ".", ["a.jpg"]),
        (
            ["train/a.jpg", "images/a.jpg", "images/b.jpg"],
            ["a.jpg", "b.jpg"],
            "images",
            ["images/a.jpg", "images/b.jpg"],
        ),
        # folders
        (["images/x/a.jpg", "images/y/a.jpg"], ["y/a.jpg", "x/a.jpg"], "images", ["images/y/a.jpg", "images/x/a.jpg"]),
        (["train/a.jpg", "val/a.jpg"], ["train/a.jpg"], ".", ["train/a.jpg"]),
        (["train/a.jpg"], ["data/set/train/a.jpg"], ".", ["train/a.jpg"]),
        (["train/a.jpg"], ["/home/me/a.jpg"], "train", ["train/a.jpg"]),
        (["train/x/a.jpg", "train/y/a.jpg"], ["C:\\set\\x\\a.jpg"], "train", ["train/x/a.jpg"]),
        (["train/x/a.jpg"], ["x\\a.jpg"], "train", ["train/x/a.jpg"]),
        (["train/a.jpg"], ["./a.jpg"], "train", ["train/a.jpg"]),
        (["train/a.jpg"], ["../train/a.jpg"], "train", ["train/a.jpg"]),
        # characters
        (["train/my photo (1).JPG"], ["my photo (1).JPG"], "train", ["train/my photo (1).JPG"]),
        (["train/50%.jpg"], ["50%.jpg"], "train", ["train/50%.jpg"]),
        (["train/a%20b.jpg", "train/a b.jpg"], ["a%20b.jpg"], "train", ["train/a%20b.jpg"]),
        (["train/a b.jpg"], ["a%20b.jpg"], "train", ["train/a b.jpg"]),
        ([f"train/{DECOMPOSED}"], [COMPOSED], "train", [f"train/{DECOMPOSED}"]),
        ([f"train/{COMPOSED}"], [DECOMPOSED], "train", [f"train/{COMPOSED}"]),
        (["train/猫.png"], ["猫.png"], "train", ["train/猫.png"]),
    ],
)
def test_images_are_found_by_the_names_that_tools_write(tmp_path, files, names, folder, expected):
    assert located(tmp_path, files, names) == (folder, expected)


def test_an_absolute_name_is_taken_as_it_is(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    _, paths = located(tmp_path, ["train/a.jpg"], [str(tmp_path / "elsewhere" / "a.jpg")])
    assert paths == ["elsewhere/a.jpg"]


@pytest.mark.parametrize(
    ("files", "names", "message"),
    [
        (
            ["train/a.jpg", "train/b.jpg", "images/c.jpg"],
            ["a.jpg", "c.jpg", "d.jpg", "b.jpg"],
            "2 of its 4 images are missing (c.jpg, d.jpg); {root}/train has 2 files: a.jpg, b.jpg; add them, ",
        ),
        (
            ["train/notes.txt", "images/c.png"],
            ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
            "4 of its 4 images are missing (a.jpg, b.jpg, c.jpg and 1 more); {root}/images has 1 file: c.png; add ",
        ),
        (
            ["train/a.heic"],
            ["a.jpg"],
            "1 of its 1 images are missing (a.jpg); {root} has none, but 1 file whose ending is not read: .heic (1); ",
        ),
        # an image of another part with the same name is not taken
        (["train/a.jpg", "val/b.jpg"], ["a.jpg", "b.jpg"], "1 of its 2 images are missing (b.jpg); {root}/train has "),
        (["images/x/a.jpg"], ["a.jpg"], "1 of its 1 images are missing (a.jpg); {root}/images has 1 file: x/a.jpg; "),
    ],
)
def test_missing_images_are_counted_and_named(tmp_path, files, names, message):
    with pytest.raises(FileError) as error:
        located(tmp_path, files, names)
    assert str(error.value).startswith("train.json: " + message.format(root=tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [["a.jpg", "a.jpg"], ["x/a.jpg", "y/a.jpg"], ["./a.jpg", "a.jpg"]])
def test_several_images_of_one_file_are_an_error(tmp_path, names):
    with pytest.raises(FileError, match=r"train.json has 2 images of the same file, .*/a.jpg; join them"):
        located(tmp_path, ["train/a.jpg"], names)
