"""Is a searched network better than one scaled by hand to the same MACs? `micro` on Fashion-MNIST, 3 seeds.

By hand: the middle network of the space, every choice at its middle option, its channels scaled by the largest width
multiplier (steps of 0.01) within the budget. Searched: the best of 100 evaluations of a trained supernet within the
budget. All are retrained alike for 8 epochs; test accuracy.

Takes about 1 hour on one core. Writes the table `scaling` of docs/results/ranking.md.
"""

from dataclasses import replace

from common.cells import Cells
from common.command import run_benchmark
from common.retraining import SEEDS, SIZES, retrain_network, scaling_folder
from common.stats import mean_std
from common.supernets import DATA, SPACE, searched_arch
from common.tables import Table

from tinynas import Arch, SearchSpace, cost, load_space
from tinynas.experiment.config import RetrainConfig
from tinynas.training.recipe import Recipe
from tinynas.utils.units import format_count

KINDS = ("by hand", "searched")


def middle(space: SearchSpace) -> Arch:
    """Return the network with every choice at its middle option, the lower one of two."""
    return space.decode({name: (count - 1) // 2 for name, count in space.genes().items()})


def scaled(arch: Arch, width: float, divisor: int = 4) -> Arch:
    """Return the network with all channels times `width`, in multiples of the divisor."""
    channels = _scaled_channels(arch.stem.out, width, divisor)
    stem = replace(arch.stem, out=channels)
    stages = []
    for stage in arch.stages:
        blocks = []
        for block in stage:
            out = channels if block.residual else _scaled_channels(block.out, width, divisor)
            blocks.append(replace(block, out=out, mid=_scaled_channels(block.mid, width, divisor)))
            channels = out
        stages.append(tuple(blocks))
    return replace(arch, stem=stem, stages=tuple(stages))


def _scaled_channels(channels: int, width: float, divisor: int) -> int:
    if not channels:
        return 0
    return max(divisor, int(channels * width / divisor + 0.5) * divisor)


def scaled_to(budget: int) -> Arch:
    """Return the widest scaling of the middle network within a budget of MACs."""
    network = middle(load_space(SPACE))
    for percent in range(400, 4, -1):
        arch = scaled(network, percent / 100)
        if cost(arch).macs <= budget:
            return arch
    raise ValueError(f"no scaling of the middle network of {SPACE} fits {budget} MACs; raise the budget")


def choose_arch(kind: str, budget: int) -> dict:
    """Return the network that is retrained for a budget, as plain data."""
    arch = scaled_to(budget) if kind == "by hand" else searched_arch(budget)
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
