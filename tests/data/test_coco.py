import json

import pytest

from boxes import FIRST, SECOND, photograph
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError


def coco_document(prefix="train", count=12):
    """Image i has the id 100 + i; all but the last have a zebra and an ant, and a crowd of ants."""
    images = [{"id": 100 + i, "file_name": f"{prefix}{i}.jpg", "width": 40, "height": 20} for i in range(count)]
    annotations = [
        {"image_id": image["id"], "category_id": number, "bbox": box, "iscrowd": crowd}
        for image in images[:-1]
        for number, box, crowd in (
            (7, [0, 0, 20, 20], 0),
            (90, [30, 10, 10.3, 5], 0),
            (90, [0, 0, 40, 20], 1),
            (90, [3, 4, 1.5, 0], 0),
        )
    ]
    categories = [{"id": 90, "name": "ant"}, {"id": 7, "name": "zebra"}, {"id": 30, "name": "never seen"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_folder(root, images="{part}2017", files="instances_{part}2017"):
    (root / "annotations").mkdir(parents=True)
    for part, count in (("train", 12), ("val", 3)):
        document = coco_document(part, count)
        (root / "annotations" / f"{files.format(part=part)}.json").write_text(json.dumps(document))
        for image in document["images"]:
            photograph(root / images.format(part=part) / image["file_name"])
    return root


@pytest.mark.parametrize("files", ["instances_{part}2017", "my_{part}_boxes"])
@pytest.mark.parametrize("images", ["{part}2017", "images", "."])
def test_coco_is_read_from_every_layout(tmp_path, images, files):
    if images == "{part}2017" and not files.startswith("instances_"):
        images = files
    folder = coco_folder(tmp_path / "set", images, files)
    (folder / "annotations" / "captions_other2017.json").write_text("{}")
    data = load_data(f"coco:{folder}")
    assert (data.task, data.classes) == ("detect", ("zebra", "never seen", "ant"))
    assert [len(split) for split in (data.train, data.val, data.test)] == [11, 1, 3]
    assert data.test.objects[0].tolist() == [[0, *FIRST], [2, *SECOND]]
    assert data.test.objects[2].shape == (0, 5)
    pixels, labels = next(iter(data.evaluation_batches(data.test, 16)))
    assert pixels.shape == (3, 3, 16, 16)
    assert labels[:, 0].tolist() == [0, 0, 1, 1]


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
    assert load_data(f"coco:{folder}").test.objects[0].tolist() == [[2, *FIRST], [0, *SECOND]]


def first(key, **values):
    return lambda document: document[key][0].update(values)


@pytest.mark.parametrize(
    ("part", "spoil", "message"),
    [
        ("train", first("annotations", bbox=[30, 5, 12, 5]), r"box \(30, 5, 42, 10\) of zebra on train0.jpg .* 40x20"),
        ("train", first("annotations", bbox=[-2, 5, 12, 5]), r"box \(-2, 5, 10, 10\) of zebra on train0.jpg"),
        ("train", first("annotations", bbox=[40.2, 5, 0.3, 5]), r"box \(40.2, 5, 40.5, 10\)"),
        ("val", first("annotations", bbox=[9, 5, -3, 5]), r"box \(9, 5, 6, 10\) of zebra on val0.jpg is empty"),
        ("val", first("annotations", bbox=[9, 5, 3]), "not a file of COCO's annotations"),
        ("val", first("annotations", category_id=8), "category 8 is not among its categories"),
        ("val", first("annotations", image_id=8), "annotations of image 8, which is not among its images"),
        ("val", first("categories", name="gnat"), "no class 'gnat' is among the 3 to train on"),
        ("val", first("images", file_name="lost.jpg"), r"has lost.jpg, which is in none of .*val2017, .*images, .*set"),
        ("train", first("images", width=0), "its image of 0x20"),
        ("train", first("images", width=None), "not a file of COCO's annotations"),
        ("train", lambda document: document.pop("categories"), "not a file of COCO's annotations: no 'categories'"),
        ("train", lambda document: document["annotations"][0].pop("bbox"), "no 'bbox'"),
        ("train", lambda document: document["images"].clear(), "annotations of image 100"),
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
    assert str(path) in str(error.value)


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
        FileError, match=r"one instances_val\*\.json, but has instances_val2014.json, instances_val2017.json"
    ):
        load_data(f"coco:{folder}")
    path.with_name("instances_val2014.json").unlink()
    path.unlink()
    with pytest.raises(FileError, match=r"must have one instances_val\*\.json, but has none"):
        load_data(f"coco:{folder}")
