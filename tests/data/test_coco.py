import json
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from torch.testing import assert_close

from boxes import FIRST, SECOND, coco_document, coco_folder, photograph
from tinynas.data.labels import class_labels
from tinynas.data.objects import CROWD, KIND, OBJECT
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError

WHOLE = [0, 0, 1, 1]  # the box of the crowd in coco_document


def class_and_box(objects):
    """Class index and box of every object."""
    return objects[:, :5].tolist()


@pytest.mark.parametrize("files", ["instances_{part}2017", "my_{part}_boxes"])
@pytest.mark.parametrize("images", ["{part}2017", "images", "{part}", "images/{part}", "."])
def test_coco_is_read_from_every_layout(tmp_path, images, files):
    if images == "{part}2017" and not files.startswith("instances_"):
        images = files
    folder = coco_folder(tmp_path / "set", images, files)
    (folder / "annotations" / "captions_other2017.json").write_text("{}")
    data = load_data(f"coco:{folder}")
    assert (data.task, data.classes) == ("detect", ("zebra", "ant"))
    assert [len(split) for split in (data.train, data.val, data.test)] == [11, 1, 3]
    assert class_and_box(data.test.objects[0]) == [[0, *FIRST], [1, *SECOND], [1, *WHOLE]]
    assert data.test.objects[2].shape == (0, 7)
    pixels, labels = next(iter(data.evaluation_batches(data.test, 16)))
    assert pixels.shape == (3, 3, 16, 16)
    assert labels[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert labels[:, 6:].tolist() == [[400, OBJECT], [51.5, OBJECT], [800, CROWD]] * 2


def test_coco_is_read_from_annotations_beside_the_images(tmp_path):
    folder = roboflow_folder(tmp_path / "set")
    data = load_data(f"coco:{folder}")
    assert [len(split) for split in (data.train, data.val, data.test)] == [11, 1, 3]
    assert data.test.read.files[0] == str(folder / "valid" / "val0.jpg")


def roboflow_folder(root, *, test=0):
    """A folder of Roboflow's: train/, valid/ and, if it has images, test/, each with its annotations."""
    folder = coco_folder(root)
    for part, name in (("train", "train"), ("val", "valid")):
        (folder / f"{part}2017").rename(folder / name)
        (folder / "annotations" / f"instances_{part}2017.json").rename(folder / name / "_annotations.coco.json")
    (folder / "annotations").rmdir()
    if test:
        document = coco_document("test", test)
        for image in document["images"]:
            photograph(folder / "test" / image["file_name"])
        (folder / "test" / "_annotations.coco.json").write_text(json.dumps(document))
    return folder


def test_coco_says_which_annotated_images_are_not_used(tmp_path):
    folder = roboflow_folder(tmp_path / "set", test=4)
    data = load_data(f"coco:{folder}")
    assert len(data.test) == 3
    assert data.left_out[0] == "test/: 4 annotated images; valid/ is the test split"
    (folder / "valid").rename(folder / "other")
    with pytest.raises(FileError, match=r"set has other, test, train; rename test/ to valid/ to test on it$"):
        load_data(f"coco:{folder}")
    (folder / "other").rename(folder / "valid")
    (folder / "test" / "_annotations.coco.json").write_text("{}")
    assert load_data(f"coco:{folder}").left_out[0] == (
        "test/: annotations that cannot be read; valid/ is the test split"
    )
    folder = coco_folder(tmp_path / "other", "images")
    (folder / "annotations" / "instances_test2017.json").write_text(json.dumps(coco_document("train", 1)))
    (folder / "annotations" / "image_info_test2017.json").write_text("{}")
    assert load_data(f"coco:{folder}").left_out[0] == (
        "annotations/instances_test2017.json: 1 annotated image; annotations/instances_val2017.json is the test split"
    )


@pytest.mark.parametrize(
    ("trained", "tested", "images"),
    [
        ("Train", "Validation", "images/{part}"),
        ("train", "validation", "images/{part}"),
        ("TRAIN", "VAL", "Images/{part}"),
        ("train", "val", "Images/{part}"),
        ("Train", "Valid", "images"),
    ],
)
@pytest.mark.parametrize("annotations", ["annotations", "Annotations"])
def test_coco_is_read_from_names_in_any_case(tmp_path, trained, tested, images, annotations):
    folder = coco_folder(tmp_path / "set", "{part}", "{part}")
    (folder / "annotations").rename(folder / annotations)
    for part, name in (("train", trained), ("val", tested)):
        (folder / annotations / f"{part}.json").rename(folder / annotations / f"instances_{name}.json")
        target = folder / images.format(part=name)
        target.mkdir(parents=True, exist_ok=True)
        for file in list((folder / part).iterdir()):
            file.rename(target / file.name)
        (folder / part).rmdir()
    data = load_data(f"coco:{folder}")
    assert [len(split) for split in data.splits.values()] == [11, 1, 3]


def test_coco_names_what_to_rename(tmp_path):
    folder = coco_folder(tmp_path / "set")
    annotations = folder / "annotations"
    (annotations / "instances_train2017.json").rename(annotations / "instances_default.json")
    with pytest.raises(FileError) as error:
        load_data(f"coco:{folder}")
    assert str(error.value) == (
        f"{folder} has no annotations/instances_train*.json; {annotations} has instances_default.json, "
        "instances_val2017.json; rename annotations/instances_default.json to annotations/instances_train.json"
    )
    (annotations / "instances_val2017.json").unlink()
    with pytest.raises(FileError) as error:
        load_data(f"coco:{folder}")
    assert str(error.value).endswith(
        "rename annotations/instances_default.json to annotations/instances_train.json, and add "
        "annotations/instances_val.json, of the images to test on"
    )
    (annotations / "instances_default.json").rename(annotations / "instances_train.json")
    (annotations / "instances_Default.json").touch()
    with pytest.raises(
        FileError, match=r"rename annotations/instances_Default.json to annotations/instances_val.json$"
    ):
        load_data(f"coco:{folder}")


def test_coco_of_crowds_only_is_an_error_that_counts_them(tmp_path):
    folder = coco_folder(tmp_path / "set")
    path = folder / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    document["annotations"] = [entry for entry in document["annotations"] if entry["iscrowd"]]
    path.write_text(json.dumps(document))
    with pytest.raises(
        FileError, match=r"have no objects but those .* \(annotations of crowds, not trained on: 11\); annotate others"
    ):
        load_data(f"coco:{folder}")


def test_coco_counts_what_is_left_out(tmp_path):
    folder = coco_folder(tmp_path / "set")
    photograph(folder / "train2017" / "extra.png")
    assert load_data(f"coco:{folder}").left_out == (
        "annotations of crowds, not trained on: 10",
        "boxes without area: 13",
        "categories without objects: never seen",
        f"images in {folder}/train2017 that are in no split, not listed or not annotated: 1 (extra.png)",
    )


def test_coco_has_the_objects_that_pycocotools_reads(tmp_path):
    folder = coco_folder(tmp_path / "set")
    data = load_data(f"coco:{folder}")
    for part, splits in (("train", (data.train, data.val)), ("val", (data.test,))):
        with redirect_stdout(None):
            theirs = COCO(str(folder / "annotations" / f"instances_{part}2017.json"))
        objects = {}
        for split in splits:
            objects |= {Path(file).name: rows for file, rows in zip(split.read.files, split.objects, strict=True)}
        assert sorted(objects) == sorted(image["file_name"] for image in theirs.loadImgs(theirs.getImgIds()))
        used = theirs.loadCats(sorted({record["category_id"] for record in theirs.loadAnns(theirs.getAnnIds())}))
        assert data.classes == tuple(record["name"] for record in used)
        for image in theirs.loadImgs(theirs.getImgIds()):
            expected = []
            crowds = {} if part == "val" else {"iscrowd": False}
            for record in theirs.loadAnns(theirs.getAnnIds(image["id"], areaRng=[0.1, 1e9], **crowds)):
                x, y, width, height = record["bbox"]
                name = theirs.loadCats(record["category_id"])[0]["name"]
                box = [x / 40, y / 20, min((x + width) / 40, 1), (y + height) / 20]
                expected.append([data.classes.index(name), *box, record["area"], record["iscrowd"]])
            found = part_objects(objects[image["file_name"]], part)
            assert_close(found, torch.tensor(expected).reshape(-1, 7), check_dtype=False)


def part_objects(objects, part):
    """The objects of an image; of search-val, which keeps crowds, those that the training split would have."""
    return objects[objects[:, KIND] == OBJECT] if part == "train" else objects


def test_coco_keeps_crowds_but_for_training(tmp_path):
    data = load_data(f"coco:{coco_folder(tmp_path / 'set')}")
    crowds = {name: int((split.labels[:, 1 + KIND] == CROWD).sum()) for name, split in data.splits.items()}
    images = {name: sum(len(objects) > 0 for objects in split.objects) for name, split in data.splits.items()}
    assert crowds == {"train": 0, "val": images["val"], "test": images["test"]}
    assert data.left_out[0] == f"annotations of crowds, not trained on: {images['train']}"


def test_coco_leaves_out_crowds_without_bbox(tmp_path):
    folder = coco_folder(tmp_path / "set")
    path = folder / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    for entry in document["annotations"]:
        if entry["iscrowd"]:
            del entry["bbox"]
    path.write_text(json.dumps(document))
    data = load_data(f"coco:{folder}")
    assert not (data.test.labels[:, 1 + KIND] == CROWD).any()
    assert "annotations of crowds without bbox: 2" in data.left_out


def test_coco_ignores_its_other_annotations(tmp_path):
    folder = coco_folder(tmp_path / "set")
    for part in ("train", "val"):
        (folder / "annotations" / f"captions_{part}2017.json").write_text("{}")
    assert len(load_data(f"coco:{folder}").test) == 3


def test_coco_matches_categories_by_name(tmp_path):
    folder = coco_folder(tmp_path / "set")
    path = folder / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    document["categories"] = [{"id": 7, "name": "ant"}, {"id": 90, "name": "zebra"}]
    path.write_text(json.dumps(document))
    assert class_and_box(load_data(f"coco:{folder}").test.objects[0]) == [[1, *FIRST], [0, *SECOND], [0, *WHOLE]]


def first(key, **values):
    return lambda document: document[key][0].update(values)


@pytest.mark.parametrize(
    ("part", "spoil", "message"),
    [
        ("val", first("annotations", bbox=[9, 5, 3]), "not a file of COCO's annotations: .* bbox"),
        (
            "val",
            first("categories", name="gnat"),
            r"has objects of gnat, of which the training images have none \(their classes are zebra, ant\)",
        ),
        (
            "val",
            lambda document: document["annotations"][0].update(category_id=30),
            r"has objects of never seen, of which the training images have none \(their classes are zebra, ant\)",
        ),
        (
            "val",
            first("images", file_name="lost.jpg"),
            r"1 of its 3 images are missing \(lost.jpg\); .*/val2017 has 3 files: val0.jpg, val1.jpg, val2.jpg; add",
        ),
        ("train", first("images", width=80), "train0.jpg 80x20 instead of 40x20; restore the images"),
        (
            "train",
            lambda document: document["annotations"].clear(),
            "has no classes: its 12 training images have no objects; annotate some",
        ),
    ],
)
def test_coco_names_damage(tmp_path, part, spoil, message):
    folder = coco_folder(tmp_path / "set")
    path = folder / "annotations" / f"instances_{part}2017.json"
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    with pytest.raises(FileError, match=message) as error:
        load_data(f"coco:{folder}")
    assert "\n" not in str(error.value)
    assert str(path if "classes: its" not in message else folder) in str(error.value)


def test_coco_clips_and_leaves_out_boxes_outside_of_their_images(tmp_path):
    folder = coco_folder(tmp_path / "set")
    path = folder / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    boxes = [[30, 5, 14, 5], [-5, 5, 12, 5], [9, 5, -3, 5], [41, 5, 9, 9]]
    of_zebras = [entry for entry in document["annotations"] if entry["category_id"] == 7]
    for annotation, box in zip(of_zebras, boxes, strict=False):
        annotation["bbox"] = box
    path.write_text(json.dumps(document))
    data = load_data(f"coco:{folder}")
    assert data.notes == (
        "boxes that reached outside of their image, clipped: 2 (first: (30, 5, 44, 10) of zebra on train0.jpg)",
    )
    assert [line for line in data.left_out if line.startswith("boxes ")] == [
        "boxes without area: 13",
        "boxes with a negative width or height: 1 (first: (9, 5, 6, 10) of zebra on train2.jpg)",
        "boxes outside of their image: 1 (first: (41, 5, 50, 14) of zebra on train3.jpg)",
    ]
    numbers = torch.cat([class_labels(split)[1] for split in (data.train, data.val)])
    assert numbers.bincount().tolist() == [9, 11], "two of eleven zebras are left out"


@pytest.mark.parametrize("content", ["", "<annotation/>", '{"images": ['])
def test_coco_names_files_that_are_not_json(tmp_path, content):
    folder = coco_folder(tmp_path / "set")
    (folder / "annotations" / "instances_val2017.json").write_text(content)
    with pytest.raises(FileError, match=r"instances_val2017\.json is damaged"):
        load_data(f"coco:{folder}")


def test_coco_names_files_that_are_missing_or_too_many(tmp_path):
    folder = coco_folder(tmp_path / "set")
    path = folder / "annotations" / "instances_val2017.json"
    path.with_name("instances_val2014.json").write_text(path.read_text())
    with pytest.raises(
        FileError, match=r"one annotations/instances_\*val\*\.json, but has annotations/instances_val2014.json, "
    ):
        load_data(f"coco:{folder}")
    path.with_name("instances_val2014.json").unlink()
    path.unlink()
    with pytest.raises(
        FileError, match=r"no annotations/instances_val\*\.json; .*/annotations has instances_train2017.json; "
    ):
        load_data(f"coco:{folder}")
