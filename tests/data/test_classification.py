import gzip
import json
from functools import partial

import numpy as np
import pytest

from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError


@pytest.mark.parametrize("layout", ["flat", "torchvision", "unpacked"])
def test_fashion_mnist_is_read_from_every_layout(fashion, tmp_path, layout):
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


def test_fashion_mnist_names_a_damaged_file(fashion):
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match="is damaged or not an IDX file"):
        load_data(f"fashion-mnist:{fashion}")
    (fashion / "t10k-labels-idx1-ubyte.gz").unlink()
    path.write_bytes(gzip.compress(b"not idx"))
    with pytest.raises(FileError, match="damaged or not an IDX file"):
        load_data(f"fashion-mnist:{fashion}")


def test_fashion_mnist_names_its_missing_folder(tmp_path):
    with pytest.raises(FileError, match="no Fashion-MNIST in"):
        load_data(f"fashion-mnist:{tmp_path}")


def test_cifar_names_its_missing_folder(tmp_path):
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
            self.data[:, 0, 0] = 200  # so that no channel is constant
            self.targets = [i % 2 for i in range(count)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Small)
    data = load_data("cifar10")
    assert data.train.images.shape == (18, 3, 32, 32)
    assert data.train.images[0, :, 5, 5].tolist() == [10, 20, 30]
    assert (data.channels, data.classes, len(data.test.labels)) == (3, ("plane", "car"), 6)


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
def test_photographs_are_read_in_torchvisions_layout(name, tmp_path, rng, monkeypatch):
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


def test_photographs_name_their_missing_folder(tmp_path):
    for name in ("food101", "pets", "cars", "flowers102"):
        with pytest.raises(FileError, match=rf"cannot get the data set {name}: .*; give its folder as {name}:PATH"):
            load_data(f"{name}:{tmp_path}")
