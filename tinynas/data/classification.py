"""Classification data sets: from files on this machine, and torchvision's downloads."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.errors import FileError
from ..utils.paths import cache_folder
from .base import Data, LabelledBatch
from .labelled_files import Sample, labelled_files
from .memory import class_indices, in_memory

CACHE = cache_folder()  # where torchvision's downloads go
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist
_FASHION_CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def fashion_mnist(path: Path | None) -> Data:
    """Load Fashion-MNIST (Xiao et al., 2017): 70,000 grey images, 28x28, from `path`, or downloaded."""
    folder = _fashion_mnist_folder(path)
    if folder is None and path is not None:
        raise FileError(
            f"no Fashion-MNIST in {path}: expected train-images-idx3-ubyte.gz there, or in FashionMNIST/raw"
        )
    if folder is None:
        from torchvision.datasets import FashionMNIST

        with _download_errors("fashion-mnist"):
            FashionMNIST(str(CACHE), download=True)
        folder = CACHE / "FashionMNIST" / "raw"
    train, test = _idx_images(folder, "train"), _idx_images(folder, "t10k")
    return in_memory(_FASHION_CLASSES, train, test, 0.1, shift=2, flip=True)


def _fashion_mnist_folder(path: Path | None) -> Path | None:
    """Return the first folder that has Fashion-MNIST's files."""
    for root in [path] if path else [FASHION_MNIST, CACHE]:
        for folder in (root, root / "FashionMNIST" / "raw"):
            if _idx_file(folder, "train-images-idx3"):
                return folder
    return None


def cifar10(path: Path | None) -> Data:
    """Load CIFAR-10 (Krizhevsky, 2009): 60,000 RGB images, 32x32, of 10 classes."""
    return _cifar("cifar10", "CIFAR10", path)


def cifar100(path: Path | None) -> Data:
    """Load CIFAR-100 (Krizhevsky, 2009): 60,000 RGB images, 32x32, of 100 classes."""
    return _cifar("cifar100", "CIFAR100", path)


def _cifar(name: str, torchvision_name: str, path: Path | None) -> Data:
    import torchvision.datasets

    cls = getattr(torchvision.datasets, torchvision_name)
    root, download = str(path or CACHE), path is None
    with _download_errors(name):
        train, test = cls(root, train=True, download=download), cls(root, train=False, download=download)
    return in_memory(tuple(train.classes), _cifar_images(train), _cifar_images(test), 0.1, shift=4, flip=True)


def _cifar_images(dataset: Any) -> LabelledBatch:
    """Return all images (N, 3, 32, 32) and labels (N,) of a torchvision data set."""
    return torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous(), class_indices(dataset.targets)


def food101(path: Path | None) -> Data:
    """Load Food-101 (Bossard et al., 2014): 101,000 photographs of 101 dishes."""
    return _photographs("food101", "Food101", ["train"], path)


def flowers102(path: Path | None) -> Data:
    """Load Oxford 102 Flower (Nilsback and Zisserman, 2008): 8,189 photographs of 102 flowers."""
    return _photographs("flowers102", "Flowers102", ["train", "val"], path)


def pets(path: Path | None) -> Data:
    """Load Oxford-IIIT Pet (Parkhi et al., 2012): 7,349 photographs of 37 breeds."""
    return _photographs("pets", "OxfordIIITPet", ["trainval"], path)


def cars(path: Path | None) -> Data:
    """Load Stanford Cars (Krause et al., 2013): 16,185 photographs of 196 models."""
    return _photographs("cars", "StanfordCars", ["train"], path)


def _photographs(name: str, torchvision_name: str, train_splits: Sequence[str], path: Path | None) -> Data:
    """Load one of torchvision's data sets of labelled image files, in torchvision's layout."""
    import torchvision.datasets

    cls = getattr(torchvision.datasets, torchvision_name)
    root, download = str(path or CACHE), path is None
    with _download_errors(name):
        parts = [cls(root, split=split, download=download) for split in train_splits]
        test = cls(root, split="test", download=download)
    train: list[Sample] = []
    for part in parts:
        train += _samples(part)
    return labelled_files(tuple(parts[0].classes), train, _samples(test))


def _samples(dataset: Any) -> list[Sample]:
    """Return the files and labels of a torchvision data set, whose public methods return them only with the images."""
    if hasattr(dataset, "_samples"):
        return list(dataset._samples)
    files = dataset._images if hasattr(dataset, "_images") else dataset._image_files
    return list(zip(map(str, files), dataset._labels, strict=True))


@contextmanager
def _download_errors(name: str) -> Iterator[None]:
    """Raise FileError for the errors of loading or downloading a data set."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"cannot get the data set {name}: {reason}; give its folder as {name}:PATH") from None


def _idx_images(folder: Path, part: str) -> LabelledBatch:
    """Return all images (N, 1, H, W) and labels (N,) of a part of Fashion-MNIST."""
    images = torch.from_numpy(_read_idx(folder, f"{part}-images-idx3"))
    return images[:, None], class_indices(_read_idx(folder, f"{part}-labels-idx1"))


def _idx_file(folder: Path, name: str) -> Path | None:
    for file in (folder / f"{name}-ubyte.gz", folder / f"{name}-ubyte"):
        if file.is_file():
            return file
    return None


def _read_idx(folder: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read an IDX file: two zeros, type 8, number of dimensions, sizes as big-endian int32, then the bytes."""
    file = _idx_file(folder, name)
    if not file:
        raise FileError(f"no {name}-ubyte.gz in {folder}; copy it there")
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        num_dims = content[3]
        shape = np.frombuffer(content, ">i4", num_dims, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * num_dims).reshape(shape).copy()
    except (OSError, EOFError, zlib.error, ValueError, IndexError):
        raise FileError(f"{file} is damaged or not an IDX file; download it again") from None
