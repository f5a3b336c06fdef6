import codecs
import json

import pytest

from tinynas.data.coco_json import read_coco
from tinynas.data.objects import CROWD
from tinynas.data.pixel_boxes import AnnotatedObject
from tinynas.utils.errors import FileError

MISSING = object()


def document(**changes):
    """Two images, three categories and an object of the second category on the first image."""
    return {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 40, "height": 20}, {"id": 6, "file_name": "b.jpg"}],
        "categories": [{"id": 9, "name": "ant"}, {"id": 2, "name": "dog"}, {"id": 4, "name": "cat"}],
        "annotations": [{"image_id": 5, "category_id": 2, "bbox": [1, 2, 30, 4]}],
    } | changes


def written(folder, content):
    file = folder / "instances.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


def annotation(**changes):
    record = {"image_id": 5, "category_id": 2, "bbox": [1, 2, 30, 4]} | changes
    return {key: value for key, value in record.items() if value is not MISSING}


def image(**changes):
    return {"id": 5, "file_name": "a.jpg"} | changes


DOG = AnnotatedObject("dog", (1, 2, 31, 6))


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(document()).encode(),
        codecs.BOM_UTF8 + json.dumps(document()).encode(),
        json.dumps(document()).encode("utf-16"),
        json.dumps(document(), indent=2).replace("\n", "\r\n").encode(),
    ],
)
def test_annotation_files_are_read_in_the_encodings_of_tools(tmp_path, content):
    content = read_coco(written(tmp_path, content))
    assert content.categories == ["dog", "cat", "ant"]
    assert content.file_names == ["a.jpg", "b.jpg"]
    assert content.sizes == [(40, 20), None]
    assert content.objects == [[DOG], []]
    assert content.dropped.total() == 0


@pytest.mark.parametrize(
    ("annotations", "objects", "without_bbox"),
    [
        ([], [], 0),
        ([annotation()], [DOG], 0),
        ([annotation(), annotation()], [DOG, DOG], 0),
        ([annotation(bbox=[1.5, 2.25, 0.5, 4])], [DOG._replace(box=(1.5, 2.25, 2, 6.25))], 0),
        ([annotation(area=7)], [DOG._replace(area=7)], 0),
        ([annotation(area=0), annotation(area="7"), annotation(area=None)], [DOG, DOG, DOG], 0),
        ([annotation(image_id=5.0, category_id=2.0)], [DOG], 0),
        ([annotation(iscrowd=0), annotation(iscrowd=1, area=9)], [DOG, DOG._replace(area=9, kind=CROWD)], 0),
        ([annotation(iscrowd=1, bbox=MISSING, category_id=MISSING)], [], 1),
        ([annotation(iscrowd=None)], [DOG], 0),
    ],
)
def test_objects_are_those_of_the_annotations(tmp_path, annotations, objects, without_bbox):
    content = read_coco(written(tmp_path, document(annotations=annotations)))
    assert content.objects == [objects, []]
    assert content.dropped == {"annotations of crowds without bbox": without_bbox}


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, None),
        ({"width": 40, "height": 20}, (40, 20)),
        ({"width": 0, "height": 0}, None),
        ({"width": 40, "height": 0}, None),
        ({"width": 40}, None),
        ({"width": None, "height": None}, None),
        ({"width": 40.0, "height": 20.0}, (40, 20)),
    ],
)
def test_sizes_can_be_missing(tmp_path, changes, size):
    content = read_coco(written(tmp_path, document(images=[image(**changes)])))
    assert content.sizes == [size]


@pytest.mark.parametrize(
    ("categories", "names"),
    [
        ([{"id": 2, "name": " dog\t"}], ["dog"]),
        ([{"id": 2, "name": "柴犬"}], ["柴犬"]),
        ([{"id": 2, "name": 7}], ["7"]),
        ([{"id": 3, "name": "b"}, {"id": 10, "name": "c"}, {"id": 2, "name": "a"}], ["a", "b", "c"]),
        ([{"id": 2, "name": "dogs"}, {"id": 0, "name": "dogs"}], ["dogs"]),  # the latter has no objects
        ([{"id": "x", "name": "b"}, {"id": 2, "name": "a"}], ["a", "b"]),
    ],
)
def test_categories_are_in_the_order_of_their_ids(tmp_path, categories, names):
    content = read_coco(written(tmp_path, document(categories=categories)))
    assert content.categories == names


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "it has no list of images"),
        (document(images={}), "it has no list of images"),
        (document(categories=None), "it has no list of categories"),
        (document(annotations=[7]), "one of its annotations is 7"),
        (document(images=[{"id": 5}]), "one of its images has no file_name"),
        (document(images=[image(file_name=5)]), "the name 5 is not text"),
        (document(images=[image(file_name="a\nb")]), "the name 'a\\nb' has control characters"),
        (document(images=[image(file_name="\ud800")]), "the name '\\ud800' has control characters"),
        (document(images=[image(id=[5])]), "one of its images has the id [5]"),
        (document(images=[image(), image(file_name="b.jpg")]), "several of its images have the id 5"),
        (document(images=[image(width=-4, height=2)]), "one of its images has the width -4"),
        (document(images=[image(width="wide")]), "one of its images has the width 'wide'"),
        (document(images=[image(width=float("nan"))]), "one of its images has the width nan"),
        (document(categories=[{"id": 2, "name": "a"}] * 2), "several of its categories have the id 2"),
        (document(categories=[{"id": 2, "name": ""}]), "the name '' is not text"),
        (document(categories=[{"id": 2, "name": True}]), "one of its categories has the name True"),
        (document(categories=[{"id": 2}]), "one of its categories has no name"),
        (
            document(
                categories=[{"id": 2, "name": "dog"}, {"id": 3, "name": "dog"}],
                annotations=[annotation(), annotation(category_id=3)],
            ),
            "several of its categories with objects have the name dog",
        ),
        (document(annotations=[annotation(image_id=MISSING)]), "one of its annotations has no image_id"),
        (document(annotations=[annotation(category_id=MISSING)]), "one of its annotations has no category_id"),
        (document(annotations=[annotation(category_id=None)]), "one of its annotations has the category_id None"),
        (
            document(annotations=[annotation(category_id=8)]),
            "an annotation has the category_id 8, which is not among its categories",
        ),
        (
            document(annotations=[annotation(image_id="a")]),
            "an annotation has the image_id 'a', which is not among its images",
        ),
        (
            document(annotations=[annotation(), annotation(bbox=MISSING), annotation(bbox=[], image_id=6)]),
            "2 of its 3 annotations have no bbox, the first of them on image 5 (outlines and keypoints alone are not "
            "read)",
        ),
        (
            document(annotations=[annotation(bbox=[1, 2, 3])]),
            "an annotation of image 5 has the bbox [1, 2, 3] instead of four numbers",
        ),
        (
            document(annotations=[annotation(bbox=[1, 2, "3", 4])]),
            "an annotation of image 5 has the bbox [1, 2, '3', 4] instead of four numbers",
        ),
        (
            document(annotations=[annotation(bbox=[1, 2, float("nan"), 4])]),
            "an annotation of image 5 has the bbox [1, 2, nan, 4] instead of four numbers",
        ),
        (
            document(annotations=[annotation(bbox=[1, 2, 10**400, 4])]),
            "an annotation of image 5 has the bbox [1, 2, 1000000000000...000000000000, 4] instead of four numbers",
        ),
        (
            document(annotations=[annotation(bbox={"x": 1})]),
            "an annotation of image 5 has the bbox {'x': 1} instead of four numbers",
        ),
        (document(annotations=[annotation(iscrowd="no")]), "one of its annotations has the iscrowd 'no'"),
    ],
)
def test_damaged_annotation_files_are_named(tmp_path, content, problem):
    file = written(tmp_path, content)
    with pytest.raises(FileError) as error:
        read_coco(file)
    message = str(error.value)
    message = message.replace("1" + "0" * 17, "1" + "0" * 12)  # how many digits are shown differs between Pythons
    assert message.startswith(f"{file} is not a file of COCO's annotations: {problem}"[:150])
    assert message.endswith("; fix the file")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is damaged: Expecting value in line 1"),
        (b'{"images": [', "is damaged: Expecting value in line 1"),
        (b"[" * 100_000, "is damaged: maximum recursion depth exceeded"),
        (b"[" + b"9" * 5000 + b"]", "is damaged: Exceeds the limit"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"\x00\x01", "is damaged: Expecting value in line 1"),
    ],
)
def test_files_that_are_not_json_are_named(tmp_path, content, problem):
    file = written(tmp_path, content)
    with pytest.raises(FileError) as error:
        read_coco(file)
    assert str(error.value).startswith(f"{file} {problem}")
    assert "\n" not in str(error.value)
