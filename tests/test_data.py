import gzip
import json
from functools import partial

import numpy as np
import pytest
import torch

from tinynas.data.base import Normalisation, Wanted
from tinynas.data.memory import MemorySplit, hold_out
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError
from tinynas.utils.rng import generator


def same(one, other):
    return all(
        a[0].shape == b[0].shape and torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        for a, b in zip(one, other, strict=True)
    )


def test_digits_has_three_splits_that_do_not_overlap():
    digits = load_data("digits")
    sizes = [len(split.labels) for split in (digits.train, digits.val, digits.test)]
    assert sum(sizes) == 1797
    assert sizes == [1079, 359, 359]
    assert digits.channels == 1
    for split in (digits.train, digits.val, digits.test):
        assert split.labels.bincount().min() > 0.09 * len(split.labels)


def test_normalised_training_images_have_mean_0_and_deviation_1():
    digits = load_data("digits")
    images = torch.cat([x for x, _ in digits.evaluation_batches(digits.train, 32)])
    assert images.mean().abs() < 0.01
    assert (images.std() - 1).abs() < 0.01


def test_an_epoch_is_a_shuffle_that_repeats(data):
    def epoch(seed, number):
        return list(data.training_batches(10, (8, 12), seed=seed, epoch=number))

    assert same(epoch(0, 0), epoch(0, 0))
    assert not same(epoch(0, 0), epoch(0, 1))
    assert not same(epoch(0, 0), epoch(1, 0))
    assert len(epoch(0, 0)) == data.steps_per_epoch(10) == 9


def test_every_resolution_is_drawn_and_resized_to_once(data):
    batches = list(data.training_batches(4, (8, 12), seed=0, epoch=0))
    assert {batch.images.shape[-1] for batch in batches} == {8, 12}
    whole = next(batch.images for batch in batches if batch.images.shape[-1] == 12)
    values = data.normalise(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)).flatten()
    assert torch.isin(whole, values).all(), "an image at its own size was resampled"


def test_calibration_batches_are_equal(data):
    sizes = [len(x) for x in data.calibration_batches(8, images=31, batch_size=10)]
    assert sum(sizes) == 31
    assert max(sizes) - min(sizes) <= 1


def test_an_epoch_can_be_entered_anywhere(data):
    whole = list(data.training_batches(10, (8, 12), seed=0, epoch=2))
    assert same(whole[4:], list(data.training_batches(10, (8, 12), seed=0, epoch=2, start=4)))


def test_a_set_smaller_than_a_batch_still_trains(data):
    (batch,) = data.training_batches(1000, (12,), seed=0, epoch=0)
    assert len(batch[1]) == 96


def test_evaluation_sees_every_image_once_and_as_it_is(data):
    batches = list(data.evaluation_batches(data.val, 12, batch_size=7))
    assert torch.equal(torch.cat([y for _, y in batches]), data.val.labels)
    assert torch.equal(torch.cat([x for x, _ in batches]), data.normalise(data.val.images))


def test_images_are_resized(data):
    assert next(iter(data.evaluation_batches(data.val, 8)))[0].shape[-2:] == (8, 8)
    assert data.calibration_batches(16, images=20, batch_size=10)[1].shape == (10, 1, 16, 16)


def test_augmentation_shifts_and_mirrors():
    images = torch.zeros(200, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 3] = 255
    split = MemorySplit(images=images, labels=torch.zeros(200, dtype=torch.long), flip=True, shift=2)
    ((moved, _),) = split.batches([Wanted(torch.arange(200), 9, 5)], Normalisation(mean=(0.0,), std=(1.0,)))
    rows, columns = moved[:, 0].nonzero()[:, 1], moved[:, 0].nonzero()[:, 2]
    assert set(rows.tolist()) == {2, 3, 4, 5, 6}
    assert set(columns.tolist()) == {1, 2, 3, 4, 5, 6, 7}  # 3 or its mirror image 5, give or take 2
    assert moved.sum() == 200


def test_a_batch_says_which_images_it_has(data):
    for number, batch in enumerate(data.training_batches(10, (12,), seed=0, epoch=1, augmentation="none")):
        assert batch.number == number
        assert torch.equal(batch.labels, data.train.labels[batch.indices])
        assert torch.equal(batch.images, data.normalise(data.train.images[batch.indices]))


def test_strong_augmentation_changes_each_image_in_its_own_way():
    images = torch.randint(0, 256, (1, 1, 9, 9), dtype=torch.uint8).repeat(40, 1, 1, 1)
    split = MemorySplit(images=images, labels=torch.zeros(40, dtype=torch.long))
    wanted = [
        Wanted(torch.arange(40), 9, seed, strong) for seed, strong in ((5, False), (5, True), (5, True), (6, True))
    ]
    batches = split.batches(wanted, Normalisation(mean=(0.0,), std=(1.0,)))
    same_images, strong, again, other = (images for images, _ in batches)
    assert len(same_images.unique(dim=0)) == 1
    assert len(strong.unique(dim=0)) > 10
    assert torch.equal(strong, again)
    assert not torch.equal(strong, other)


def test_hold_out_takes_of_every_class():
    labels = torch.tensor([0] * 100 + [1] * 10 + [2] * 2)
    first, second = hold_out(labels, 0.1, "val")
    assert labels[second].bincount().tolist() == [10, 1, 1]
    assert sorted(torch.cat([first, second]).tolist()) == list(range(112))
    assert torch.equal(second, hold_out(labels, 0.1, "val")[1])


def test_random_choices_depend_on_seed_purpose_and_step():
    draws = {generator(*key).integers(2**60) for key in [(0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0)]}
    assert len(draws) == 4
    assert generator(3, "x", 7).random() == generator(3, "x", 7).random()


@pytest.mark.parametrize("layout", ["flat", "torchvision", "unpacked"])
def test_fashion_mnist_is_read_as_it_is(fashion, tmp_path, layout):
    root = fashion
    if layout == "torchvision":
        root = tmp_path / "root"
        (root / "FashionMNIST").mkdir(parents=True)
        fashion.rename(root / "FashionMNIST" / "raw")
    if layout == "unpacked":
        for path in fashion.iterdir():
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    data = load_data(f"fashion-mnist:{root}")
    assert [len(split.labels) for split in (data.train, data.val, data.test)] == [180, 20, 40]
    assert data.train.images.shape[1:] == (1, 28, 28)
    assert data.test.labels.tolist() == [i % 10 for i in range(40)]


def test_fashion_mnist_that_is_damaged(fashion):
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match="is damaged or not an IDX file"):
        load_data(f"fashion-mnist:{fashion}")
    (fashion / "t10k-labels-idx1-ubyte.gz").unlink()
    path.write_bytes(gzip.compress(b"not idx"))
    with pytest.raises(FileError, match="damaged or not an IDX file"):
        load_data(f"fashion-mnist:{fashion}")


def test_fashion_mnist_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="no Fashion-MNIST in"):
        load_data(f"fashion-mnist:{tmp_path}")


def test_cifar_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match=r"cannot get the data set cifar10: .*give its folder as cifar10:PATH"):
        load_data(f"cifar10:{tmp_path}")


def test_cifar_pixels_reach_the_splits(monkeypatch):
    import numpy as np
    import torchvision.datasets

    class Small:
        classes = ("plane", "car")

        def __init__(self, root, train, download):
            count = 20 if train else 6
            self.data = np.full((count, 32, 32, 3), [10, 20, 30], np.uint8)
            self.targets = [i % 2 for i in range(count)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Small)
    data = load_data("cifar10")
    assert data.train.images.shape == (18, 3, 32, 32)
    assert data.train.images[0, :, 5, 5].tolist() == [10, 20, 30]
    assert (data.channels, data.classes, len(data.test.labels)) == (3, ("plane", "car"), 6)


def test_an_image_folder(image_folder):
    data = load_data(f"imagefolder:{image_folder}")
    assert data.classes == ("cat", "dog")
    assert [len(split.labels) for split in (data.train, data.val, data.test)] == [14, 2, 6]
    images, labels, *_ = next(iter(data.training_batches(5, (24,), seed=0, epoch=0)))
    assert images.shape == (5, 3, 24, 24)
    assert labels.shape == (5,)
    again = next(iter(data.training_batches(5, (24,), seed=0, epoch=0))).images
    other = next(iter(data.training_batches(5, (24,), seed=1, epoch=0))).images
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    strong = next(iter(data.training_batches(5, (24,), seed=0, epoch=0, augmentation="strong"))).images
    assert strong.shape == images.shape
    assert not torch.equal(images, strong)


def photograph(path, rng):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)


def food101(root, rng):
    meta = {split: {} for split in ("train", "test")}
    for split, count in (("train", 10), ("test", 2)):
        for label in ("apple_pie", "baklava"):
            meta[split][label] = [f"{label}/{split}{i}" for i in range(count)]
            for image in meta[split][label]:
                photograph(root / "food-101" / "images" / f"{image}.jpg", rng)
    (root / "food-101" / "meta").mkdir()
    for split, content in meta.items():
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(content))


def pets(root, rng):
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("trainval", 10), ("test", 2)):
        lines = []
        for label, name in enumerate(("Abyssinian", "beagle"), 1):
            for i in range(count):
                photograph(folder / "images" / f"{name}_{split}{i}.jpg", rng)
                lines.append(f"{name}_{split}{i} {label} {label} 1")
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def cars(root, rng):
    from scipy.io import savemat

    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array(["Acura TL", "BMW X3"], dtype=object)})
    for split, count, where in (
        ("train", 20, folder / "devkit" / "cars_train_annos.mat"),
        ("test", 4, folder / "cars_test_annos_withlabels.mat"),
    ):
        names = [f"{i:05d}.jpg" for i in range(count)]
        for name in names:
            photograph(folder / f"cars_{split}" / name, rng)
        records = np.array(
            [(name, i % 2 + 1) for i, name in enumerate(names)], dtype=[("fname", object), ("class", "u1")]
        )
        savemat(where, {"annotations": records})


def flowers102(root, rng, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    folder = root / "flowers-102"
    for i in range(1, 25):
        photograph(folder / "jpg" / f"image_{i:05d}.jpg", rng)
    savemat(folder / "imagelabels.mat", {"labels": np.array([i % 2 + 1 for i in range(24)], dtype=np.uint8)})
    savemat(
        folder / "setid.mat",
        {"trnid": np.arange(1, 11), "valid": np.arange(11, 21), "tstid": np.arange(21, 25)},
    )
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)  # else it wants the real set's checksums


@pytest.mark.parametrize("name", ["food101", "pets", "cars", "flowers102"])
def test_photographs_in_torchvisions_layout(name, tmp_path, rng, monkeypatch):
    make = {"food101": food101, "pets": pets, "cars": cars}.get(name, partial(flowers102, monkeypatch=monkeypatch))
    make(tmp_path, rng)
    data = load_data(f"{name}:{tmp_path}")
    assert [len(split.labels) for split in (data.train, data.val, data.test)] == [18, 2, 4]
    assert (
        data.classes[:2]
        == {
            "food101": ("apple_pie", "baklava"),
            "pets": ("Abyssinian", "Beagle"),
            "cars": ("Acura TL", "BMW X3"),
            "flowers102": ("pink primrose", "hard-leaved pocket orchid"),
        }[name]
    )
    images, labels, *_ = next(iter(data.training_batches(6, (32,), seed=0, epoch=0)))
    assert images.shape == (6, 3, 32, 32)
    assert set(labels.tolist()) == {0, 1}
    for file, label in zip(data.test.files, data.test.labels, strict=True):
        if name in ("food101", "pets"):
            assert data.classes[label].lower() in file.lower()


def test_photographs_that_are_not_there(tmp_path):
    for name in ("food101", "pets", "cars", "flowers102"):
        with pytest.raises(FileError, match=rf"cannot get the data set {name}: .*; give its folder as {name}:PATH"):
            load_data(f"{name}:{tmp_path}")


def test_workers_change_nothing(image_folder, monkeypatch):
    import tinynas.data.loading

    data = load_data(f"imagefolder:{image_folder}")
    alone = list(data.training_batches(4, (24, 32), seed=0, epoch=0))
    monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    assert same(alone, list(data.training_batches(4, (24, 32), seed=0, epoch=0)))


def test_an_unreadable_image_is_named(image_folder):
    (image_folder / "val" / "cat" / "0.png").write_bytes(b"\x89PNG broken")
    data = load_data(f"imagefolder:{image_folder}")
    with pytest.raises(FileError, match=r"cannot read the image .*val/cat/0\.png"):
        list(data.evaluation_batches(data.test, 24))


def test_folders_without_images(tmp_path, image_folder):
    with pytest.raises(InputError, match="imagefolder needs a path"):
        load_data("imagefolder")
    with pytest.raises(FileError, match="there is no folder train/"):
        load_data(f"imagefolder:{tmp_path}")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(FileError, match="no images in"):
        load_data(f"imagefolder:{tmp_path}")
    (image_folder / "val" / "dog").rename(image_folder / "val" / "horse")
    with pytest.raises(FileError, match="different classes, only one has dog, horse"):
        load_data(f"imagefolder:{image_folder}")


def test_an_unknown_data_set_names_the_near_one():
    with pytest.raises(InputError, match="unknown data set 'fashion-mnits'; did you mean 'fashion-mnist'"):
        load_data("fashion-mnits")
    with pytest.raises(InputError, match="digits takes no path"):
        load_data("digits:/somewhere")
