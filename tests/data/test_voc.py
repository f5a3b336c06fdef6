from functools import partial

import pytest
import torch
from torchvision.datasets import VOCDetection

import tinynas.data.loading
from boxes import FIRST, SECOND, photograph, voc_folder, voc_xml
from helpers import same_batches
from tinynas.data.joined import with_search_val_in_train
from tinynas.data.objects import AREA, DIFFICULT, KIND, OBJECT
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError


def class_and_box(objects):
    """Class index and box of every object."""
    return objects[:, :5].tolist()


def test_voc_is_read_in_torchvisions_layout(tmp_path):
    voc_folder(tmp_path / "VOCdevkit" / "VOC2007", "7", trainval=12, test=3)
    voc_folder(tmp_path / "VOCdevkit" / "VOC2012", "12", trainval=8)
    data = load_data(f"voc:{tmp_path}")
    assert (data.task, data.classes, data.channels) == ("detect", ("cat", "dog"), 3)
    assert data.left_out == ("difficult objects, not trained on: 18", "categories without objects: unheard-of")
    assert [len(split) for split in (data.train, data.val, data.test)] == [18, 2, 3]
    theirs = [VOCDetection(str(tmp_path), "2007", "trainval"), VOCDetection(str(tmp_path), "2012", "trainval")]
    assert {*data.train.read.files, *data.val.read.files} == {file for part in theirs for file in part.images}
    theirs = VOCDetection(str(tmp_path), "2007", "test")
    assert data.test.read.files == theirs.images
    for i, (image, record) in enumerate(theirs):
        assert data.test.read(i).shape == (3, image.height, image.width)
        expected = []
        for part in record["annotation"]["object"]:
            box = [int(part["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")]
            if part["difficult"] == "0":
                box = [
                    (box[0] - 1) / image.width,
                    (box[1] - 1) / image.height,
                    box[2] / image.width,
                    box[3] / image.height,
                ]
                expected.append([data.classes.index(part["name"]), *box])
        assert class_and_box(data.test.objects[i]) == expected
        assert class_and_box(data.test.objects[i]) == [[1, *FIRST], [0, *SECOND]]
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
    assert class_and_box(data.test.objects[0]) == [[1, *FIRST], [0, *SECOND]]
    assert same_batches(
        data.evaluation_batches(data.val, 16), load_data(f"voc:{folder}").evaluation_batches(data.val, 16)
    )


def test_voc_takes_images_without_objects_and_boxes_from_0(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    (folder / "Annotations" / "val0.xml").write_bytes(voc_xml([]))
    (folder / "Annotations" / "val1.xml").write_bytes(voc_xml([("dog", 0, 0, 40.0, 20.0, 0)]))
    test = load_data(f"voc:{folder}").test
    assert test.objects[0].shape == (0, 7)
    assert class_and_box(test.objects[1]) == [[1, 0, 0, 1, 1]]


def replaced(content, path):
    path.write_bytes(content)


def annotated_as(objects, size=(40, 20)):
    return partial(replaced, voc_xml(objects, size))


def removed(path):
    path.unlink()


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("Annotations/train1.xml", annotated_as([], (20, 40)), "train1.jpg 20x40 instead of 40x20; restore"),
        ("Annotations/train1.xml", partial(replaced, b""), "is empty or not XML"),
        (
            "Annotations/train1.xml",
            removed,
            r"train.txt: 1 of its 4 images have no annotation \(train1\); .*Annotations has 5 files: train0.xml, ",
        ),
        (
            "JPEGImages/val0.jpg",
            removed,
            r"val.txt: 1 of its 2 images are missing \(val0\); .*/JPEGImages has 5 files: train0.jpg, train1.jpg, ",
        ),
        (
            "Annotations/val0.xml",
            annotated_as([("horsefly", 5, 5, 9, 9, 0)]),
            r"has objects of horsefly, of which the training images have none \(their classes are cat, dog\)",
        ),
        (
            "ImageSets/Main/train.txt",
            removed,
            r"no ImageSets/Main/trainval.txt or ImageSets/Main/train.txt; .*/ImageSets/Main has val.txt; write",
        ),
        ("ImageSets/Main/val.txt", removed, "no ImageSets/Main/test.txt or ImageSets/Main/val.txt"),
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


def test_voc_counts_what_is_left_out(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    for name, objects in (("train0", [("dog", 5, 5, 5, 9, 0)]), ("val1", [("tail", 1, 1, 2, 1, 0)])):
        (folder / "Annotations" / f"{name}.xml").write_bytes(voc_xml(objects))
    for name in ("extra.jpg", "spare.PNG", ".hidden.png", "notes.txt"):
        (folder / "JPEGImages" / name).write_bytes((folder / "JPEGImages" / "val0.jpg").read_bytes())
    data = load_data(f"voc:{folder}")
    assert data.classes == ("cat", "dog")
    assert [len(split) for split in data.splits.values()] == [3, 1, 2]
    assert data.left_out == (
        "difficult objects, not trained on: 3",
        "boxes without area: 2",
        "categories without objects: unheard-of",
        f"images in {folder}/JPEGImages that are in no split, not listed or not annotated: 2 (extra.jpg, spare.PNG)",
    )


def test_voc_clips_and_leaves_out_boxes_outside_of_their_images(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    objects = [("dog", 5, 5, 44, 9, 0), ("dog", 5, 9, 9, 7, 0), ("cat", 50, 5, 60, 9, 0), ("cat", 1, 1, 20, 20, 0)]
    for name in ("train0", "val1"):
        (folder / "Annotations" / f"{name}.xml").write_bytes(voc_xml(objects))
    data = load_data(f"voc:{folder}")
    assert data.notes == (
        "boxes that reached outside of their image, clipped: 2 (first: (5, 5, 44, 9) of dog on train0.jpg)",
    )
    assert data.left_out[1:3] == (
        "boxes with a negative width or height: 2 (first: (5, 9, 9, 7) of dog on train0.jpg)",
        "boxes outside of their image: 2 (first: (50, 5, 60, 9) of cat on train0.jpg)",
    )
    assert class_and_box(data.test.objects[1]) == [[1, *torch.tensor([0.1, 0.2, 1, 0.45]).tolist()], [0, *FIRST]]
    assert data.test.objects[1][:, AREA].tolist() == [180, 400], "of the clipped box"


def test_voc_keeps_difficult_objects_but_for_training(tmp_path):
    """The first class, dog, has a difficult object on each image as well; "tail" has no others."""
    folder = voc_folder(tmp_path, train=12, val=3)
    for file in folder.glob("Annotations/*.xml"):
        objects = [("dog", 1, 1, 20, 20, 0), ("dog", 31, 11, 40, 15, 1), ("tail", 1, 1, 9, 9, 1)]
        file.write_bytes(voc_xml(objects))
    data = load_data(f"voc:{folder}")
    assert data.classes == ("dog",)
    for split, kinds in ((data.train, [OBJECT]), (data.val, [OBJECT, DIFFICULT]), (data.test, [OBJECT, DIFFICULT])):
        for objects in split.objects:
            assert objects[:, KIND].tolist() == kinds
            assert objects[:, AREA].tolist() == [400, 50][: len(kinds)]
    assert class_and_box(data.test.objects[0]) == [[0, *FIRST], [0, *SECOND]]
    assert data.left_out == ("difficult objects, not trained on: 22", "categories without objects: tail")
    assert len(with_search_val_in_train(data).train.labels) == 12
    difficult = b"<annotation><object><name>dog</name><difficult>1</difficult></object></annotation>"
    (folder / "Annotations" / "val0.xml").write_bytes(difficult)
    with pytest.raises(FileError, match="<object> without bndbox/xmin"):
        load_data(f"voc:{folder}")


def test_voc_classes_are_those_of_the_training_images(tmp_path):
    folder = voc_folder(tmp_path, names=("person", "car"), train=4, val=2)
    assert load_data(f"voc:{folder}").classes == ("car", "person")


def test_voc_takes_sizes_from_the_images(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    for name in ("train0", "train1", "train2", "train3", "val0", "val1"):
        (folder / "Annotations" / f"{name}.xml").write_bytes(voc_xml([("dog", 1, 1, 20, 20, 0)], (0, 0)))
    assert class_and_box(load_data(f"voc:{folder}").test.objects[0]) == [[0, *FIRST]]


def test_voc_turns_boxes_that_were_drawn_on_images_as_they_are_stored(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    for name, size in (("val0", (40, 20)), ("val1", (20, 40))):
        photograph(folder / "JPEGImages" / f"{name}.jpg", orientation=6)
        (folder / "Annotations" / f"{name}.xml").write_bytes(voc_xml([("dog", 1, 1, 10, 5, 0)], size))
    test = load_data(f"voc:{folder}").test
    assert test.read(0).shape == (3, 40, 20)
    assert class_and_box(test.objects[0]) == [[1, 0.75, 0, 1, 0.25]]  # a quarter turn clockwise
    assert class_and_box(test.objects[1]) == [[1, 0, 0, 0.5, 0.125]]


def test_voc_images_that_cannot_be_read_are_reported_or_left_out(tmp_path):
    folder = voc_folder(tmp_path, train=4, val=2)
    (folder / "JPEGImages" / "train2.jpg").write_bytes(b"")
    (folder / "Annotations" / "train2.xml").write_bytes(voc_xml([("dog", 1, 1, 90, 90, 0)], (0, 0)))
    with pytest.raises(FileError, match=r"1 of 6 images of .* cannot be read: .*/train2.jpg \(it is empty\)"):
        load_data(f"voc:{folder}")
    data = load_data(f"voc:{folder}", skip_unreadable=True)
    assert sum(len(split) for split in data.splits.values()) == 5
    for file in folder.glob("JPEGImages/train*"):
        file.write_bytes(b"")
    message = r"its 4 training images that can be read \(4 cannot: .*train0.jpg \(it is empty\), .* have no objects"
    with pytest.raises(FileError, match=message):
        load_data(f"voc:{folder}", skip_unreadable=True)


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
        monkeypatch.setattr(tinynas.data.loading, "_FEW_IMAGES", 0)
    batches = data.evaluation_batches(data.test, 16, batch_size=2)
    assert next(batches)[0].shape == (2, 3, 16, 16)
    with pytest.raises(FileError, match=r"cannot read the image .*/val3\.jpg: .*; remove or replace it") as error:
        list(batches)
    assert "\n" not in str(error.value)


def test_voc_refuses_sets_too_small_to_train_on(tmp_path):
    with pytest.raises(FileError, match="has 1 image to train on and 2 to test on"):
        load_data(f"voc:{voc_folder(tmp_path / 'one', train=1, val=2)}")
    folder = voc_folder(tmp_path / "none", train=2, val=1)
    for file in folder.glob("Annotations/*.xml"):
        file.write_bytes(voc_xml([("dog", 1, 1, 9, 9, 1)]))
    with pytest.raises(
        FileError,
        match=r"have no objects but those that are left out \(difficult objects, not trained on: 2\); annotate others",
    ):
        load_data(f"voc:{folder}")


@pytest.mark.parametrize(
    ("trained", "tested"), [("Train", "Validation"), ("TRAINVAL", "Test"), ("train", "valid"), ("train", "validation")]
)
def test_voc_lists_may_have_names_in_any_case(tmp_path, trained, tested):
    folder = voc_folder(tmp_path, train=12, val=3)
    lists = folder / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / f"{trained}.txt")
    (lists / "val.txt").rename(lists / f"{tested}.txt")
    data = load_data(f"voc:{folder}")
    assert [len(split) for split in data.splits.values()] == [11, 1, 3]


def test_voc_says_which_images_are_not_used_or_only_for_testing(tmp_path):
    folder = voc_folder(tmp_path, train=6, val=3, test=2)
    lists = folder / "ImageSets" / "Main"
    data = load_data(f"voc:{folder}")
    assert [len(split) for split in data.splits.values()] == [5, 1, 2]
    assert data.left_out[0] == "ImageSets/Main/val.txt: 3 images; ImageSets/Main/test.txt is the test split"
    (lists / "train.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text() + "test1\n")
    data = load_data(f"voc:{folder}")
    assert [len(split) for split in data.splits.values()] == [8, 1, 2]
    assert data.left_out[0] == "images in both lists, which are used for testing only: 1"
    assert not any("val.txt" in line for line in data.left_out)


def test_voc_names_what_to_move(tmp_path):
    folder = voc_folder(tmp_path / "cvat", train=4, default=4)
    lists = folder / "ImageSets" / "Main"
    move = r"; move its lines to ImageSets/Main/train.txt, for the images to train on, and ImageSets/Main/val.txt, to"
    with pytest.raises(FileError, match=r"Main has default.txt, train.txt" + move):
        load_data(f"voc:{folder}")
    (lists / "train.txt").unlink()
    with pytest.raises(FileError, match=r"Main has default.txt" + move):
        load_data(f"voc:{folder}")
