"""Retrainings of networks, and where their models are."""

from pathlib import Path

from tinynas.cli.screen import Screen

from tinynas import Arch
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.pipelines.retrain import retrain

from .paths import SCRATCH, slug, supernet_run
from .supernets import SUPERNET

SIZES = {"0.1M": 100_000, "0.3M": 300_000, "1M": 1_000_000}  # MACs that networks are searched for
SEEDS = range(3)


def retrain_network(folder: Path, arch: Arch, config: RetrainConfig) -> dict:
    """Retrain a network, and return its metrics.json."""
    return retrain(RetrainPlan(folder=folder, arch=arch, config=config), report=Screen()).to_dict()


def scaling_folder(kind: str, budget: int, seed: int) -> Path:
    """Return the folder of a retraining of scaling.py."""
    return SCRATCH / slug(f"scaling {kind} {budget} {seed}")


def netaug_folder(cell: str) -> Path:
    """Return the folder of a retraining of netaug.py: in the run of the supernet, which some start from."""
    return supernet_run(SUPERNET) / "retrain" / slug(cell)


def imported_folder(cell: str) -> Path:
    """Return the folder of a training of finetune_imported.py."""
    return SCRATCH / slug(f"finetune-imported {cell}")
