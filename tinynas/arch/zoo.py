"""The search spaces and networks that come with tinynas, and their like in the user's own YAML files."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from ..utils.errors import InputError, unknown
from ..utils.io import read_text
from ..utils.schema import read_yaml
from .arch import Arch
from .space import SearchSpace

T = TypeVar("T")
_ENDINGS = (".yaml", ".yml")


def load_space(name: str | Path) -> SearchSpace:
    """A shipped search space by name, or one from a YAML file. Raises InputError or FileError."""
    return _load(name, "search space", shipped_spaces(), SearchSpace.from_dict)


def load_arch(name: str | Path) -> Arch:
    """A shipped network by name, or an arch from a YAML file. Raises InputError or FileError."""
    return _load(name, "network", shipped_networks(), Arch.from_dict)


def short_name(name: str | Path) -> str:
    """A shipped name as it is, a YAML file's name without folder and ending."""
    path = Path(name)
    return path.stem if path.suffix in _ENDINGS else path.name


def shipped_spaces() -> dict[str, str]:
    """The YAML texts of the search spaces that come with tinynas, by name."""
    return _shipped("")


def shipped_networks() -> dict[str, str]:
    """The YAML texts of the published networks that come with tinynas, by name."""
    return _shipped("networks")


def _shipped(folder: str) -> dict[str, str]:
    entries = files("tinynas.search_spaces").joinpath(folder).iterdir()
    texts = {Path(e.name).stem: e.read_text("utf-8") for e in entries if e.name.endswith(".yaml")}
    return dict(sorted(texts.items()))


def _load(name: str | Path, what: str, shipped: dict[str, str], make: Callable[[object], T]) -> T:
    path = Path(name)
    if path.suffix not in _ENDINGS:
        if str(name) not in shipped:
            raise unknown(what, name, shipped)
        return make(read_yaml(shipped[str(name)], str(name)))
    try:
        return make(read_yaml(read_text(path), str(path)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
