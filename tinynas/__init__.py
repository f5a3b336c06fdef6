"""Neural architecture search for networks that must fit on small devices.

A weight-sharing supernet is trained once; its subnets are searched under hard limits on MACs, memory and latency; and
the best network is retrained, optionally with NetAug.

    >>> import tinynas
    >>> space = tinynas.load_space("micro")
    >>> arch = space.min()
    >>> tinynas.cost(arch).macs < 1_000_000
    True
    >>> network = tinynas.build(arch)

The whole way, from a data set to a file for a microcontroller, on a program's own images and labels:

    >>> data = tinynas.Data(train=train, test=test, classes=["ok", "crack"])  # doctest: +SKIP
    >>> run = tinynas.search(space="micro", data=data, flops="300K", epochs=10)  # doctest: +SKIP
    >>> model = tinynas.retrain(run, netaug=True, epochs=50)  # doctest: +SKIP
    >>> model.metrics.accuracy, model.export("tflite")  # doctest: +SKIP
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arch.arch import Arch
from .arch.block_kinds import block
from .arch.blocks import Block
from .arch.budget import Budget
from .arch.cost import Cost, cost
from .arch.netaug import augment
from .arch.scaling import scale_to
from .arch.space import SearchSpace
from .arch.zoo import load_arch, load_space
from .utils.errors import TinyNASError

if TYPE_CHECKING:
    from .data.datasets import Datasets as Data
    from .early_exit.model_file import load
    from .early_exit.sidenet import SideNet
    from .models.network import build
    from .models.supernet import Supernet
    from .pipelines.export_exits import export_exits
    from .pipelines.program import retrain, search
    from .pipelines.program_front import retrain_front
    from .pipelines.program_import import import_model
    from .pipelines.program_model import TrainedModel
    from .pipelines.program_run import Run, open_model, open_run

__all__ = [
    "Arch",
    "Block",
    "Budget",
    "Cost",
    "Data",
    "Run",
    "SearchSpace",
    "SideNet",
    "Supernet",
    "TinyNASError",
    "TrainedModel",
    "augment",
    "block",
    "build",
    "cost",
    "export_exits",
    "import_model",
    "load",
    "load_arch",
    "load_space",
    "open_model",
    "open_run",
    "retrain",
    "retrain_front",
    "scale_to",
    "search",
]

# In an installation, cli, recipes and search_spaces lie in this package; in a checkout, beside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "search_spaces").is_dir():
    __path__.append(str(_checkout))

_NEEDS_TORCH = {  # names that are imported at first use, so that everything else starts without torch
    "build": "models.network.build",
    "Supernet": "models.supernet.Supernet",
    "load": "early_exit.model_file.load",
    "SideNet": "early_exit.sidenet.SideNet",
    "Data": "data.datasets.Datasets",
    "Run": "pipelines.program_run.Run",
    "TrainedModel": "pipelines.program_model.TrainedModel",
    "search": "pipelines.program.search",
    "retrain": "pipelines.program.retrain",
    "retrain_front": "pipelines.program_front.retrain_front",
    "export_exits": "pipelines.export_exits.export_exits",
    "import_model": "pipelines.program_import.import_model",
    "open_run": "pipelines.program_run.open_run",
    "open_model": "pipelines.program_run.open_model",
}


def __getattr__(name: str) -> Any:
    """Import a name that needs torch when it is first used."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _NEEDS_TORCH[name].rpartition(".")
    return getattr(import_module(f".{module}", __name__), attribute)
