import json
import re
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torchvision.datasets import VOCDetection
from torchvision.ops import box_iou

import tinynas.data.loading
import tinynas.data.scattered
from tinynas.data import classification
from tinynas.data.base import Data, Normalisation, Wanted
from tinynas.data.boxes import BoxSplit, targets
from tinynas.data.loading import ImageFiles
from tinynas.data.memory import MemorySplit
from tinynas.data.registry import load_data
from tinynas.data.scattered import CANVAS, backgrounds, scatter, scattered
from tinynas.data.voc_coco import VOC_CLASSES
from tinynas.utils.errors import FileError, InputError

AS_IT_IS = Normalisation(mean=(0.0,), std=(1.0,))


def same(one, other):
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def drawn(objects, height=60, width=90):
    """A black image (1, H, W) with a white rectangle in every box."""
    image = torch.zeros(1, height, width, dtype=torch.uint8)
    for _, x1, y1, x2, y2 in objects.tolist():
        image[:, round(y1 * height) : round(y2 * height), round(x1 * width) : round(x2 * width)] = 255
    return image


def split_of(*objects, flip=False):
    objects = [torch.tensor(of_image).reshape(-1, 5) for of_image in objects]
    images = [drawn(of_image) for of_image in objects]
    return BoxSplit(read=images.__getitem__, objects=objects, flip=flip)


def one_batch(split, indices, seed=None, strong=False, resolution=48):
    wanted = Wanted(torch.tensor(indices), resolution, seed, strong)
    ((images, labels),) = split.batches([wanted], AS_IT_IS)
    return images, labels


def fits(image, box):
    """Whether white pixels fill a box, give or take a pixel, and end where it does."""

    def within(margin):
        centres = torch.arange(len(image)) + 0.5
        x1, y1, x2, y2 = box * len(image)
        rows, columns = (
            (c > low - margin) & (c < high + margin) for c, low, high in ((centres, y1, y2), (centres, x1, x2))
        )
        return rows[:, None] & columns

    return (image[within(-1)] > 0.5).all() and (image[within(3) & ~within(1)] < 0.5).all()


LEFT, RIGHT = [0.0, 0.1, 0.2, 0.4, 0.7], [1.0, 0.6, 0.4, 0.8, 0.9]


def test_without_a_seed_boxes_are_as_given_and_images_are_stretched():
    split = split_of([LEFT, RIGHT], [], [RIGHT])
    images, labels = one_batch(split, [2, 1, 0])
    assert images.shape == (3, 1, 48, 48)
    assert torch.equal(labels, torch.tensor([[0, *RIGHT], [2, *LEFT], [2, *RIGHT]]))
    assert torch.equal(split.labels, torch.tensor([[0, *LEFT], [0, *RIGHT], [2, *RIGHT]]))
    for image, _, *box in labels.tolist():
        assert fits(images[int(image), 0], torch.tensor(box))


@pytest.mark.parametrize("strong", [False, True])
def test_augmentation_moves_boxes_with_their_pixels(strong):
    split = split_of([LEFT, RIGHT], [RIGHT], [LEFT], flip=True)
    sizes = []
    for seed in range(0, 300, 3):
        images, labels = one_batch(split, [0, 1, 2], seed, strong)
        assert {0, 1, 2} == set(labels[:, 0].tolist()), "an image lost all its objects"
        assert (labels[:, 2:] >= 0).all()
        assert (labels[:, 2:] <= 1).all()
        assert all(fits(images[int(row[0]), 0], row[2:]) for row in labels)
        uncut = (labels[:, 2:] > 0.001).all(1) & (labels[:, 2:] < 0.999).all(1) & (labels[:, 1] == 1)
        sizes += (labels[:, 4] - labels[:, 2])[uncut].tolist()
    assert max(sizes) > 0.3, "never cropped"
    assert (0.05 < min(sizes) < 0.12) if strong else (0.13 < min(sizes) < 0.19), "never zoomed out, or too far"


def test_classes_stay_with_their_boxes():
    tall, flat = [3.0, 0.4, 0.1, 0.5, 0.9], [5.0, 0.6, 0.4, 0.9, 0.5]
    split = split_of([tall, flat], flip=True)
    for seed in range(40):
        for _, number, x1, y1, x2, y2 in one_batch(split, [0], seed, resolution=96)[1].tolist():
            whole = min(x1, y1, 1 - x2, 1 - y2) > 0.001
            assert not whole or (number == 3) == (y2 - y1 > x2 - x1)


def test_only_where_it_is_allowed_images_are_mirrored():
    def orders(flip):
        for seed in range(60):
            boxes = one_batch(split_of([LEFT, RIGHT], flip=flip), [0], seed)[1]
            if len(boxes) == 2:
                yield (boxes[boxes[:, 1] == 0, 2] < boxes[boxes[:, 1] == 1, 2]).item()

    assert set(orders(False)) == {True}
    assert set(orders(True)) == {True, False}


def test_strong_augmentation_makes_mosaics():
    split = split_of([[0.0, 0.1, 0.1, 0.2, 0.2], [0.0, 0.4, 0.4, 0.5, 0.5]], [[1.0, 0.4, 0.4, 0.5, 0.5]] * 3)
    most = {strong: [len(one_batch(split, [0], s, strong)[1]) for s in range(40)] for strong in (False, True)}
    assert max(most[False]) == 2
    assert max(most[True]) > 4
    plain, _ = one_batch(split, [0])
    whole = sum(torch.equal(one_batch(split, [0], seed, strong=True)[0], plain) for seed in range(40))
    assert 2 < whole < 20, "half of the images should be no mosaics, and some of them left as they are"


def test_degenerate_boxes_are_dropped_and_the_others_stay():
    split = split_of([[1.0, 0.5, 0.5, 0.5, 0.6], [2.0, 0.3, 0.3, 0.7, 0.7], [3.0, 0.2, 0.2, 0.201, 0.8]])
    for seed in range(20):
        assert one_batch(split, [0], seed)[1][:, 1].tolist() == [2]


def test_pictures_zoomed_out_of_are_surrounded_by_mean_grey():
    split = split_of([[0.0, 0.0, 0.0, 1.0, 1.0]])
    grey = Normalisation(mean=(0.4,), std=(0.5,))
    wanted = [Wanted(torch.tensor([0]), 24, seed) for seed in range(40)]
    images = torch.cat([x for x, _ in split.batches(wanted, grey)])
    assert (images.abs() < 1e-6).flatten(1).any(1).float().mean() > 0.15
    assert images.min() > -1e-6


def test_images_without_objects_are_kept():
    split = split_of([], [LEFT], [])
    for seed, strong in [(None, False), *((seed, strong) for seed in range(10) for strong in (False, True))]:
        images, labels = one_batch(split, [0, 1, 2], seed, strong)
        assert len(images) == 3
        assert strong or (labels.shape == (1, 6) and labels[0, 0] == 1)
    images, labels = one_batch(split, [0, 2], 7)
    assert labels.shape == (0, 6)
    assert targets([]).shape == (0, 6)


def test_augmentation_repeats_for_a_seed_whoever_reads(image_folder, monkeypatch):
    files = sorted(map(str, image_folder.glob("train/*/*.png")))
    split = BoxSplit(read=ImageFiles(files), objects=[torch.tensor([LEFT, RIGHT])] * len(files), flip=True)
    grey = Normalisation(mean=(0.5,) * 3, std=(0.2,) * 3)
    data = Data(task="detect", classes=("a", "b"), normalise=grey, train=split, val=split, test=split)

    def epoch(seed, augmentation="strong"):
        return list(data.training_batches(4, (24, 32), seed=seed, epoch=0, augmentation=augmentation))

    state = torch.get_rng_state()
    alone = epoch(0)
    assert torch.equal(state, torch.get_rng_state()), "augmentation drew from everybody's generator"
    assert len(alone) == data.steps_per_epoch(4) == len(files) // 4
    assert alone[0].images.shape[:2] == (4, 3)
    assert same(alone, epoch(0))
    assert not same(alone, epoch(1))
    assert not same(alone, epoch(0, "standard"))
    used = []
    loader = torch.utils.data.DataLoader
    monkeypatch.setattr(
        torch.utils.data, "DataLoader", lambda *a, **k: used.append(k["num_workers"]) or loader(*a, **k)
    )
    monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    assert same(alone, epoch(0))
    assert used[0] > 0


def test_data_counts_images_not_objects():
    split = split_of([LEFT, RIGHT], [], [RIGHT, LEFT, LEFT], [])
    data = Data(task="detect", classes=("a", "b"), normalise=AS_IT_IS, train=split, val=split, test=split)
    assert [len(x) for x, _ in data.evaluation_batches(split, 16, batch_size=3)] == [3, 1]
    assert data.steps_per_epoch(2) == 2
    assert len(data.calibration_batches(16)[0]) == 4
    for batch in data.training_batches(2, (16,), seed=0, epoch=0, augmentation="none"):
        assert torch.equal(batch.labels, targets([split.objects[i] for i in batch.indices]))


@pytest.fixture(scope="module")
def digits():
    return load_data("scattered-digits")


def test_scattered_digits_are_what_they_should_be(digits):
    assert digits.task == "detect"
    assert digits.classes == tuple("0123456789")
    assert [len(split) for split in (digits.train, digits.val, digits.test)] == [2000, 300, 500]
    assert digits.train.read(0).shape == (1, 128, 128)
    assert not digits.train.flip
    counts = torch.tensor([len(objects) for objects in digits.train.objects]).bincount() / 2000
    assert 0.03 < counts[0] < 0.08
    assert len(counts) == 5
    assert counts[1:].min() > 0.15
    boxes = digits.train.labels
    assert boxes[:, 1].long().bincount().min() > 0.07 * len(boxes)
    sides = (boxes[:, 4:] - boxes[:, 2:4]) * 128
    assert sides.min() >= 12
    assert sides.max() <= 64
    for objects in digits.train.objects:
        assert (box_iou(objects[:, 1:], objects[:, 1:]).fill_diagonal_(0) < 0.1).all()
    pixels = torch.cat([x for x, _ in digits.evaluation_batches(digits.train, 128)])
    assert pixels.mean().abs() < 0.05
    assert (pixels.std() - 1).abs() < 0.05


def glyphs(shape, count=30, label=0):
    """Images 20x20, light in a rectangle of this shape somewhere, and their labels."""
    images = torch.zeros(count, 1, 20, 20, dtype=torch.uint8)
    images[:, :, 2 : 2 + shape[0], 3 : 3 + shape[1]] = 200
    return MemorySplit(images=images, labels=torch.full((count,), label))


SHAPES = ((16, 8), (8, 16), (12, 12))


@pytest.fixture
def rectangles():
    """Each split has a class and a shape of its own."""
    train, val, test = (glyphs(shape, label=label) for label, shape in enumerate(SHAPES))
    return Data(classes=("tall", "flat", "square"), normalise=AS_IT_IS, train=train, val=val, test=test)


def test_scattered_splits_are_made_of_their_own_images(rectangles):
    made = scattered(rectangles, side=20, images=(40, 30, 20), flip=True)
    for label, (split, shape) in enumerate(zip((made.train, made.val, made.test), SHAPES, strict=True)):
        assert set(split.labels[:, 1].tolist()) == {label}
        sides = split.labels[:, 4:] - split.labels[:, 2:4]
        torch.testing.assert_close(
            sides[:, 1] / sides[:, 0], torch.full((len(sides),), shape[0] / shape[1]), rtol=0.05, atol=0
        )
    assert (len(made.train), len(made.val), len(made.test)) == (40, 30, 20)
    assert (made.train.flip, made.test.flip) == (True, False)


def test_scattered_data_are_always_the_same(rectangles):
    one, two = (scattered(rectangles, side=20, images=(20, 20, 20)) for _ in range(2))
    for a, b in ((one.train, two.train), (one.val, two.val), (one.test, two.test)):
        assert torch.equal(a.labels, b.labels)
        assert all(torch.equal(a.read(i), b.read(i)) for i in range(20))
    equal = scattered(replace(rectangles, val=rectangles.train), side=20, images=(1, 1, 1))
    assert not torch.equal(equal.train.read(0), equal.val.read(0)), "splits have the same backgrounds"


def test_boxes_of_digits_are_exact(rng):
    split = load_data("digits").train
    images = split.images[:60, 0].float() / 255
    for i in range(60):
        canvas = torch.zeros(CANVAS, CANVAS)
        ((label, *box),) = scatter(canvas, images[i : i + 1], split.labels[i : i + 1], rng).tolist()
        rows, columns = canvas.nonzero().T
        around = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / CANVAS
        assert box == around.tolist()
        assert label == split.labels[i]


def test_nothing_is_drawn_outside_boxes_and_something_in_each(digits, monkeypatch):
    monkeypatch.setattr(tinynas.data.scattered, "draw", lambda *_: None)
    empty = scattered(load_data("digits"), side=32, images=(100, 1, 1))
    full = scattered(load_data("digits"), side=32, images=(100, 1, 1))
    assert same([(empty.train.read(0), empty.train.labels)], [(full.train.read(0), full.train.labels)])
    monkeypatch.undo()
    full = scattered(load_data("digits"), side=32, images=(100, 1, 1))
    for i, objects in enumerate(full.train.objects):
        ink = (full.train.read(i).int() - empty.train.read(i).int())[0].abs() > 0
        outside = torch.ones_like(ink)
        for _, *corners in objects.tolist():
            x1, y1, x2, y2 = (round(128 * corner) for corner in corners)
            outside[y1:y2, x1:x2] = False
            assert ink[y1:y2, x1:x2].float().mean() > 0.4
        assert not ink[outside].any()


def test_backgrounds_are_smooth_and_differ(rng):
    textures = backgrounds(30, rng)
    assert textures.min() >= 0
    assert textures.max() <= 255
    assert 5 < textures.std((1, 2)).mean() < 45
    assert textures.diff(dim=2).abs().mean() < 0.25 * textures.std((1, 2)).mean()
    assert textures.mean((1, 2)).std() > 10


def test_scattered_fashion_is_made_of_fashion_mnist(fashion, monkeypatch):
    asked = []
    monkeypatch.setattr(classification, "FASHION_MNIST", fashion)
    monkeypatch.setattr(tinynas.data.scattered, "scattered", lambda data, **settings: asked.append((data, settings)))
    load_data("scattered-fashion")
    ((data, settings),) = asked
    assert data.classes[9] == "boot"
    assert settings == {"side": 28, "images": (6000, 600, 1000), "flip": True}
    made = scattered(data, side=28, images=(8, 8, 8), flip=True)
    assert len(made.test) == 8


@pytest.mark.parametrize("name", ["scattered-digits", "scattered-fashion"])
def test_embedded_sets_take_no_path(name):
    with pytest.raises(InputError, match=rf"data set {name} takes no path, but got '/somewhere'"):
        load_data(f"{name}:/somewhere")


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_annotated_sets_need_a_path(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} needs a path: {name}:PATH"):
        load_data(name)
    with pytest.raises(FileError, match=rf"there is no folder {tmp_path}/nothing"):
        load_data(f"{name}:{tmp_path}/nothing")


def photograph(path, width=40, height=20):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), [200, 100, 50], np.uint8)).save(path)


def voc_xml(objects, size=(40, 20)):
    """An annotation with objects (name, xmin, ymin, xmax, ymax, difficult)."""
    root = ElementTree.Element("annotation")
    sides = ElementTree.SubElement(root, "size")
    for side, value in zip(("width", "height"), size, strict=True):
        ElementTree.SubElement(sides, side).text = str(value)
    for name, *corners, difficult in objects:
        one = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(one, "name").text = name
        ElementTree.SubElement(one, "difficult").text = str(difficult)
        box = ElementTree.SubElement(one, "bndbox")
        for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            ElementTree.SubElement(box, corner).text = str(value)
    return ElementTree.tostring(root)


def voc_folder(folder, prefix="", names=("dog", "cat"), **lists):
    """A folder of VOC's: each image has an object of the first class, one of the second, and a difficult one."""
    for part, count in lists.items():
        images = [f"{prefix}{part}{i}" for i in range(count)]
        for image in images:
            photograph(folder / "JPEGImages" / f"{image}.jpg")
            objects = [(names[0], 1, 1, 20, 20, 0), (names[1], 31, 11, 40, 15, 0), ("unheard-of", 1, 1, 9, 9, 1)]
            (folder / "Annotations").mkdir(exist_ok=True)
            (folder / "Annotations" / f"{image}.xml").write_bytes(voc_xml(objects))
        (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{image}\n" for image in images))
    return folder


FIRST, SECOND = [0, 0, 0.5, 1], [0.75, 0.5, 1, 0.75]  # the boxes of voc_folder


def test_voc_in_torchvisions_layout(tmp_path):
    voc_folder(tmp_path / "VOCdevkit" / "VOC2007", "7", trainval=12, test=3)
    voc_folder(tmp_path / "VOCdevkit" / "VOC2012", "12", trainval=8)
    data = load_data(f"voc:{tmp_path}")
    assert (data.task, data.classes, data.channels) == ("detect", VOC_CLASSES, 3)
    assert [len(split) for split in (data.train, data.val, data.test)] == [18, 2, 3]
    theirs = [VOCDetection(str(tmp_path), "2007", "trainval"), VOCDetection(str(tmp_path), "2012", "trainval")]
    assert {*data.train.read.files, *data.val.read.files} == {file for one in theirs for file in one.images}
    theirs = VOCDetection(str(tmp_path), "2007", "test")
    assert data.test.read.files == theirs.images
    for i, (image, record) in enumerate(theirs):
        assert data.test.read(i).shape == (3, image.height, image.width)
        named = [data.classes[int(number)] for number in data.test.objects[i][:, 0]]
        assert named == [one["name"] for one in record["annotation"]["object"] if one["difficult"] == "0"]
        assert data.test.objects[i].tolist() == [[11, *FIRST], [7, *SECOND]]
    assert (data.train.flip, data.test.flip) == (True, False)
    images, labels, *_ = next(iter(data.training_batches(6, (32,), seed=0, epoch=0)))
    assert images.shape == (6, 3, 32, 32)
    assert set(labels[:, 0].tolist()) == set(range(6))


@pytest.mark.parametrize("lists", [{"train": 12, "val": 3}, {"trainval": 12, "test": 3}, {"trainval": 12, "val": 3}])
def test_one_folder_of_vocs_kind(tmp_path, lists):
    folder = voc_folder(tmp_path, names=("zebra", "ant"), **lists)
    trained, tested = (folder / "ImageSets" / "Main" / f"{part}.txt" for part in lists)
    trained.write_text(trained.read_text() + "\n" + tested.read_text())
    data = load_data(f"voc:{folder}")
    assert data.classes == ("ant", "zebra")
    assert [len(split) for split in (data.train, data.val, data.test)] == [11, 1, 3]
    assert not {*data.train.read.files, *data.val.read.files} & {*data.test.read.files}
    assert data.test.objects[0].tolist() == [[1, *FIRST], [0, *SECOND]]
    assert same(data.evaluation_batches(data.val, 16), load_data(f"voc:{folder}").evaluation_batches(data.val, 16))


def test_voc_images_without_objects_and_boxes_from_0(tmp_path):
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
def test_voc_that_is_damaged(tmp_path, file, spoil, message):
    folder = voc_folder(tmp_path / "set", train=4, val=2)
    spoil(folder / file)
    with pytest.raises(FileError, match=message) as error:
        load_data(f"voc:{folder}")
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    assert "ImageSets" in file or re.search(file, str(error.value))


def test_voc_without_its_test_images(tmp_path):
    folder = voc_folder(tmp_path / "VOCdevkit" / "VOC2012", trainval=4)
    with pytest.raises(FileError, match=r"there is no folder .*VOC2007"):
        load_data(f"voc:{tmp_path}")
    voc_folder(folder.with_name("VOC2007"), trainval=4)
    with pytest.raises(FileError, match=r"VOC2007 has no ImageSets/Main/test\.txt"):
        load_data(f"voc:{tmp_path}")


@pytest.mark.parametrize("workers", [False, True])
def test_an_image_is_found_unreadable_when_it_is_read(tmp_path, monkeypatch, workers):
    folder = voc_folder(tmp_path, train=4, val=4)
    (folder / "JPEGImages" / "val3.jpg").write_bytes(b"\xff\xd8 broken")
    data = load_data(f"voc:{folder}")
    if workers:
        monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    batches = data.evaluation_batches(data.test, 16, batch_size=2)
    assert next(batches)[0].shape == (2, 3, 16, 16)
    with pytest.raises(FileError, match=r"cannot read the image .*JPEGImages/val3\.jpg; remove or replace it") as error:
        list(batches)
    assert "\n" not in str(error.value)


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
def test_coco(tmp_path, images, files):
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


def test_cocos_other_annotations_are_not_looked_at(tmp_path):
    folder = coco_folder(tmp_path / "set")
    for part in ("train", "val"):
        (folder / "annotations" / f"captions_{part}2017.json").write_text("{}")
    assert len(load_data(f"coco:{folder}").test) == 3


def test_coco_categories_are_matched_by_name(tmp_path):
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
def test_coco_that_is_damaged(tmp_path, part, spoil, message):
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
def test_coco_that_is_not_json(tmp_path, content):
    folder = coco_folder(tmp_path / "set")
    (folder / "annotations" / "instances_val2017.json").write_text(content)
    with pytest.raises(FileError, match=r"instances_val2017\.json is damaged"):
        load_data(f"coco:{folder}")


def test_coco_with_files_missing_or_too_many(tmp_path):
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


def test_sets_too_small_to_train_on(tmp_path):
    with pytest.raises(FileError, match="has 1 images to train on and 2 to test on"):
        load_data(f"voc:{voc_folder(tmp_path / 'one', train=1, val=2)}")
    folder = voc_folder(tmp_path / "none", train=2, val=1)
    for file in folder.glob("Annotations/*.xml"):
        file.write_bytes(voc_xml([("dog", 1, 1, 9, 9, 1)]))
    data = load_data(f"voc:{folder}")
    assert (data.classes, len(data.train.labels)) == (VOC_CLASSES, 0)
