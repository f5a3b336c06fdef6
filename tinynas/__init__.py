"""Neural architecture search for networks that must fit on small devices.

A weight-sharing supernet is trained once; its subnets are searched under hard limits on MACs, memory and latency; and
the best network is retrained, optionally with NetAug.

    >>> import tinynas
    >>> space = tinynas.load_space("micro")
    >>> arch = space.min()
    >>> tinynas.cost(arch).macs < 1_000_000
    True
    >>> network = tinynas.build(arch)
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

# In an installation, tinynas.cli and tinynas.search_spaces lie in this package; in a checkout, beside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "search_spaces").is_dir():
    __path__.append(str(_checkout))

_NEEDS_TORCH = {  # names that are imported at first use, so that everything else starts without torch
    "build": "models.network",
    "Supernet": "models.supernet",
    "load": "early_exit.model_file",
    "SideNet": "early_exit.sidenet",
}


def __getattr__(name: str) -> Any:
    """Import a name that needs torch when it is first used."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_NEEDS_TORCH[name]}", __name__), name)
