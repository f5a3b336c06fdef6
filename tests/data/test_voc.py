import re
from functools import partial

import pytest
from torchvision.datasets import VOCDetection

import tinynas.data.loading
from boxes import FIRST, SECOND, voc_folder, voc_xml
from helpers import same_batches
from tinynas.data.registry import load_data

from tinynas.utils.errors import FileError


def test_voc_is_read_in_torchvisions_layout(tmp_path):
    voc_folder(tmp_path / "VOCdevkit" / "VOC2007", "7", trainval=12, test=3)
    voc_folder(tmp_path / "VOCdevkit" / "VOC2012", "12", trainval=8)
    data = load_data(f"voc:{tmp_path}")
    assert (data.task, data.classes, data.channels) == ("detect", VOC_CLASSES, 3)
    assert [len(split) for split in (data.train, data.val, data.test)] == [18, 2, 3]
    theirs = [VOCDetection(str(tmp_path), "2007", "trainval"), VOCDetection(str(tmp_path), "2012", "trainval")]
    assert {*data.train.read.files, *data.val.read.files} == {file for part in theirs for file in part.images}
    theirs = VOCDetection(str(tmp_path), "2007", "test")
    assert data.test.read.files == theirs.images
    for i, (image, record) in enumerate(theirs):
        assert data.test.read(i).shape == (3, image.height, image.width)
        named = [data.classes[int(number)] for number in data.test.objects[i][:, 0]]
        assert named == [part["name"] for part in record["annotation"]["object"] if part["difficult"] == "0"]
        assert data.test.objects[i].tolist() == [[11, *FIRST], [7, *SECOND]]
    assert (data.train.flip, data.test.flip) == (True, False)
    images, labels, *_ = next(iter(data.training_batches(6, (32,), seed=0, epoch=0)))
    assert images.shape == (6, 3, 32, 32)
    assert set(labels[:, 0].tolist()) == set(range(6))


@pytest.mark.parametrize("lists", [{"train": 12, "val": 3}, {"trainval": 12, "test": 3}, {"trainval": 12, "val": 3}])
def test_voc_is_read_from_one_folder(tmp_path, lists):
    folder = voc_folder(tmp_path, names=("zebra", "ant"), **lists)
    trained, tested = (folder / "ImageSets" / "Main" / f"{part}.txt" for part in lists)
    trained.write_text(trained.read_text() + "\n" + tested.read_text())
    data = load_data(f"voc:{folder}")
    assert data.classes == ("ant", "zebra")
    assert [len(split) for split in (data.train, data.val, data.test)] == [11, 1, 3]
    assert not {*data.train.read.files, *data.val.read.files} & {*data.test.read.files}
    assert data.test.objects[0].tolist() == [[1, *FIRST], [0, *SECOND]]
    assert same_batches(
        data.evaluation_batches(data.val, 16), load_data(f"voc:{folder}").evaluation_batches(data.val, 16)
    )


def test_voc_takes_images_without_objects_and_boxes_from_0(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    (folder / "Annotations" / "val0.xml").write_bytes(voc_xml([]))
    (folder / "Annotations" / "val1.xml").write_bytes(voc_xml([("dog", 0, 0, 40.0, 20.0, 0)]))
    test = load_data(f"voc:{folder}").test
    assert test.objects[0].shape == (0, 5)
    assert test.objects[1].tolist() == [[11, 0, 0, 1, 1]]


def replaced(content, path):
    path.write_bytes(content)


def annotated_as(objects, size=(40, 20)):
    return partial(replaced, voc_xml(objects, size))


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (
            "Annotations/train1.xml",
            annotated_as([("dog", 5, 5, 41, 9, 0)]),
            r"box \(5, 5, 41, 9\) of dog .* image of 40x20",
        ),
        ("Annotations/train1.xml", annotated_as([("dog", 5, 5, 40, 21, 0)]), r"box \(5, 5, 40, 21\) of dog"),
        ("Annotations/train1.xml", annotated_as([("dog", -2, 5, 9, 9, 0)]), r"box \(-2, 5, 9, 9\)"),
        ("Annotations/train1.xml", annotated_as([("dog", 9, 5, 9, 9, 0)]), r"box \(9, 5, 9, 9\) of dog is empty"),
        ("Annotations/train1.xml", annotated_as([("dog", 5, 9, 9, 7, 0)]), r"box \(5, 9, 9, 7\) of dog is empty"),
        ("Annotations/train1.xml", annotated_as([("dog", 5, "nan", 9, 7, 0)]), r"box \(5, nan, 9, 7\)"),
        ("Annotations/train1.xml", annotated_as([("dog", 5, 5, 9, 9, 0)], (0, 0)), "its image of 0x0"),
        (
            "Annotations/train1.xml",
            annotated_as([("dog", 5, "five", 9, 9, 0)]),
            "not an annotation of VOC's: .* 'five'",
        ),
        ("Annotations/train1.xml", annotated_as([("", 5, 5, 9, 9, 0)]), "<object> without name"),
        ("Annotations/train1.xml", annotated_as([], ("", 3)), "<annotation> without size/width"),
        ("Annotations/train1.xml", partial(replaced, b""), "is empty or not XML"),
        ("Annotations/train1.xml", partial(replaced, b"{}"), "is empty or not XML"),
        ("Annotations/train1.xml", lambda path: path.unlink(), "is missing, but ImageSets/Main lists train1"),
        ("JPEGImages/val0.jpg", lambda path: path.unlink(), "is missing, but ImageSets/Main lists val0"),
        ("Annotations/val0.xml", annotated_as([("horsefly", 5, 5, 9, 9, 0)]), "no class 'horsefly' is among the 20"),
        (
            "ImageSets/Main/train.txt",
            lambda path: path.unlink(),
            "no ImageSets/Main/trainval.txt or ImageSets/Main/train.txt",
        ),
        ("ImageSets/Main/val.txt", lambda path: path.unlink(), "no ImageSets/Main/test.txt or ImageSets/Main/val.txt"),
        ("ImageSets/Main/val.txt", partial(replaced, b"\n"), "has 4 images to train on and 0 to test on"),
    ],
)
def test_voc_names_damage(tmp_path, file, spoil, message):
    folder = voc_folder(tmp_path / "set", train=4, val=2)
    spoil(folder / file)
    with pytest.raises(FileError, match=message) as error:
        load_data(f"voc:{folder}")
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    assert "ImageSets" in file or re.search(file, str(error.value))


def test_voc_names_its_missing_test_images(tmp_path):
    folder = voc_folder(tmp_path / "VOCdevkit" / "VOC2012", trainval=4)
    with pytest.raises(FileError, match=r"there is no folder .*VOC2007"):
        load_data(f"voc:{tmp_path}")
    voc_folder(folder.with_name("VOC2007"), trainval=4)
    with pytest.raises(FileError, match=r"VOC2007 has no ImageSets/Main/test\.txt"):
        load_data(f"voc:{tmp_path}")


@pytest.mark.parametrize("workers", [False, True])
def test_voc_names_an_unreadable_image_when_it_is_read(tmp_path, monkeypatch, workers):
    folder = voc_folder(tmp_path, train=4, val=4)
    data = load_data(f"voc:{folder}")
    (folder / "JPEGImages" / "val3.jpg").write_bytes(b"\xff\xd8 broken")
    if workers:
        monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    batches = data.evaluation_batches(data.test, 16, batch_size=2)
    assert next(batches)[0].shape == (2, 3, 16, 16)
    with pytest.raises(FileError, match=r"cannot read the image .*/val3\.jpg: .*; remove or replace it") as error:
        list(batches)
    assert "\n" not in str(error.value)


def test_voc_refuses_sets_too_small_to_train_on(tmp_path):
    with pytest.raises(FileError, match="has 1 images to train on and 2 to test on"):
        load_data(f"voc:{voc_folder(tmp_path / 'one', train=1, val=2)}")
    folder = voc_folder(tmp_path / "none", train=2, val=1)
    for file in folder.glob("Annotations/*.xml"):
        file.write_bytes(voc_xml([("dog", 1, 1, 9, 9, 1)]))
    data = load_data(f"voc:{folder}")
    assert (data.classes, len(data.train.labels)) == (VOC_CLASSES, 0)
