"""Search spaces and networks by name: those that come with tinynas, and the user's own YAML files."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from ..utils.errors import InputError, errors_in, suggestion
from ..utils.io import read_text
from ..utils.schema import read_yaml
from .arch import Arch
from .space import SearchSpace

T = TypeVar("T")
_SUFFIXES = (".yaml", ".yml")


def load_space(name: str | Path) -> SearchSpace:
    """Return a search space by name or from a YAML file.

    Args:
        name: A shipped space, such as "mobile32" (`tinynas spaces` lists them), or the path of a YAML file.

    Returns:
        The search space.

    Raises:
        InputError: The name is unknown, or the file describes no search space.
        FileError: The file cannot be read.

    Example:
        >>> from tinynas import load_space
        >>> load_space("micro").task
        'classify'
    """
    return _load(name, "search space", shipped_spaces(), SearchSpace.from_dict)


def load_arch(name: str | Path) -> Arch:
    """Return an architecture by name or from a YAML file.

    Args:
        name: A shipped network, such as "mcunet-in3" (`tinynas spaces` lists them), or the path of a YAML file, such as
            the `best.yaml` of a search or the `config.yaml` of a retraining.

    Returns:
        The architecture.

    Raises:
        InputError: The name is unknown, or the file describes no architecture.
        FileError: The file cannot be read.

    Example:
        >>> from tinynas import load_arch
        >>> load_arch("mobilenet-v2-tiny").resolution
        144
    """
    is_nothing = "" if Path(name).exists() else ", and there is no run folder of that name"
    return _load(name, "network", shipped_networks(), _read_arch, hint=is_nothing)


def _read_arch(plain: object) -> Arch:
    """Return the architecture of plain data, or of the settings of a retraining, which have it under `arch`.

    Raises:
        InputError: It is none; the message names what to do with a search space.
    """
    if isinstance(plain, Mapping) and "arch" in plain:
        plain = plain["arch"]
    stages = plain.get("stages") if isinstance(plain, Mapping) else None
    if isinstance(stages, list) and stages and isinstance(stages[0], Mapping):
        raise InputError(
            "is a search space, not a network; `tinynas search --space FILE` or `tinynas scale --space FILE` chooses "
            "a network of it"
        )
    return Arch.from_dict(plain)


def short_name(name: str | Path) -> str:
    """Return a shipped name as it is, and a YAML file's name without folder and suffix."""
    path = Path(name)
    return path.stem if path.suffix in _SUFFIXES else path.name


def shipped_spaces() -> dict[str, str]:
    """Return the YAML texts of the search spaces that come with tinynas, by name."""
    return _shipped("")


def shipped_networks() -> dict[str, str]:
    """Return the YAML texts of the published networks that come with tinynas, by name."""
    return _shipped("networks")


def _shipped(folder: str) -> dict[str, str]:
    texts = {}
    for entry in files("tinynas.search_spaces").joinpath(folder).iterdir():
        if entry.name.endswith(".yaml"):
            texts[Path(entry.name).stem] = entry.read_text("utf-8")
    return dict(sorted(texts.items()))


def _load(name: str | Path, what: str, shipped: dict[str, str], from_dict: Callable[[object], T], hint: str = "") -> T:
    path = Path(name)
    if path.suffix not in _SUFFIXES:
        if path.suffix and path.is_file():
            raise InputError(f"{path} is not a YAML file of a {what}; name one, or a shipped {what}")
        if str(name) not in shipped:
            raise InputError(f"unknown {what} {str(name)!r}{hint}; {suggestion(name, shipped)}")
        return from_dict(read_yaml(shipped[str(name)], str(name)))
    with errors_in(str(path)):
        return from_dict(read_yaml(read_text(path), str(path)))
