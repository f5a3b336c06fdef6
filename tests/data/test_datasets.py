"""A program's own datasets."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from tinynas.data import dataset_reader, loading
from tinynas.data.datasets import Datasets
from tinynas.data.identity import DataIdentity
from tinynas.data.joined import with_search_val_in_train
from tinynas.data.objects import OBJECT
from tinynas.data.pixels import to_pixels
from tinynas.data.registry import load_data
from tinynas.data.summary import summarise
from tinynas.tasks.registry import TASKS
from tinynas.utils.errors import InputError

CLASSES = ("a", "b", "c")


def labelled(count, seed=0, size=(12, 12)):
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
    datasets = Datasets(train=train, test=labelled(9, seed=1), classes=CLASSES)
    assert Counted.read == 1, "the first sample, to be checked at once"
    data = datasets.load()
    assert datasets.load() is data
    assert Counted.read == 1 + 60
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
    assert labels[0, 2:6].tolist() == pytest.approx([0.1, 0.2, 0.5, 1.0])
    assert labels[2, 2:6].tolist() == pytest.approx([0.08, 0.2, 0.4, 1.0]), "of a wider image"
    height, width = data.test.read.size(0)
    assert labels[0, 6:].tolist() == pytest.approx([0.4 * 0.8 * height * width, OBJECT]), "area of the box"


IMAGE = np.zeros((12, 12), np.uint8)


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
        ({"test": []}, "test has no samples"),
        ({"val": []}, "val has no samples"),
        ({"test": None}, "test is of the type NoneType; expected a list or a dataset with samples by index; pass one"),
        ({"train": (pair for pair in labelled(9))}, "train is of the type generator; expected a list or a dataset"),
        ({"train": DataLoader(labelled(9))}, "is of the type DataLoader; expected a list or a dataset with samples"),
        ({"classes": "abc"}, """classes is 'abc'; pass a list of names, such as ["ok", "crack"]"""),
        ({"classes": None}, "classes is None; pass a list of names"),
        ({"classes": (0, 1)}, "classes has 0, of the type int; pass names, in order"),
        ({"classes": ("a",)}, "classes has 1 names, but needs at least 2; add a class"),
        ({"name": "a/b"}, "name must be letters, digits"),
        ({"name": "digits"}, "name is 'digits', which is a data set of tinynas; choose another"),
        ({"task": "segment"}, "task must be classify or detect, but is 'segment'"),
        ({"val_fraction": 1.0}, "0 < val_fraction < 1 must hold, but it is 1.0"),
        ({"classes": ("a", "b", "b")}, "classes has 'b' more than once; rename one of them"),
    ],
)
def test_settings_of_datasets_are_checked_before_a_sample_is_read(change, message):
    datasets = Datasets(train=labelled(30), test=labelled(9), classes=CLASSES)
    with pytest.raises(InputError) as raised:
        replace(datasets, **change)
    assert message in str(raised.value)


def test_parts_whose_channels_differ_are_named():
    coloured = [(np.zeros((12, 12, 3), np.uint8), 0)]
    with pytest.raises(InputError, match=r"train\[0\] has 1 channels, and test\[0\] has 3; convert all to grey or RGB"):
        Datasets(train=labelled(30), test=coloured, classes=CLASSES).load()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_first_samples_are_checked_when_datasets_are_made(part):
    parts = {"train": labelled(9), "val": labelled(9), "test": labelled(9)} | {part: [(IMAGE, 3), (IMAGE, 0)]}
    with pytest.raises(InputError, match=rf"the label of {part}\[0\] is 3, but there are 3 classes"):
        Datasets(**parts, classes=CLASSES)


def test_training_images_of_a_single_class_are_an_error():
    with pytest.raises(InputError, match="all 30 images of train are of the class 'c'; add images of others"):
        Datasets(train=[(IMAGE, 2)] * 30, test=labelled(9), classes=CLASSES).load()


@pytest.mark.parametrize("true", [True, np.bool_(True), torch.tensor(True), torch.tensor([1]), np.array(1)])
def test_labels_may_be_booleans_and_scalars(true):
    train = [(IMAGE, False), (IMAGE + 255, true)] * 10
    data = Datasets(train=train, test=train[:4], classes=("no", "yes")).load()
    assert data.test.labels.tolist() == [0, 1, 0, 1]


def test_exception_of_a_dataset_is_named_with_its_sample():
    class Failing(list):
        def __getitem__(self, index):
            if index == 7:
                raise ValueError("no such file\nat all")
            return super().__getitem__(index)

    with pytest.raises(InputError) as raised:
        Datasets(train=Failing(labelled(9)), test=labelled(9), classes=CLASSES).load()
    assert str(raised.value) == (
        "train[7] cannot be read, the dataset raised ValueError: no such file; correct the dataset"
    )
    assert isinstance(raised.value.__cause__, ValueError)


def of_sizes(count, seed=0):
    """Images whose sizes differ, as photographs' do: the last of three classes is bright."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        shape = (30 + number % 7, 40 + number % 5, 3)
        samples.append((rng.integers(0, 100, shape, dtype=np.uint8) + 100 * (number % 3 == 2), number % 3))
    return samples


def test_images_of_different_sizes_are_seen_as_those_of_a_folder(tmp_path):
    data = Datasets(train=of_sizes(60), test=of_sizes(9, seed=1), classes=CLASSES).load()
    for number, (image, label) in enumerate(of_sizes(9, seed=1)):
        (tmp_path / "val" / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        for part in ("train", "val"):
            Image.fromarray(image).save(tmp_path / part / CLASSES[label] / f"{number}.png")
    folder = replace(load_data(f"imagefolder:{tmp_path}"), normalise=data.normalise)
    assert data.crop == folder.crop
    ((images, labels),) = data.evaluation_batches(data.test, 24)
    ((of_folder, folder_labels),) = folder.evaluation_batches(folder.test, 24)
    order = [0, 3, 6, 1, 4, 7, 2, 5, 8]
    assert labels[order].tolist() == folder_labels.tolist()
    assert torch.equal(images[order], of_folder)
    task = TASKS["classify"]
    alone = [task.preprocess(to_pixels(image, ""), 24, data.crop) for image, _ in of_sizes(9, seed=1)]
    assert torch.equal(data.normalise(torch.stack(alone)), images), "as a prediction sees them"
    assert summarise(data, "sizes").sizes[0] == (40, 30)


@pytest.mark.parametrize("flip", [True, False])
def test_augmentation_of_photographs_mirrors_only_if_it_may(flip):
    bright_left = np.zeros((40, 60, 3), np.uint8)
    bright_left[:, :30] = 255
    train = [(bright_left, number % 2) for number in range(40)]
    data = Datasets(train=train, test=train[:2], classes=("a", "b"), flip=flip).load()
    (batch,) = data.training_batches(36, (16,), seed=0, epoch=0)
    halves = batch.images.mean(1)[:, :, [0, -1]].mean(1)
    assert bool((halves[:, 0] < halves[:, 1]).any()) == flip


class Counting:
    """Keeps nothing: makes each image when it is read, and counts."""

    def __init__(self, count, log=None):
        self.count = count
        self.log = log

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if self.log:
            with open(self.log, "a") as file:
                file.write("read\n")
        image = np.random.default_rng(index).integers(0, 256, (20, 20), dtype=np.uint8)
        return image, index % 2


def test_large_data_sets_are_read_again_whenever_they_are_needed(tmp_path, monkeypatch):
    in_memory = replace(Datasets(train=Counting(40), test=Counting(8), classes=("a", "b")), name="small").load()
    monkeypatch.setattr(dataset_reader, "KEPT_BYTES", 30 * 400)
    monkeypatch.setattr(loading, "_FEW_IMAGES", 0)
    log = tmp_path / "log"
    log.touch()
    data = Datasets(train=Counting(40, log), test=Counting(8), classes=("a", "b")).load()
    assert len(log.read_text().split()) == 1 + 40, "the first one at once, then each one to be checked"
    assert all(record.pixels is None for record in [*data.train.read.records, *data.test.read.records])
    assert data.normalise == in_memory.normalise
    again = Datasets(train=Counting(40), test=Counting(8), classes=("a", "b")).load()
    assert DataIdentity.of(data) == DataIdentity.of(again)


def test_large_data_sets_are_the_same_with_and_without_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_reader, "KEPT_BYTES", 30 * 400)
    data = Datasets(train=Counting(40), test=Counting(8), classes=("a", "b")).load()
    batches = {}
    for few in (1000, 0):
        monkeypatch.setattr(loading, "_FEW_IMAGES", few)
        monkeypatch.setenv("TINYNAS_LOADERS", "2")
        batches[few] = [
            (batch.images.clone(), batch.labels.clone())
            for batch in data.training_batches(8, (16,), seed=0, epoch=0, augmentation="strong")
        ]
    assert len(batches[0]) == 4
    for (images, labels), (others, other_labels) in zip(batches[0], batches[1000], strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def growing(count):
    """Images each of which is larger than the one before, so that the first does not tell how much all take."""
    return [(np.full((10 + number, 10 + number), number, np.uint8), number % 3) for number in range(count)]


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.7, 0.999])
def test_no_pixels_are_kept_if_those_of_all_parts_are_too_many(monkeypatch, fraction):
    datasets = Datasets(train=growing(40), test=growing(20), val=growing(20), classes=CLASSES)
    total = sum(image.size for count in (40, 20, 20) for image, _ in growing(count))
    for limit, is_kept in ((total, True), (int(fraction * total), False)):
        monkeypatch.setattr(dataset_reader, "KEPT_BYTES", limit)
        for split in replace(datasets).load().splits.values():
            assert {record.pixels is not None for record in split.read.records} == {is_kept}


@pytest.mark.parametrize("few", [0, 1000])
def test_images_that_change_between_two_reads_are_an_error(monkeypatch, few):
    class Changing(Counting):
        reads = 0

        def __getitem__(self, index):
            Changing.reads += 1
            image, label = super().__getitem__(index)
            return image + (Changing.reads > 60), label

    monkeypatch.setattr(dataset_reader, "KEPT_BYTES", 0)
    monkeypatch.setattr(loading, "_FEW_IMAGES", few)
    data = Datasets(train=Changing(60), test=Counting(8), classes=("a", "b")).load()
    with pytest.raises(InputError, match=r"train\[\d+\] is another one whenever it is read; leave random transforms"):
        list(data.evaluation_batches(data.train, 16))


def test_data_sets_in_memory_can_be_sent_to_other_processes():
    class OfThisFunction(list):
        """Cannot be pickled."""

    for samples, task in ((labelled(9), "classify"), (of_sizes(9), "classify"), (boxed(9), "detect")):
        data = Datasets(train=OfThisFunction(samples), test=samples, classes=CLASSES, task=task).load()
        assert pickle.loads(pickle.dumps(data)).train.digest() == data.train.digest()


def test_large_data_sets_of_boxes_are_read_again_too(monkeypatch):
    whole = Datasets(train=boxed(10), test=boxed(4), classes=CLASSES, task="detect").load()
    monkeypatch.setattr(dataset_reader, "KEPT_BYTES", 0)
    again = Datasets(train=boxed(10), test=boxed(4), classes=CLASSES, task="detect").load()
    assert DataIdentity.of(again) == DataIdentity.of(whole)
    ((images, labels),) = whole.evaluation_batches(whole.test, 32)
    ((others, other_labels),) = again.evaluation_batches(again.test, 32)
    assert torch.equal(images, others)
    assert torch.equal(labels, other_labels)


def test_datasets_of_any_kind_train_on_all_images():
    for samples in (labelled(60), of_sizes(60)):
        data = Datasets(train=samples, test=samples[:9], classes=CLASSES).load()
        joined = with_search_val_in_train(data)
        assert len(joined.train) == 60
        assert joined.train.labels.bincount().tolist() == [20, 20, 20]
