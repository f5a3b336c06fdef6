"""What a sampler finds in how many evaluations: a trained supernet of `micro` on Fashion-MNIST, 5 seeds each.

    python benchmarks/samplers.py      (several at a time share the work; a re-run goes on)

Within one budget of 300K MACs: the best accuracy on search-val. With --pareto from 100K to 3M MACs: the hypervolume,
percentage points times decades of MACs from 70% and 3M. Mean and standard deviation over the seeds. All samplers
begin with the same start points, and all are kept to networks that fit and are new, `random` too.
"""

from collections.abc import Callable
from statistics import mean, stdev

from cells import PICTURES, SCRATCH, Cells
from matplotlib.figure import Figure
from ranking import plan_supernet
from rich.console import Console
from rich.table import Table
from tinynas.cli.screen import Screen

from tinynas import Budget
from tinynas.pipelines.search import train_supernet
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.study.samplers import SAMPLERS
from tinynas.utils.pareto import hypervolume

SUPERNET = "10 epochs"  # of benchmarks/ranking.py
BUDGETS = {"one budget": Budget(macs=300_000), "front": Budget(macs=3_000_000, min_macs=100_000)}
REFERENCE = (3_000_000.0, 70.0)
TRIALS = 100
SHOWN = (25, 50, 100)
SEEDS = range(5)

Found = list[tuple[float, float]]  # (MACs, accuracy), in the order of evaluation
SCORES: dict[str, Callable[[Found], float]] = {
    "one budget": lambda found: max(accuracy for _, accuracy in found),
    "front": lambda found: hypervolume(found, REFERENCE),
}


def run(evaluator: SubnetEvaluator, kind: str, sampler: str, seed: int) -> Found:
    """A search, in the order of its evaluations."""
    found = search(
        Feasible(space=evaluator.supernet.space, budget=BUDGETS[kind]),
        evaluator,
        storage=str(SCRATCH / f"samplers-{kind}-{sampler}-{seed}.journal".replace(" ", "-")),
        trials=TRIALS,
        sampler=sampler,
        pareto=kind == "front",
        seed=seed,
    )
    return [(e.cost.macs, e.accuracy) for e in found]


def show(cells: dict[str, Found]) -> None:
    """The table and the picture of what is done."""
    table = Table(title=f"{__doc__}\nsupernet: {SUPERNET} of ranking.py", title_justify="left")
    for column in ("", "sampler", *(f"after {count}" for count in SHOWN)):
        table.add_column(column)
    figure = Figure(figsize=(10, 4.5), dpi=150, layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), BUDGETS, strict=True):
        score = SCORES[kind]
        for i, sampler in enumerate(SAMPLERS):
            runs = [cells[f"{kind} {sampler} {seed}"] for seed in SEEDS if f"{kind} {sampler} {seed}" in cells]
            if len(runs) < 2:
                continue
            curves = [[score(found[:count]) for count in range(1, TRIALS + 1)] for found in runs]
            means, deviations = [mean(at) for at in zip(*curves)], [stdev(at) for at in zip(*curves)]  # noqa: B905
            table.add_row(kind, sampler, *(f"{means[n - 1]:.2f} ± {deviations[n - 1]:.2f}" for n in SHOWN))
            axes.plot(range(1, TRIALS + 1), means, color=f"C{i}", label=sampler)
            low = [m - d for m, d in zip(means, deviations, strict=True)]
            high = [m + d for m, d in zip(means, deviations, strict=True)]
            axes.fill_between(range(1, TRIALS + 1), low, high, color=f"C{i}", alpha=0.15)
        axes.set(title=kind, xlabel="evaluations", ylabel="hypervolume" if kind == "front" else "best accuracy (%)")
        axes.set_xlim(8, TRIALS)
        axes.set_ylim(bottom=axes.dataLim.y1 - 0.5 * axes.dataLim.height)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    Console(width=120).print(table)
    figure.savefig(PICTURES / "samplers.png")


def main() -> None:
    """Fill what is missing, and show."""
    cells = Cells("samplers")
    supernet, data = train_supernet(plan_supernet(SUPERNET, budget=Budget()), report=Screen())
    evaluator = SubnetEvaluator(supernet, data)
    for seed in SEEDS:
        for kind in BUDGETS:
            for sampler in SAMPLERS:
                make = lambda k=kind, p=sampler, s=seed: run(evaluator, k, p, s)  # noqa: E731
                cells.fill(f"{kind} {sampler} {seed}", make)
    show(cells.read())


if __name__ == "__main__":
    main()
