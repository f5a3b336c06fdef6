"""The part `accuracy` of speed.py: accuracies of networks trained by the fused kernels and by PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tinynas import Arch, Supernet, augment
from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.models.supernet import extract_calibrated
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.tasks.registry import TASKS
from tinynas.training.backend import use_backend
from tinynas.training.loop import train
from tinynas.training.objectives import Objective, PlainObjective
from tinynas.training.recipe import Recipe

from .speed_steps import searched_network
from .stats import mean_std, paired_difference
from .step_runs import ignore
from .tables import Table

DATA, EPOCHS, BATCH_SIZE = "fashion-mnist", 2, 128
SEEDS = range(5)
BACKENDS = {"eager": "PyTorch", "fused": "fused kernels"}


def measure_accuracies() -> dict[str, dict[str, float]]:
    """Return the accuracy on search-val by backend and seed of the 0.3M MACs network, trained for two epochs."""
    data, arch = load_data(DATA), searched_network(300_000)
    accuracies: dict[str, dict[str, float]] = {backend: {} for backend in BACKENDS}
    for seed in SEEDS:
        for backend in BACKENDS:
            recipe = Recipe(epochs=EPOCHS, batch_size=BATCH_SIZE, seed=seed, backend=backend)
            accuracies[backend][str(seed)] = trained_accuracy(arch, data, recipe)
    return accuracies


def trained_accuracy(arch: Arch, data: Data, recipe: Recipe) -> float:
    """Train a network as `tinynas retrain` does; return its accuracy on search-val in percent, by PyTorch."""
    torch.manual_seed(recipe.seed)  # initial weights are the same for all backends
    supernet = Supernet(augment(arch, width=(1.0,), expand=(1.0,)))
    use_backend(supernet, recipe, note=ignore)
    objective = PlainObjective(arch, CrossEntropyLoss(recipe.label_smoothing))

    def objective_for_epoch(epoch: int) -> Objective:
        return objective

    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        train(supernet, objective_for_epoch, data, recipe, resolutions=(arch.resolution,), checkpoint=checkpoint)
    supernet.fused = False
    network = extract_calibrated(supernet, arch, data.calibration_batches(arch.resolution))
    return TASKS[arch.task].accuracy(network, arch, data, data.val)


def accuracy_table(cell: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table of the cell that `measure_accuracies` returns."""
    values = {}
    for backend in BACKENDS:
        values[backend] = {int(seed): accuracy for seed, accuracy in cell[backend].items()}
    difference = paired_difference(values["fused"], values["eager"])
    rows = []
    for backend, name in BACKENDS.items():
        accuracies = values[backend].values()
        by_seed = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
        rows.append([name, mean_std(list(accuracies)), by_seed, difference if backend == "fused" else ""])
    columns = ["trained by", "accuracy on search-val, %", "by seed", "difference, paired by seed"]
    return Table(page="speed", name="accuracy", columns=columns, rows=rows)
