"""A program's own datasets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from tinynas.data.datasets import Datasets
from tinynas.data.identity import DataIdentity
from tinynas.utils.errors import InputError

CLASSES = ("a", "b", "c")


def labelled(count, seed=0, size=(12, 10)):
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 256, size, dtype=np.uint8), number % 3) for number in range(count)]


def boxed(count, side=40):
    samples = []
    for number in range(count):
        target = {"boxes": torch.tensor([[4.0, 8.0, 20.0, 40.0]]), "labels": torch.tensor([number % 3])}
        if number == 1:
            target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
        samples.append((np.full((side, side + 10 * (number % 2), 3), number, np.uint8), target))
    return samples


def test_datasets_are_read_once_and_split():
    class Counted(list):
        read = 0

        def __getitem__(self, index):
            Counted.read += 1
            return super().__getitem__(index)

    train = Counted(labelled(60))
    data = Datasets(train=train, test=labelled(9, seed=1), classes=CLASSES).load()
    assert Counted.read == 60
    assert (len(data.train), len(data.val), len(data.test)) == (54, 6, 9)
    assert data.val.labels.bincount().tolist() == [2, 2, 2]
    images = torch.cat([data.train.images, data.val.images])
    sums = sorted(int(image.sum()) for image, _ in labelled(60))
    assert images.flatten(1).sum(1).sort().values.tolist() == sums
    pixels = data.train.images.double() / 255
    assert data.normalise.mean == pytest.approx([pixels.mean().item()], abs=1e-4)
    assert data.normalise.std == pytest.approx([pixels.std().item()], abs=1e-3)
    (images, labels), *_ = data.evaluation_batches(data.test, 8, 9)
    assert images.shape == (9, 1, 8, 8)
    assert labels.tolist() == [0, 1, 2] * 3


def test_datasets_with_search_val_of_their_own_train_on_all_images():
    data = Datasets(train=labelled(60), val=labelled(9, seed=2), test=labelled(9, seed=1), classes=CLASSES).load()
    assert (len(data.train), len(data.val)) == (60, 9)


def test_datasets_are_known_by_their_content():
    one = Datasets(train=labelled(60), test=labelled(9, seed=1), classes=CLASSES)
    images = torch.stack([torch.from_numpy(image)[None] / 255 for image, _ in labelled(60)])
    same = replace(one, train=TensorDataset(images, torch.arange(60) % 3))
    other = replace(one, train=labelled(60, seed=5))
    assert DataIdentity.of(one.load()) == DataIdentity.of(same.load())
    assert DataIdentity.of(one.load()) != DataIdentity.of(other.load())


def test_datasets_of_detection_have_boxes_as_fractions():
    data = Datasets(train=boxed(10), test=boxed(4), classes=CLASSES, task="detect", flip=False).load()
    assert (data.task, data.channels, len(data.train), len(data.val)) == ("detect", 3, 9, 1)
    ((images, labels),) = data.evaluation_batches(data.test, 32)
    assert images.shape == (4, 3, 32, 32)
    assert labels[:, :2].tolist() == [[0, 0], [2, 2], [3, 0]]
    assert labels[0, 2:].tolist() == pytest.approx([0.1, 0.2, 0.5, 1.0])
    assert labels[2, 2:].tolist() == pytest.approx([0.08, 0.2, 0.4, 1.0]), "of a wider image"


IMAGE = np.zeros((12, 10), np.uint8)


def in_box(*box, labels=(0,), shape=(20, 30)):
    return np.zeros(shape, np.uint8), {"boxes": [list(box)], "labels": list(labels)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (IMAGE, "train[5] is of the type ndarray; expected a pair of an image and its label"),
        ((IMAGE, 1, 2), "train[5] is of the type tuple; expected a pair"),
        ((IMAGE, 3), "the label of train[5] is 3, but there are 3 classes, 0 to 2"),
        ((IMAGE, -1), "the label of train[5] is -1"),
        ((IMAGE, 1.0), "the label of train[5] is 1.0, of the type float; expected a class index"),
        ((IMAGE, "b"), "the label of train[5] is 'b', of the type str"),
        ((IMAGE[:, 1:], 1), "train[0] has 12 x 10 pixels and train[5] 12 x 9; resize them"),
        ((np.zeros((12, 10, 3), np.uint8), 1), "train[0] has 1 channels, and train[5] has 3; convert all"),
        ((np.full((12, 10), np.nan), 1), "the image of train[5] has values from nan"),
    ],
)
def test_sample_that_cannot_be_used_is_named(wrong, message):
    train = labelled(10)
    train[5] = wrong
    with pytest.raises(InputError) as raised:
        Datasets(train=train, test=labelled(9), classes=CLASSES).load()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (in_box(20, 2, 10, 8), "a box of train[0] is [20.0, 2.0, 10.0, 8.0], but its image is 30 x 20 pixels"),
        (in_box(0, 0, 31, 20), "a box of train[0]"),
        (in_box(0, 0, np.nan, 20), "a box of train[0]"),
        (in_box(0, 0, 9, 9, labels=(7,)), "a label of train[0] is 7, but there are 3 classes"),
        (in_box(0, 0, 9, 9, labels=(0, 1)), "the target of train[0] has 1 boxes and 2 labels"),
        ((IMAGE, 1), 'the target of train[0] is not a mapping with "boxes" (M, 4) and "labels" (M,)'),
        ((IMAGE, {"boxes": [[1, 2, 3]], "labels": [0]}), "the boxes of train[0] have the shape (1, 3)"),
    ],
)
def test_target_of_detection_that_cannot_be_used_is_named(wrong, message):
    with pytest.raises(InputError) as raised:
        Datasets(train=[wrong], test=boxed(4), classes=CLASSES, task="detect").load()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": []}, "train has no samples"),
        ({"task": "segment"}, "task must be classify or detect, but is 'segment'"),
        ({"val_fraction": 1.0}, "0 < val_fraction < 1 must hold, but it is 1.0"),
        ({"classes": ("a", "b", "b")}, "the classes of a data set need different names"),
        ({"test": [(np.zeros((12, 10, 3), np.uint8), 0)]}, "the images of train have 1 channels, those of test 3"),
    ],
)
def test_settings_of_datasets_are_checked(change, message):
    datasets = Datasets(train=labelled(30), test=labelled(9), classes=CLASSES)
    with pytest.raises(InputError) as raised:
        replace(datasets, **change).load()
    assert message in str(raised.value)
