"""Is a searched network better than one scaled by hand to the same MACs? `micro` on Fashion-MNIST, 3 seeds.

    python benchmarks/scaling.py       (several at a time share the work; a re-run goes on)

By hand: the middle network of the space, every choice at its middle option, its channels scaled by the largest width
multiplier (steps of 0.01) that keeps the budget. Searched: the best of 100 evaluations of a trained supernet within
the budget. All are retrained alike; test accuracy.
"""

from dataclasses import replace
from statistics import mean, stdev

from cells import SCRATCH, Cells
from ranking import DATA, plan_supernet
from rich.console import Console
from rich.table import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, SearchSpace, cost, load_space
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search
from tinynas.training.recipe import Recipe
from tinynas.utils.units import format_count

SUPERNET = "10 epochs"  # of benchmarks/ranking.py
BUDGETS = (100_000, 300_000, 1_000_000)  # MACs
RECIPE = {"epochs": 8, "batch_size": 128}
SEEDS = range(3)


def middle(space: SearchSpace) -> Arch:
    """Every choice at its middle option, the lower one of two."""
    return space.decode({name: (count - 1) // 2 for name, count in space.genes().items()})


def scaled(arch: Arch, width: float, divisor: int = 4) -> Arch:
    """All channels times `width`, in multiples of the divisor."""

    def times(channels: int) -> int:
        return max(divisor, int(channels * width / divisor + 0.5) * divisor) if channels else 0

    stages = []
    channels = times(arch.stem.out)
    for stage in arch.stages:
        blocks = []
        for block in stage:
            out = channels if block.residual else times(block.out)
            blocks.append(replace(block, out=out, mid=times(block.mid)))
            channels = out
        stages.append(tuple(blocks))
    return replace(arch, stem=replace(arch.stem, out=times(arch.stem.out)), stages=tuple(stages))


def by_hand(budget: int) -> Arch:
    """The widest of the middle network's scalings within the budget."""
    widths = [step / 100 for step in range(400, 4, -1)]
    archs = (scaled(middle(load_space("micro")), width) for width in widths)
    return next(arch for arch in archs if cost(arch).macs <= budget)


def searched(budget: int) -> Arch:
    """The best network of a search."""
    plan = plan_supernet(SUPERNET, budget=Budget(macs=budget), trials=100)
    return search(plan, report=Screen()).best_entry.arch


def trained(arch: Arch, name: str, seed: int) -> dict:
    """Retrained on its own: metrics.json."""
    config = RetrainConfig(data=DATA, recipe=Recipe(seed=seed, **RECIPE))
    return retrain(
        RetrainPlan(folder=SCRATCH / f"scaling-{name}-{seed}", arch=arch, config=config), report=Screen()
    ).to_dict()


def show(cells: dict) -> None:
    """The table of what is done."""
    table = Table(title=f"{__doc__}\nsupernet: {SUPERNET} of ranking.py; retrained: {RECIPE}", title_justify="left")
    for column in ("budget", "", "MACs", "params", "test accuracy %", "train accuracy %"):
        table.add_column(column)
    for budget in BUDGETS:
        for kind in ("by hand", "searched"):
            found = [cells[f"{kind} {budget} {seed}"] for seed in SEEDS if f"{kind} {budget} {seed}" in cells]
            if len(found) < 2:
                continue
            means = [
                f"{mean(values):.2f} ± {stdev(values):.2f}"
                for key in ("accuracy", "train_accuracy")
                for values in [[metrics[key] for metrics in found]]
            ]
            counts = [format_count(found[0][key]) for key in ("macs", "params")]
            table.add_row(format_count(budget), kind, *counts, *means)
    Console(width=120).print(table)


def main() -> None:
    """Fill what is missing, and show."""
    cells = Cells("scaling")
    for budget in BUDGETS:
        cells.fill(f"arch by hand {budget}", lambda budget=budget: by_hand(budget).to_dict())
        cells.fill(f"arch searched {budget}", lambda budget=budget: searched(budget).to_dict())
    for seed in SEEDS:
        for budget in BUDGETS:
            for kind in ("by hand", "searched"):
                if plain := cells.read().get(f"arch {kind} {budget}"):
                    arch, name = Arch.from_dict(plain), f"{kind}-{budget}".replace(" ", "-")
                    cells.fill(f"{kind} {budget} {seed}", lambda a=arch, n=name, s=seed: trained(a, n, s))
    show(cells.read())


if __name__ == "__main__":
    main()
