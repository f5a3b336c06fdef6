"""YOLO data sets: layouts, parts, names and oddities. The boxes of yolo_folder are FIRST and SECOND."""

import shutil

import pytest
import yaml

from boxes import FIRST, SECOND, photograph, yolo_folder
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError

NAMES = {"names": ["dog", "cat"], "nc": 2}


def sizes(data):
    return [len(split) for split in data.splits.values()]


def with_yaml(folder, file="data.yaml", **document):
    (folder / file).write_text(yaml.safe_dump(document))
    return folder


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images/{part}", "labels/{part}"),
        ("{part}/images", "{part}/labels"),
        ("{part}", "{part}"),
        ("Images/{part}", "Labels/{part}"),
        ("images/{part}/deep", "labels/{part}/deep"),
    ],
)
def test_folders_without_a_yaml_file_are_read(tmp_path, images, labels):
    folder = yolo_folder(tmp_path / "set", images, labels, train=12, val=3)
    data = load_data(f"yolo:{folder}")
    assert (data.task, data.classes, data.channels) == ("detect", ("0", "1"), 3)
    assert sizes(data) == [11, 1, 3]
    assert [data.test.objects[0][:, :5].tolist()] == [[[0, *FIRST], [1, *SECOND]]]
    assert [len(objects) for objects in data.test.objects] == [2, 2, 0]
    assert (data.left_out, data.notes) == ((), ())
    assert data.train.flip
    pixels, labels = next(iter(data.evaluation_batches(data.test, 16)))
    assert pixels.shape == (3, 3, 16, 16)
    assert labels[:, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "test"])
def test_parts_may_have_other_names(tmp_path, name):
    folder = yolo_folder(tmp_path, train=12, val=3)
    for kind in ("images", "labels"):
        (folder / kind / "val").rename(folder / kind / name)
    assert sizes(load_data(f"yolo:{folder}")) == [11, 1, 3]


@pytest.mark.parametrize("labels", ["labels", "images", "annotations/../labels"])
def test_folders_without_parts_are_split_always_alike(tmp_path, labels):
    folder = yolo_folder(tmp_path / "set", "images", labels, all=20)
    data, again = load_data(f"yolo:{folder}"), load_data(f"yolo:{folder}")
    assert sizes(data) == [14, 2, 4]
    assert data.notes == (
        "there is no part to test on: 4 of 20 images, chosen at random and always the same, are the test split",
    )
    files = [split.read.files for split in data.splits.values()]
    assert files == [split.read.files for split in again.splits.values()]
    assert len({file for part in files for file in part}) == 20
    in_order = sorted(str(file) for file in folder.glob("images/*.jpg"))
    assert data.test.read.files not in (in_order[:4], in_order[-4:])


def test_images_beside_their_labels_are_read(tmp_path):
    folder = yolo_folder(tmp_path / "set", ".", ".", all=10)
    (folder / "classes.txt").write_text("dog\ncat\n")
    (folder / "notes.txt").write_text("drawn by hand\n")
    data = load_data(f"yolo:{folder}")
    assert (data.classes, sizes(data), data.left_out) == (("dog", "cat"), [7, 1, 2], ())


def test_every_class_keeps_an_image_to_train_on(tmp_path):
    folder = yolo_folder(tmp_path / "set", "images", "labels", all=10)
    for number in range(10):  # each image but two has a class of its own
        (folder / "labels" / f"all{number}.txt").write_text(f"{min(number, 8)} 0.5 0.5 0.5 0.5\n")
    data = load_data(f"yolo:{folder}")
    assert sizes(data) == [8, 1, 1]
    assert data.test.objects[0][0, 0] == 8
    (folder / "labels" / "all9.txt").write_text("9 0.5 0.5 0.5 0.5\n")
    with pytest.raises(
        FileError, match="none of its 10 images can be held out, as each has the only object of a class"
    ):
        load_data(f"yolo:{folder}")


def test_two_images_cannot_be_split(tmp_path):
    folder = yolo_folder(tmp_path / "set", "images", "labels", all=2)
    with pytest.raises(FileError, match=r"set has 2 annotated images, but needs at least 3, of which one tests; add"):
        load_data(f"yolo:{folder}")


PARTS = {"train": "images/train", "val": "images/val"}
YAMLS = {
    "folders": PARTS,
    "path": {"path": ".", **PARTS},
    "absolute": {"path": "{root}", "train": "{root}/set/images/train", "val": "set/images/val"},
    "path beside": {"path": "../set", **PARTS},
    "path of another machine": {"path": "/content/datasets/set", **PARTS},
    "folders of another machine": {"train": "/content/data/set/images/train", "val": "D:\\data\\images\\val"},
    "roboflow": {"train": "../images/train", "val": "../images/val", "test": "../images/test"},
    "a level too high": {"train": "../../images/train", "val": "../../images/val"},
    "list of folders": {"train": ["images/train"], "val": ["images/val"]},
    "list of images": {"train": "train.txt", "val": "lists/val.txt"},
    "valid": {"train": "images/train", "valid": "images/val"},
    "empty test": {**PARTS, "test": None},
    "missing test": {**PARTS, "test": "images/nothing"},
}


@pytest.mark.parametrize("case", YAMLS)
def test_yaml_files_are_read(tmp_path, case):
    folder = yolo_folder(tmp_path / "set", train=12, val=3)
    (folder / "train.txt").write_text("".join(f"./images/train/train{number}.jpg\n" for number in range(12)) + "\n")
    (folder / "lists").mkdir()
    (folder / "lists" / "val.txt").write_text("".join(f"images/val/val{number}.jpg\n" for number in range(3)))
    with_yaml(folder, **NAMES, **YAMLS[case])
    (folder / "data.yaml").write_text((folder / "data.yaml").read_text().replace("{root}", str(tmp_path)))
    for path in (folder, folder / "data.yaml"):
        data = load_data(f"yolo:{path}")
        assert (data.classes, sizes(data)) == (("dog", "cat"), [11, 1, 3])
        assert data.test.read.files[0] == str(folder / "images" / "val" / "val0.jpg")
        assert (data.left_out, data.notes) == ((), ())


def test_paths_may_be_relative_to_the_current_folder(tmp_path, monkeypatch):
    yolo_folder(tmp_path / "data" / "set", train=12, val=3)
    (tmp_path / "settings").mkdir()
    with_yaml(tmp_path / "settings", path="data/set", **PARTS)
    monkeypatch.chdir(tmp_path)
    assert sizes(load_data(f"yolo:{tmp_path}/settings")) == [11, 1, 3]


def test_several_folders_are_joined(tmp_path):
    folder = yolo_folder(tmp_path, train=12, val=3, more=8)
    with_yaml(folder, train=["images/train", "images/more"], val="images/val", **NAMES)
    assert sizes(load_data(f"yolo:{folder}")) == [18, 2, 3]


def test_other_names_of_the_yaml_file_are_found_if_there_is_one(tmp_path):
    folder = with_yaml(yolo_folder(tmp_path, train=4, val=2), "pets.yml", **PARTS, **NAMES)
    (folder / "notes.yaml").write_text("author: me\n")
    assert load_data(f"yolo:{folder}").classes == ("dog", "cat")
    with_yaml(folder, "other.yaml", **PARTS)
    with pytest.raises(FileError, match=r"several files that say where images are, other.yaml, pets.yml; pass one of"):
        load_data(f"yolo:{folder}")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ({"names": ["dog", "cat"]}, ("dog", "cat")),
        ({"names": {0: "dog", 1: "cat"}}, ("dog", "cat")),
        ({"names": {1: "cat"}, "nc": 2}, ("0", "cat")),
        ({"names": ["dog"], "nc": 2}, ("dog", "1")),
        ({"nc": 2}, ("0", "1")),
        ({}, ("0", "1")),
        ({"names": None}, ("0", "1")),
        ({"names": ["no", "on"]}, ("no", "on")),
        ({"names": [" dog ", ""]}, ("dog", "1")),
        ({"names": [7, 1e3]}, ("7", "1000.0")),
    ],
)
def test_class_names(tmp_path, names, classes):
    folder = with_yaml(yolo_folder(tmp_path, train=4, val=2), **PARTS, **names)
    if names.get("names") == ["no", "on"]:
        (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [no, on]\n")
    data = load_data(f"yolo:{folder}")
    assert data.classes == classes


def test_classes_without_objects_are_no_classes_and_numbers_may_have_holes(tmp_path):
    folder = with_yaml(yolo_folder(tmp_path, train=6, val=2), **PARTS, names=["a", "dog", "b", "c", "d", "cat"])
    for file in folder.glob("labels/*/*.txt"):
        file.write_text(file.read_text().replace("1 0.875", "5 0.875").replace("0 0.25", "1 0.25"))
    data = load_data(f"yolo:{folder}")
    assert data.classes == ("dog", "cat")
    assert data.left_out == ("categories without objects: a, b, c, d",)
    assert data.test.objects[0][:, :5].tolist() == [[0, *FIRST], [1, *SECOND]]


def test_test_part_comes_before_val_if_it_has_labels(tmp_path):
    folder = yolo_folder(tmp_path, train=6, val=3, test=2)
    data = load_data(f"yolo:{folder}")
    assert sizes(data) == [5, 1, 2]
    assert data.left_out == ("val: 3 images; test is the test split",)
    shutil.rmtree(folder / "labels" / "test")
    data = load_data(f"yolo:{folder}")
    assert sizes(data) == [5, 1, 3]
    assert data.left_out == ("test: 2 images without label files; val is the test split",)
    shutil.rmtree(folder / "labels" / "val")
    with pytest.raises(
        FileError, match=r"none of the 3 images of val has a label file \(val0.jpg, .*in labels/NAME.txt"
    ):
        load_data(f"yolo:{folder}")


def test_a_missing_part_val_is_no_error_if_there_is_a_part_test(tmp_path):
    folder = with_yaml(yolo_folder(tmp_path, train=12, test=2), **PARTS, test="images/test")
    data = load_data(f"yolo:{folder}")
    assert (sizes(data), data.left_out) == ([11, 1, 2], ())


def test_labels_in_their_own_folder_come_before_those_beside_images(tmp_path):
    folder = yolo_folder(tmp_path, train=12, val=3)
    (folder / "images" / "val" / "val0.txt").write_text("1 0.5 0.5 1 1\n")
    (folder / "images" / "val" / "val2.txt").write_text("1 0.5 0.5 1 1\n")
    (folder / "labels" / "val" / "val2.txt").unlink()
    test = load_data(f"yolo:{folder}").test
    assert test.objects[0][:, :5].tolist() == [[0, *FIRST], [1, *SECOND]]
    assert test.objects[2][:, :5].tolist() == [[1, 0, 0, 1, 1]]


def test_images_of_both_parts_are_for_testing_only(tmp_path):
    folder = with_yaml(yolo_folder(tmp_path, train=12, val=3), train=["images/train", "images/val"], val="images/val")
    data = load_data(f"yolo:{folder}")
    assert sizes(data) == [11, 1, 3]
    assert data.left_out == ("images in both train and val, which are used for testing only: 3",)


def test_parts_of_the_same_images_are_split(tmp_path):
    folder = with_yaml(yolo_folder(tmp_path, train=20), train="images/train", val="images/train")
    data = load_data(f"yolo:{folder}")
    assert sizes(data) == [14, 2, 4]
    assert data.notes == (
        "all images of train are in val as well",
        "there is no part to test on: 4 of 20 images, chosen at random and always the same, are the test split",
    )


def test_images_without_label_file_or_without_lines_have_no_objects(tmp_path):
    folder = yolo_folder(tmp_path, train=12, val=3)
    (folder / "labels" / "train" / "train1.txt").unlink()
    (folder / "labels" / "train" / "train2.txt").write_text(" \n\n")
    (folder / "labels" / "train" / "gone.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "labels" / "train" / "classes.txt").write_text("dog\ncat\n")
    data = load_data(f"yolo:{folder}")
    assert sum(len(objects) == 0 for split in (data.train, data.val) for objects in split.objects) == 3
    assert data.notes == (
        "images of train without a label file, taken as images without objects: 1 of 12 (train1.jpg)",
    )
    assert data.left_out == (f"label files in {folder}/labels/train of images in no part: 1 (gone.txt)",)


def test_boxes_outside_are_clipped_or_left_out(tmp_path):
    folder = yolo_folder(tmp_path, train=12, val=3)
    lines = "0 0.25 0.5 0.5 1\n0 0.9 0.5 0.4 0.5\n1 1.5 0.5 0.2 0.2\n1 0.5 0.5 -0.2 0.2\n1 0.5 0.5 0 0.2\n"
    (folder / "labels" / "train" / "train3.txt").write_text(lines)
    data = load_data(f"yolo:{folder}")
    assert data.notes == (
        "boxes that reached outside of their image, clipped: 1 (first: (0.7, 0.25, 1.1, 0.75) of 0 on train3.jpg)",
    )
    assert data.left_out == (
        "boxes outside of their image: 1 (first: (1.4, 0.4, 1.6, 0.6) of 1 on train3.jpg)",
        "boxes with a negative width or height: 1 (first: (0.6, 0.4, 0.4, 0.6) of 1 on train3.jpg)",
        "boxes without area: 1",
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_lie_on_photographs_as_they_are_shown(tmp_path, orientation):
    """The red box of a photograph that is stored turned is where its label says, as predict reads it."""
    from tinynas.data.images import read_image
    from tinynas.data.pixel_boxes import turned_box

    folder = yolo_folder(tmp_path, train=4, val=2)
    file = folder / "images" / "val" / "val0.png"
    (folder / "images" / "val" / "val0.jpg").unlink()
    photograph(file, orientation=orientation, box=(4, 5, 12, 10))
    shown = read_image(file)
    height, width = shown.shape[1:]
    white = (shown > 250).all(0).nonzero()
    (y1, x1), (y2, x2) = white.min(0).values.tolist(), (white.max(0).values + 1).tolist()
    if orientation > 4:
        assert (width, height) == (20, 40)
        assert turned_box((4, 5, 12, 10), orientation, (width, height)) == (x1, y1, x2, y2)
    centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
    label = f"0 {centre[0]} {centre[1]} {(x2 - x1) / width} {(y2 - y1) / height}\n"
    (folder / "labels" / "val" / "val0.txt").write_text(label)
    test = load_data(f"yolo:{folder}").test
    assert test.read.files[0] == str(file)
    assert test.read(0).equal(shown)
    box = test.objects[0][0, 1:5].tolist()
    assert box == pytest.approx([x1 / width, y1 / height, x2 / width, y2 / height])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"val": "images/val"}, r"data.yaml has no train, which says where the images to train on are; add it$"),
        (
            {"train": "images/nothing"},
            r"data.yaml: there is no images/nothing, the images of train, in {root}; {root} has ",
        ),
        (
            {**PARTS, "val": "x"},
            r"data.yaml: there is no x, the images of val, in {root}; {root} has data.yaml, empty, images, ",
        ),
        ({"train": "empty"}, r"data.yaml has no images to train on: {root}/empty has none$"),
        ({"train": 7, "val": {}}, r"data.yaml: val must be text, but is {{}}; fix the file"),
        ({**PARTS, "val": [""]}, r"data.yaml: val must be a path or a list of paths, but has ''; fix"),
        (
            {"train": "data.yaml"},
            r"data.yaml: {root}/data.yaml is neither a folder nor a list \(.txt\) of images; correct",
        ),
        (
            {"train": "list.txt"},
            r"list.txt: 1 of its 2 images are missing \(images/lost.jpg\); .* 6 files: .*; add them",
        ),
        ({**PARTS, "nc": 1, "names": ["a", "b"]}, r"data.yaml: nc is 1, but names has 2 classes; fix the file"),
        ({**PARTS, "nc": "two"}, r"data.yaml: nc must be a whole number from 0 to 100,000, but is 'two'; fix"),
        ({**PARTS, "names": "dog"}, r"data.yaml: names must be a list or a mapping of numbers to names, but is 'dog'"),
        ({**PARTS, "names": {"dog": 0}}, r"data.yaml: a key of names must be a whole number from 0 .*, but is 'dog'"),
        ({**PARTS, "names": [["dog"]]}, r"data.yaml: names has \['dog'\], which is not text; fix"),
        ({**PARTS, "names": ["dog", "dog"]}, r"data.yaml: several classes have the name 'dog'; fix the file"),
        ({**PARTS, "names": ["dog", "a\tb"]}, r"data.yaml: the name 'a\\tb' has control characters; fix the file"),
        ({**PARTS, "kpt_shape": 3}, r"data.yaml: kpt_shape must be a list of two numbers, but is '3'; fix"),
        (
            {**PARTS, "names": ["dog"]},
            r"train0.txt, line 2: the class 1 is not from 0 to 0, as there are 1 classes; fix",
        ),
    ],
)
def test_wrong_yaml_files_are_named(tmp_path, document, message):
    folder = with_yaml(yolo_folder(tmp_path / "set", train=4, val=2), **document)
    (folder / "empty").mkdir()
    (folder / "list.txt").write_text("images/train/train0.jpg\nimages/lost.jpg\n")
    with pytest.raises(FileError, match=message.format(root=folder)) as error:
        load_data(f"yolo:{folder}")
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "", "train: [", "just text"])
def test_yaml_files_of_other_content_are_an_error(tmp_path, content):
    (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(FileError, match=r"data.yaml.* (must have keys such as train|is not valid YAML)") as error:
        load_data(f"yolo:{tmp_path}")
    assert "\n" not in str(error.value)


def test_missing_folders_and_labels_are_named(tmp_path):
    with pytest.raises(FileError, match=rf"^there is no folder {tmp_path}/x; expected a data.yaml, or a folder with"):
        load_data(f"yolo:{tmp_path}/x")
    with pytest.raises(FileError, match=rf"^no images in {tmp_path}: {tmp_path} has none; expected a data.yaml"):
        load_data(f"yolo:{tmp_path}")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileError, match=r"notes.txt is not a YAML file; expected"):
        load_data(f"yolo:{tmp_path}/notes.txt")
    folder = yolo_folder(tmp_path / "set", train=4, val=2)
    shutil.rmtree(folder / "images" / "train")
    with pytest.raises(FileError, match=r"set has images in val, but none in train; expected"):
        load_data(f"yolo:{folder}")
    folder = yolo_folder(tmp_path / "other", train=4, val=2)
    shutil.rmtree(folder / "labels")
    with pytest.raises(
        FileError, match=r"other: none of the 4 images of train has a label file \(train0.jpg, .* and 1 m"
    ):
        load_data(f"yolo:{folder}")
