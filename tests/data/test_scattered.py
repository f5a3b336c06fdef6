from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

import tinynas.data.scattered
from helpers import same_batches
from tinynas.data import classification
from tinynas.data.base import Data, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.data.objects import BOX
from tinynas.data.registry import load_data
from tinynas.data.scattered import CANVAS, backgrounds, scatter, scattered

AS_IT_IS = Normalisation(mean=(0.0,), std=(1.0,))


@pytest.fixture(scope="module")
def digits():
    return load_data("scattered-digits")


def test_scattered_digits_have_the_expected_statistics(digits):
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
    sides = (boxes[:, 4:6] - boxes[:, 2:4]) * 128
    assert sides.min() >= 12
    assert sides.max() <= 64
    for objects in digits.train.objects:
        assert (box_iou(objects[:, BOX], objects[:, BOX]).fill_diagonal_(0) < 0.1).all()
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


def test_scattered_splits_use_images_of_their_own(rectangles):
    data = scattered(rectangles, side=20, images=(40, 30, 20), flip=True)
    for label, (split, shape) in enumerate(zip((data.train, data.val, data.test), SHAPES, strict=True)):
        assert set(split.labels[:, 1].tolist()) == {label}
        sides = split.labels[:, 4:6] - split.labels[:, 2:4]
        torch.testing.assert_close(
            sides[:, 1] / sides[:, 0], torch.full((len(sides),), shape[0] / shape[1]), rtol=0.05, atol=0
        )
    assert (len(data.train), len(data.val), len(data.test)) == (40, 30, 20)
    assert (data.train.flip, data.test.flip) == (True, False)


def test_scattered_data_are_always_the_same(rectangles):
    first, second = (scattered(rectangles, side=20, images=(20, 20, 20)) for _ in range(2))
    for a, b in ((first.train, second.train), (first.val, second.val), (first.test, second.test)):
        assert torch.equal(a.labels, b.labels)
        assert all(torch.equal(a.read(i), b.read(i)) for i in range(20))
    equal = scattered(replace(rectangles, val=rectangles.train), side=20, images=(1, 1, 1))
    assert not torch.equal(equal.train.read(0), equal.val.read(0)), "splits have the same backgrounds"


def test_scatter_gives_exact_boxes_of_digits(rng):
    split = load_data("digits").train
    images = split.images[:60, 0].float() / 255
    for i in range(60):
        canvas = torch.zeros(CANVAS, CANVAS)
        ((label, *box),) = scatter(canvas, images[i : i + 1], split.labels[i : i + 1], rng).tolist()
        rows, columns = canvas.nonzero().T
        around = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / CANVAS
        assert box == around.tolist()
        assert label == split.labels[i]


def test_scattered_draws_nothing_outside_boxes_and_something_in_each(digits, monkeypatch):
    monkeypatch.setattr(tinynas.data.scattered, "draw", lambda *_: None)
    empty = scattered(load_data("digits"), side=32, images=(100, 1, 1))
    full = scattered(load_data("digits"), side=32, images=(100, 1, 1))
    assert same_batches([(empty.train.read(0), empty.train.labels)], [(full.train.read(0), full.train.labels)])
    monkeypatch.undo()
    full = scattered(load_data("digits"), side=32, images=(100, 1, 1))
    for i, objects in enumerate(full.train.objects):
        ink = (full.train.read(i).int() - empty.train.read(i).int())[0].abs() > 0
        outside = torch.ones_like(ink)
        for corners in objects[:, BOX].tolist():
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


def test_scattered_fashion_uses_fashion_mnist(fashion, monkeypatch):
    calls = []
    monkeypatch.setattr(classification, "FASHION_MNIST", fashion)
    monkeypatch.setattr(tinynas.data.scattered, "scattered", lambda data, **settings: calls.append((data, settings)))
    tinynas.data.scattered.scattered_fashion(None)
    ((data, settings),) = calls
    assert data.classes[9] == "boot"
    assert settings == {"side": 28, "images": (6000, 600, 1000), "flip": True}
    small = scattered(data, side=28, images=(8, 8, 8), flip=True)
    assert len(small.test) == 8
