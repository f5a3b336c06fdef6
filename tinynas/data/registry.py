"""Data sets by name. To add one, write a function that loads it and add a line to DATA_SETS.

The function takes the PATH of "NAME:PATH", or None, and returns a `Data`. Existing ones to start from: `digits` in
packaged.py and `image_folder` in folder.py; for detection `scattered_digits` in scattered.py and `voc` in voc.py.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ..utils.errors import InputError, unknown
from .base import Data
from .classification import cars, cifar10, cifar100, fashion_mnist, flowers102, food101, pets
from .coco import coco
from .folder import image_folder
from .listing import ending, entries_of
from .packaged import digits, elpv, mnist_5k
from .readable import readable
from .scattered import scattered_digits, scattered_fashion
from .voc import voc
from .yolo import yolo
from .yolo_files import is_yolo

LoadDataSet = Callable[[Path | None], Data]

DATA_SETS: dict[str, LoadDataSet] = {
    "digits": digits,
    "mnist-5k": mnist_5k,
    "elpv": elpv,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagefolder": image_folder,
    "food101": food101,
    "flowers102": flowers102,
    "pets": pets,
    "cars": cars,
    "scattered-digits": scattered_digits,
    "scattered-fashion": scattered_fashion,
    "voc": voc,
    "coco": coco,
    "yolo": yolo,
}
SHIPPED = frozenset(DATA_SETS)  # names that no data set of a program may have


def load_data(name: str, *, skip_unreadable: bool = False, named_in: Path | None = None) -> Data:
    """Load a data set. Its image files are all read once, unless they have not changed since an earlier time.

    Args:
        name: "NAME" or "NAME:PATH", with a NAME of DATA_SETS.
        skip_unreadable: Leave out image files that cannot be read.
        named_in: The run or the model that has this data set, if the user has named none.

    Raises:
        InputError: The name is empty or unknown, the data set needs a path, or takes none.
        FileError: A file is missing or corrupt.
    """
    kind, _, path = name.partition(":")
    if not kind:
        raise InputError(f"the name of the data set is empty in {name!r}; pass one, such as digits or imagefolder:PATH")
    if kind not in DATA_SETS and Path(name).is_dir():
        raise InputError(f"{name} is a folder; name the kind of data set as well: {_likely_kind(Path(name))}:{name}")
    if kind not in DATA_SETS and is_yolo(Path(name)):
        raise InputError(f"{name} is a file; name the kind of data set as well: yolo:{name}")
    if kind not in DATA_SETS and named_in:
        raise InputError(
            f"{named_in} was made by a Python program with a data set of its own, {name!r}, which exists only there; "
            "pass it again in Python, as data=..."
        )
    if kind not in DATA_SETS:
        raise unknown("data set", kind, DATA_SETS)
    load = DATA_SETS[kind]
    data = load(Path(path).expanduser()) if path else _load_without_path(load)
    return readable(data, name, skip_unreadable=skip_unreadable)


@lru_cache(maxsize=1)
def _load_without_path(load: LoadDataSet) -> Data:
    """Load a data set that has no path: it does not change, and a command needs it to plan and to train."""
    return load(None)


def _likely_kind(folder: Path) -> str:
    """Return the kind of data set that a folder looks like."""
    if (folder / "VOCdevkit").is_dir() or (folder / "ImageSets").is_dir():
        return "voc"
    if is_yolo(folder):
        return "yolo"
    names = ("annotations", "Annotations", "train")
    endings = {ending(entry.name) for name in names if (folder / name).is_dir() for entry in entries_of(folder / name)}
    endings.update(ending(entry.name) for entry in entries_of(folder))
    if ".xml" in endings:
        return "voc"
    if ".json" in endings or (folder / "annotations").is_dir():
        return "coco"
    return "imagefolder"


def register_data_set(name: str, load: LoadDataSet) -> None:
    """Make a data set available by name in this process, instead of an earlier one of that name.

    Args:
        name: Without a colon, which separates it from a path.
        load: Takes the PATH of "NAME:PATH", or None, and returns the data set. Without a path it is called once, as
            long as no other data set is loaded in between.

    Raises:
        InputError: The name is empty or has a colon.
    """
    if not name or ":" in name:
        raise InputError(f"the name of a data set must have letters and no colon, but is {name!r}; choose another")
    DATA_SETS[name] = load
