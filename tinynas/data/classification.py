"""Where the data sets come from: packages, files on this machine, torchvision, folders of images."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import FileError, InputError
from .base import IMAGENET, Data, Labelled, Normalisation, Wanted
from .loading import ImageFiles, WantedImage, load
from .memory import MemorySplit, hold_out
from .transforms import middle, trivial_augment

CACHE = Path("~/.cache/tinynas").expanduser()  # where torchvision's downloads go
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist
_FASHION_CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
_PHOTOGRAPHS = {  # name -> torchvision's class, its splits to train on, its split to test on
    "food101": ("Food101", ("train",), "test"),
    "flowers102": ("Flowers102", ("train", "val"), "test"),
    "pets": ("OxfordIIITPet", ("trainval",), "test"),
    "cars": ("StanfordCars", ("train",), "test"),
}


_CROP = 7 / 8  # of the shorter side of a photograph, in evaluation


def _digits(path: Path | None) -> Data:
    """scikit-learn's 1,797 real images of handwritten digits, 8x8, enlarged to 32x32."""
    from sklearn.datasets import load_digits

    if path:
        raise InputError(f"the data set digits takes no path, but got {str(path)!r}; it comes with scikit-learn")
    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).float()[:, None] * (255 / 16)  # (1797, 1, 8, 8)
    images = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear").round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    train, test = hold_out(labels, 0.2, "test")
    return _in_memory(tuple("0123456789"), (images[train], labels[train]), (images[test], labels[test]), 0.25, shift=3)


def _fashion_mnist(path: Path | None) -> Data:
    """Fashion-MNIST (Xiao et al., 2017): 70,000 grey images, 28x28."""
    folders = [path] if path else [FASHION_MNIST, CACHE]
    found = next(
        (f for root in folders for f in (root, root / "FashionMNIST" / "raw") if _idx_file(f, "train-images-idx3")),
        None,
    )
    if not found and path:
        raise FileError(
            f"no Fashion-MNIST in {path}: expected train-images-idx3-ubyte.gz there, or in FashionMNIST/raw"
        )
    if not found:
        from torchvision.datasets import FashionMNIST

        _download(lambda: FashionMNIST(str(CACHE), download=True), "fashion-mnist")
        found = CACHE / "FashionMNIST" / "raw"
    train, test = (
        (
            torch.from_numpy(_read_idx(found, f"{part}-images-idx3"))[:, None],
            _labels(_read_idx(found, f"{part}-labels-idx1")),
        )
        for part in ("train", "t10k")
    )
    return _in_memory(_FASHION_CLASSES, train, test, 0.1, shift=2, flip=True)


def _cifar(name: str, path: Path | None) -> Data:
    """CIFAR-10 or CIFAR-100 (Krizhevsky, 2009): 60,000 colour images, 32x32."""
    import torchvision.datasets

    cls = getattr(torchvision.datasets, name)
    sets = _download(lambda: [cls(str(path or CACHE), train=t, download=not path) for t in (True, False)], name.lower())
    train, test = ((torch.from_numpy(s.data).permute(0, 3, 1, 2).contiguous(), _labels(s.targets)) for s in sets)
    return _in_memory(tuple(sets[0].classes), train, test, 0.1, shift=4, flip=True)


def _in_memory(
    classes: tuple[str, ...],
    train: Labelled,
    test: Labelled,
    val_fraction: float,
    *,
    shift: int,
    flip: bool = False,
) -> Data:
    images, labels = train
    kept, held = hold_out(labels, val_fraction, "val")
    pixels = images[kept].float() / 255
    return Data(
        classes=classes,
        normalise=Normalisation(mean=_rounded(pixels.mean((0, 2, 3))), std=_rounded(pixels.std((0, 2, 3)))),
        train=MemorySplit(images=images[kept], labels=labels[kept], flip=flip, shift=shift),
        val=MemorySplit(images=images[held], labels=labels[held]),
        test=MemorySplit(images=test[0], labels=test[1]),
    )


def _image_folder(path: Path | None) -> Data:
    """A folder with train/CLASS/*.jpg and val/CLASS/*.jpg (any format PIL reads, any size); val/ is the test split."""
    from torchvision.datasets import ImageFolder

    if not path:
        raise InputError("imagefolder needs a path: imagefolder:PATH, with train/ and val/ in it")
    parts = {}
    for part in ("train", "val"):
        try:
            parts[part] = ImageFolder(str(path / part))
        except FileNotFoundError as error:
            reason = str(error).split(". ")[0] if (path / part).is_dir() else f"there is no folder {part}/"
            raise FileError(f"no images in {path}: {reason}; expected {part}/CLASS/IMAGE files") from None
    train, test = parts["train"], parts["val"]
    if train.classes != test.classes:
        differ = sorted(set(train.classes) ^ set(test.classes))
        raise FileError(f"{path}: train/ and val/ have different classes, only one has {', '.join(differ[:5])}")
    return _on_disk(tuple(train.classes), train.samples, test.samples)


def _photographs(name: str, path: Path | None) -> Data:
    """One of torchvision's sets of labelled image files, in its own layout."""
    import torchvision.datasets

    cls, splits, test_split = _PHOTOGRAPHS[name]
    make = getattr(torchvision.datasets, cls)
    root = str(path or CACHE)
    sets = _download(lambda: [make(root, split=s, download=not path) for s in (*splits, test_split)], name)
    samples = [_samples(one) for one in sets]
    return _on_disk(tuple(sets[0].classes), list(chain(*samples[:-1])), samples[-1])


def _samples(dataset: Any) -> list[tuple[str, int]]:
    """The files and labels of a set of torchvision's, which gives them only with their images."""
    if hasattr(dataset, "_samples"):
        return list(dataset._samples)
    files = dataset._images if hasattr(dataset, "_images") else dataset._image_files
    return [(str(file), label) for file, label in zip(files, dataset._labels, strict=True)]


def _on_disk(classes: tuple[str, ...], train: Sequence[tuple[str, int]], test: Sequence[tuple[str, int]]) -> Data:
    """Image files with their labels; a tenth of the training images is search-val."""
    labels = _labels([label for _, label in train])
    kept, held = hold_out(labels, 0.1, "val")
    return Data(
        classes=classes,
        normalise=IMAGENET,
        crop=_CROP,
        train=FolderSplit([train[i][0] for i in kept], labels[kept]),
        val=FolderSplit([train[i][0] for i in held], labels[held]),
        test=FolderSplit([file for file, _ in test], _labels([label for _, label in test])),
    )


class FolderSplit:
    """Image files, read one at a time, cropped and mirrored with torchvision's transforms."""

    def __init__(self, files: Sequence[str], labels: Tensor) -> None:
        self.files = files
        self.labels = labels
        self._read = ImageFiles(files)

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, wanted: Sequence[Wanted], normalise: Normalisation) -> Iterator[Labelled]:
        loaded = load(self._make, torch.stack, wanted, files=len(self.files))
        for pixels, batch in zip(loaded, wanted, strict=True):
            yield normalise(pixels), self.labels[batch.indices]

    def _make(self, wanted: WantedImage) -> Tensor:
        """uint8 (3, resolution, resolution), augmented if there is a seed."""
        from torchvision.transforms import v2

        image, resolution = self._read(wanted.image), wanted.resolution
        if wanted.seed is None:
            return middle(image, resolution, _CROP)
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(wanted.seed)
            crop: Tensor = v2.RandomHorizontalFlip()(v2.RandomResizedCrop(resolution, (0.25, 1.0))(image))
        return trivial_augment(crop[None], wanted.seed)[0] if wanted.strong else crop


def _download(make: Callable[[], Any], name: str) -> Any:
    try:
        return make()
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"cannot get the data set {name}: {reason}; give its folder as {name}:PATH") from None


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((f for f in (folder / f"{name}-ubyte.gz", folder / f"{name}-ubyte") if f.is_file()), None)


def _read_idx(folder: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of an IDX file: two zeros, type 8, number of dimensions, sizes as big-endian int32, data."""
    file = _idx_file(folder, name)
    if not file:
        raise FileError(f"no {name}-ubyte.gz in {folder}; copy it there")
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        dims = raw[3]
        shape = np.frombuffer(raw, ">i4", dims, 4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape).copy()
    except (OSError, EOFError, zlib.error, ValueError, IndexError):
        raise FileError(f"{file} is damaged or not an IDX file; fetch it again") from None


def _labels(values: Any) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.int64)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
