"""The file data.yaml of YOLO data sets, as ultralytics reads it: where the images of the parts are, and class names."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr

from ..utils.errors import FileError
from ..utils.io import read_text
from ..utils.schema import read_yaml
from .annotated import check_name

ENDINGS = frozenset([".yaml", ".yml"])
PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}  # the names that parts have
_MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class DataYaml:
    """The content of data.yaml.

    Attributes:
        file: Its path.
        bases: Folders that the parts may be relative to, the likeliest first.
        parts: For "train", "val" and "test", what is said of each: paths of folders or of lists of images.
        names: Names of the classes; None if neither they nor their number are stated.
        keypoint_values: How many values label files have for the keypoints of an object.
    """

    file: Path
    bases: Sequence[Path]
    parts: Mapping[str, Sequence[str]]
    names: Sequence[str] | None
    keypoint_values: int = 0

    def locate(self, entry: str) -> Path | None:
        """Return the path of a part's folder or list; None if there is none.

        If there is nothing with them, "../" in front is dropped, as Roboflow's files are relative to another folder,
        and so are the folders of another machine in front of an absolute path.
        """
        for relative in _variants(entry):
            for base in self.bases:
                path = Path(os.path.normpath(base / Path(relative).expanduser()))
                if path.exists():
                    return path
        return None


def read_data_yaml(file: Path) -> DataYaml:
    """Read data.yaml.

    Raises:
        FileError: It cannot be read, is not YAML, or has a value of another kind.
    """
    document = read_yaml(read_text(file), str(file), as_text=True)
    if not isinstance(document, dict):
        raise FileError(f"{file} must have keys such as train, val and names, but is {short_repr(document)}; fix it")
    try:
        parts: dict[str, list[str]] = {}
        for part, keys in PARTS.items():
            parts[part] = []
            for key in keys:
                parts[part] = parts[part] or _paths(document, key)
        return DataYaml(
            file=file,
            bases=_bases(file, _text(document, "path")),
            parts=parts,
            names=_names(document),
            keypoint_values=_keypoint_values(document),
        )
    except ValueError as error:
        raise FileError(f"{file}: {error}; fix the file") from None


def numbered(names: Sequence[str], count: int) -> list[str]:
    """Return names of so many classes: those without a name are called by their number.

    Raises:
        ValueError: A name has control characters, or several are the same.
    """
    complete: list[str] = []
    for number in range(count):
        name = names[number].strip() if number < len(names) else ""
        complete.append(check_name(name or str(number)))
    repeated = [name for name, times in Counter(complete).items() if times > 1]
    if repeated:
        raise ValueError(f"several classes have the name {repeated[0]!r}")
    return complete


def _variants(entry: str) -> Iterator[str]:
    """Yield a path as it is, then without what may be in front of it; the last two names remain."""
    entry = entry.replace("\\", "/")
    yield entry
    while entry.startswith("../"):
        entry = entry[3:]
        yield entry
    if os.path.isabs(entry) or entry[1:3] == ":/":
        names = entry.split("/")[1:]
        for first in range(len(names) - 1):
            yield "/".join(names[first:])


def _bases(file: Path, path: str) -> list[Path]:
    """Return the folders that parts may be relative to: `path` of the file, then the file's own folder."""
    folder = Path(os.path.abspath(file)).parent
    if not path:
        return [folder]
    stated = Path(path.replace("\\", "/")).expanduser()
    return [folder / stated, Path.cwd() / stated, folder]


def _text(document: Mapping[str, object], key: str) -> str:
    """Return a text; "" if it is missing. Raises ValueError if it is a list or mapping."""
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, but is {short_repr(value)}")
    return "" if value in ("null", "~") else value.strip()


def _paths(document: Mapping[str, object], key: str) -> list[str]:
    """Return a path, or a list of them, as a list. Raises ValueError for anything else."""
    value = document.get(key, "")
    if not isinstance(value, list):
        path = _text(document, key)
        return [path] if path else []
    for item in value:
        if not isinstance(item, str) or not item.strip():
            raise ValueError(f"{key} must be a path or a list of paths, but has {short_repr(item)}")
    return [item.strip() for item in value]


def _names(document: Mapping[str, object]) -> list[str] | None:
    """Return the names of the classes; None if neither they nor their number are stated. Raises ValueError."""
    stated = document.get("names", "")
    count = _whole_number(_text(document, "nc"), "nc") if _text(document, "nc") else None
    names: list[object] = []
    if isinstance(stated, list):
        names = list(stated)
    elif isinstance(stated, dict):
        numbers = {_whole_number(key, "a key of names"): name for key, name in stated.items()}
        names = [numbers.get(number, "") for number in range(max(numbers, default=-1) + 1)]
    elif stated not in ("", "null", "~"):
        raise ValueError(f"names must be a list or a mapping of numbers to names, but is {short_repr(stated)}")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"names has {short_repr(name)}, which is not text")
    if count is None and not names:
        return None
    if count is not None and count < len(names):
        raise ValueError(f"nc is {count}, but names has {len(names)} classes")
    return numbered([str(name) for name in names], len(names) if count is None else count)


def _whole_number(text: object, what: str) -> int:
    """Return the number of a class or of classes. Raises ValueError if it is not one."""
    word = str(text)
    if not (word.isascii() and word.isdigit()) or len(word) > 9 or int(word) > _MOST_CLASSES:
        raise ValueError(f"{what} must be a whole number from 0 to {_MOST_CLASSES:,}, but is {short_repr(text)}")
    return int(word)


def _keypoint_values(document: Mapping[str, object]) -> int:
    """Return how many values the keypoints of an object have. Raises ValueError if `kpt_shape` is wrong."""
    shape = document.get("kpt_shape", "")
    if not shape:
        return 0
    if not isinstance(shape, list) or len(shape) != 2:
        raise ValueError(f"kpt_shape must be a list of two numbers, but is {short_repr(shape)}")
    points, values = shape
    return _whole_number(points, "kpt_shape") * _whole_number(values, "kpt_shape")
