"""Data sets by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..utils.errors import InputError, unknown
from .base import Data
from .classification import _PHOTOGRAPHS, _cifar, _digits, _fashion_mnist, _image_folder, _photographs


def load_data(name: str) -> Data:
    """The data set "NAME" or "NAME:PATH". Raises InputError or FileError."""
    known: dict[str, Callable[[Path | None], Data]] = {
        "digits": _digits,
        "fashion-mnist": _fashion_mnist,
        "cifar10": lambda path: _cifar("CIFAR10", path),
        "cifar100": lambda path: _cifar("CIFAR100", path),
        "imagefolder": _image_folder,
        **{name: partial(_photographs, name) for name in _PHOTOGRAPHS},
        "scattered-digits": _scattered_digits,
        "scattered-fashion": _scattered_fashion,
        "voc": partial(_annotated, "voc"),
        "coco": partial(_annotated, "coco"),
    }
    kind, _, path = name.partition(":")
    if kind not in known:
        raise unknown("data set", kind, known)
    return known[kind](Path(path).expanduser() if path else None)


def _scattered_digits(path: Path | None) -> Data:
    """For detection: scikit-learn's digits at random places, 128x128."""
    from .scattered import scattered

    if path:
        raise InputError(f"the data set scattered-digits takes no path, but got {str(path)!r}; it is made of digits")
    return scattered(_digits(None), side=32, images=(2000, 300, 500))


def _scattered_fashion(path: Path | None) -> Data:
    """For detection: Fashion-MNIST at random places, 128x128."""
    from .scattered import scattered

    if path:
        rule = "it is made of fashion-mnist"
        raise InputError(f"the data set scattered-fashion takes no path, but got {str(path)!r}; {rule}")
    return scattered(_fashion_mnist(None), side=28, images=(6000, 600, 1000), flip=True)


def _annotated(kind: str, path: Path | None) -> Data:
    """For detection: photographs with their annotations on this machine."""
    from .voc_coco import coco, voc

    if not path:
        raise InputError(f"{kind} needs a path: {kind}:PATH, the folder with the images and their annotations")
    return {"voc": voc, "coco": coco}[kind](path)
