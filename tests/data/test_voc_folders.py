"""Annotations of VOC's without lists."""

import pytest

from boxes import FIRST, SECOND, photograph, voc_xml
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError

OBJECTS = [("dog", 1, 1, 20, 20, 0), ("cat", 31, 11, 40, 15, 0)]


def write(root, images, annotations, count, prefix="a"):
    for number in range(count):
        photograph(root / images / f"{prefix}{number}.jpg")
        (root / annotations).mkdir(parents=True, exist_ok=True)
        (root / annotations / f"{prefix}{number}.xml").write_bytes(voc_xml(OBJECTS))


def sizes(data):
    return [len(split) for split in data.splits.values()]


@pytest.mark.parametrize(
    ("images", "annotations"),
    [
        ("images", "annotations"),
        ("JPEGImages", "Annotations"),
        (".", "."),
        ("images", "annotations/xmls"),
        ("street/images", "street/annotations"),
        ("images/street", "Annotations/Street"),
        ("pictures", "pictures"),
    ],
)
def test_folders_without_parts_are_split_always_alike(tmp_path, images, annotations):
    write(tmp_path, images, annotations, 20)
    data, again = load_data(f"voc:{tmp_path}"), load_data(f"voc:{tmp_path}")
    assert (data.classes, sizes(data)) == (("cat", "dog"), [14, 2, 4])
    assert data.notes == (
        "there is no part to test on: 4 of 20 images, chosen at random and always the same, are the test split",
    )
    assert data.left_out == ()
    assert data.test.objects[0][:, :5].tolist() == [[1, *FIRST], [0, *SECOND]]
    files = [split.read.files for split in data.splits.values()]
    assert files == [split.read.files for split in again.splits.values()]
    assert len({file for part in files for file in part}) == 20


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "test"])
@pytest.mark.parametrize(
    ("images", "annotations"),
    [("{part}", "{part}"), ("images/{part}", "annotations/{part}"), ("{part}/images", "{part}/annotations")],
)
def test_folders_of_parts_are_parts(tmp_path, images, annotations, name):
    for part, count in (("train", 12), (name, 3)):
        write(tmp_path, images.format(part=part), annotations.format(part=part), count)  # of the same names
    data = load_data(f"voc:{tmp_path}")
    assert sizes(data) == [11, 1, 3]
    assert (data.left_out, data.notes) == ((), ())
    assert all(f"/{name}" in file for file in data.test.read.files)


def test_difficult_objects_neither_keep_images_from_testing_nor_stand_for_a_class(tmp_path):
    write(tmp_path, "images", "annotations", 5)
    for number in range(5):
        objects = [("cat", 1, 1, 20, 20, 0), (f"tail {number}", 1, 1, 9, 9, 1), ("dog", 5, 5, 9, 9, int(number > 0))]
        (tmp_path / "annotations" / f"a{number}.xml").write_bytes(voc_xml(objects))
    data = load_data(f"voc:{tmp_path}")
    assert data.classes == ("cat", "dog")
    assert len(data.test) == 1
    assert not data.test.read.files[0].endswith("a0.jpg"), "the only dog to train on"


def test_what_is_in_no_part_is_counted(tmp_path):
    for part, count in (("train", 12), ("val", 3), ("test", 2), ("other", 4)):
        write(tmp_path, part, part, count)
    photograph(tmp_path / "train" / "plain.jpg")
    data = load_data(f"voc:{tmp_path}")
    assert sizes(data) == [11, 1, 2]
    assert data.left_out == (
        "annotated images outside of train/, val/ and test/: 4",
        "val: 3 images; test is the test split",
        f"images in {tmp_path}/train that are in no split, not listed or not annotated: 1 (plain.jpg)",
    )


def test_images_outside_of_parts_are_trained_on_if_there_is_only_a_part_to_test_on(tmp_path):
    write(tmp_path, "images", "annotations", 12)
    write(tmp_path, "test/images", "test/annotations", 3)
    assert sizes(load_data(f"voc:{tmp_path}")) == [11, 1, 3]


def test_stated_names_decide_where_the_names_of_files_do_not(tmp_path):
    write(tmp_path, "images", "annotations", 10)
    stated = b"<filename>C:\\pictures\\%s</filename></annotation>"
    for number, name in ((0, b"renamed.png"), (1, b"a1.png")):
        file = tmp_path / "annotations" / f"a{number}.xml"
        file.write_bytes(file.read_bytes().replace(b"</annotation>", stated % name))
    (tmp_path / "images" / "a0.jpg").unlink()
    for name in ("renamed.png", "a1.png"):
        photograph(tmp_path / "images" / name)
    data = load_data(f"voc:{tmp_path}")
    names = {file.rsplit("/", 1)[1] for split in data.splits.values() for file in split.read.files}
    assert names == {"renamed.png", "a1.png", *(f"a{number}.jpg" for number in range(2, 10))}
    assert data.left_out == (
        f"images in {tmp_path}/images that are in no split, not listed or not annotated: 1 (a1.jpg)",
    )


def test_missing_and_ambiguous_images_are_named(tmp_path):
    write(tmp_path, "images", "annotations", 5)
    (tmp_path / "images" / "a3.jpg").unlink()
    with pytest.raises(
        FileError,
        match=r"the images of 1 of 5 annotations are missing \(annotations/a3.xml\); .* has 4 files: images/a0.jpg, .*",
    ) as error:
        load_data(f"voc:{tmp_path}")
    assert "\n" not in str(error.value)
    for name in ("a3.jpg", "a3.png"):
        photograph(tmp_path / "images" / name)
    with pytest.raises(FileError, match=r"a3.xml is the annotation of 2 images \(.*a3.jpg, .*a3.png\); remove all but"):
        load_data(f"voc:{tmp_path}")
    (tmp_path / "images" / "a3.png").unlink()
    (tmp_path / "xmls").mkdir()
    (tmp_path / "xmls" / "a3.xml").write_bytes(voc_xml(OBJECTS))
    with pytest.raises(FileError, match=r"annotations/a3.xml and .*xmls/a3.xml are annotations of the same image"):
        load_data(f"voc:{tmp_path}")


def test_a_folder_of_folders_with_lists_is_not_taken_for_one_without(tmp_path):
    write(tmp_path, "VOC2012/JPEGImages", "VOC2012/Annotations", 5)
    (tmp_path / "VOC2012" / "ImageSets").mkdir()
    with pytest.raises(FileError, match=r"has no ImageSets/Main/test.txt or ImageSets/Main/val.txt"):
        load_data(f"voc:{tmp_path}")
