"""tinynas: the most accurate network that fits a small device.

A weight-sharing supernet is searched under hard limits, and the network found is retrained with NetAug.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arch.arch import Arch
from .arch.budget import Budget
from .arch.cost import Cost, cost
from .arch.netaug import augment
from .arch.space import SearchSpace
from .arch.zoo import load_arch, load_space
from .utils.errors import TinyNASError

if TYPE_CHECKING:
    from .early_exit.model_file import load
    from .early_exit.sidenet import SideNet
    from .models.network import build
    from .models.supernet import Supernet

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

_NEEDS_TORCH = {
    "build": "models.network",
    "Supernet": "models.supernet",
    "load": "early_exit.model_file",
    "SideNet": "early_exit.sidenet",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: the rest answers at once."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_NEEDS_TORCH[name]}", __name__), name)
