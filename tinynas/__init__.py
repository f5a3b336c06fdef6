"""tinynas: the most accurate network that fits a small device.

A weight-sharing supernet is searched under hard limits, and the network found is retrained with NetAug.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arch import Arch
from .augmentation import augment
from .cost import Budget, Cost, cost
from .errors import TinyNASError
from .shipped import load_arch, load_space
from .space import SearchSpace

if TYPE_CHECKING:
    from .exit_models import load
    from .nets import build
    from .sidenet import SideNet
    from .supernet import Supernet

__all__ = [
    "Arch",
    "Budget",
    "Cost",
    "SearchSpace",
    "SideNet",
    "Supernet",
    "TinyNASError",
    "augment",
    "build",
    "cost",
    "load",
    "load_arch",
    "load_space",
]

# Installed, tinynas.cli and tinynas.search_spaces lie in this package; in a checkout, beside it.
if (_beside := Path(__file__).resolve().parent.parent / "search_spaces").is_dir():
    __path__.append(str(_beside.parent))

_NEEDS_TORCH = {"build": "nets", "Supernet": "supernet", "load": "exit_models", "SideNet": "sidenet"}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: the rest answers at once."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_NEEDS_TORCH[name]}", __name__), name)
