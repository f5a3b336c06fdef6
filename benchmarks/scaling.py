"""Is a searched network better than one scaled by hand to the same MACs? `micro-v1` on Fashion-MNIST, 3 seeds.

By hand: the middle network of the space, every choice at its middle option, its channels scaled by the largest width
multiplier (steps of 0.01) within the budget. Searched: the best of 100 evaluations of a trained supernet within the
budget. All are retrained alike for 8 epochs; test accuracy.

Takes about 1 hour on one core. Writes the table `scaling` of docs/results/ranking.md.
"""

from common.cells import Cells
from common.command import run_benchmark
from common.retraining import SEEDS, SIZES, retrain_network, scaling_folder
from common.stats import mean_std
from common.supernets import DATA, SPACE, searched_arch
from common.tables import Table

from tinynas import Arch, Budget, load_space
from tinynas.arch.scaling import scale_to
from tinynas.experiment.config import RetrainConfig
from tinynas.training.recipe import Recipe
from tinynas.utils.units import format_count

KINDS = ("by hand", "searched")


def choose_arch(kind: str, budget: int) -> dict:
    """Return the network that is retrained for a budget, as plain data."""
    by_hand = scale_to(load_space(SPACE).middle(), Budget(macs=budget))
    arch = by_hand if kind == "by hand" else searched_arch(budget)
    return arch.to_dict()


def train(arch: Arch, kind: str, budget: int, seed: int) -> dict:
    """Retrain a network on its own; return its metrics."""
    config = RetrainConfig(data=DATA, recipe=Recipe(epochs=8, batch_size=128, seed=seed))
    return retrain_network(scaling_folder(kind, budget, seed), arch, config)


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    archs = {}
    for budget in SIZES.values():
        for kind in KINDS:
            archs[kind, budget] = Arch.from_dict(cells.require(f"arch {kind} {budget}", choose_arch, kind, budget))
    for seed in SEEDS:
        for (kind, budget), arch in archs.items():
            cells.measure(f"{kind} {budget} {seed}", train, arch, kind, budget, seed)


def tables(cells: dict) -> list[Table]:
    """Return the accuracies, and the MACs of each network."""
    rows = []
    for budget in SIZES.values():
        row = [format_count(budget)]
        for kind in KINDS:
            trainings = [cells[f"{kind} {budget} {seed}"] for seed in SEEDS if f"{kind} {budget} {seed}" in cells]
            if trainings:
                accuracy = mean_std([metrics["accuracy"] for metrics in trainings])
                row.append(f"{accuracy} ({format_count(trainings[0]['macs'])})")
            else:
                row.append("")
        rows.append(row)
    return [Table(page="ranking", name="scaling", columns=["MACs", "scaled by hand", "searched"], rows=rows)]


if __name__ == "__main__":
    run_benchmark("scaling", __doc__, measure=measure, tables=tables)
