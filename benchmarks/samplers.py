"""What does each sampler find in how many evaluations? A trained supernet of `micro-v1` on Fashion-MNIST, 5 seeds.

Within a budget of 300K MACs: the best accuracy on search-val. Along the front from 100K to 3M MACs: the hypervolume,
in percentage points times decades of MACs, from 70% and 3M MACs. All samplers begin with the same start points, and
all are restricted to new networks that fit, `random` too.

Takes about 1 hour on one core. Writes the table `samplers` of docs/results/samplers.md.
"""

from statistics import mean, stdev

from common.cells import Cells
from common.command import run_benchmark
from common.paths import PICTURES, SCRATCH, slug
from common.stats import mean_std
from common.supernets import trained_supernet
from common.tables import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinynas import Budget
from tinynas.experiment.search_settings import SAMPLERS
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search
from tinynas.utils.pareto import hypervolume

BUDGETS = {"one budget": Budget(macs=300_000), "front": Budget(macs=3_000_000, min_macs=100_000)}
REFERENCE = (3_000_000.0, 70.0)
TRIALS = 100
SHOWN = (25, 50, 100)  # evaluations
SEEDS = range(5)

Points = list[tuple[float, float]]  # MACs and accuracy, in the order of evaluation


def run_search(evaluator: SubnetEvaluator, kind: str, sampler: str, seed: int) -> Points:
    """Search, and return the points in the order of their evaluation."""
    outcome = search(
        Feasible(space=evaluator.supernet.space, budget=BUDGETS[kind]),
        evaluator,
        storage=str(SCRATCH / slug(f"samplers {kind} {sampler} {seed}.journal")),
        trials=TRIALS,
        sampler=sampler,
        objectives=("macs",) if kind == "front" else (),
        seed=seed,
    )
    return [(evaluation.cost.macs, evaluation.accuracy) for evaluation in outcome.evaluations]


def measure(cells: Cells) -> None:
    """Measure the missing cells; without any, the supernet is not needed."""
    evaluator: SubnetEvaluator | None = None

    def search_in_supernet(kind: str, sampler: str, seed: int) -> Points:
        nonlocal evaluator
        if evaluator is None:
            supernet, data = trained_supernet()
            evaluator = SubnetEvaluator(supernet, data)
        return run_search(evaluator, kind, sampler, seed)

    for seed in SEEDS:
        for kind in BUDGETS:
            for sampler in SAMPLERS:
                cells.measure(f"{kind} {sampler} {seed}", search_in_supernet, kind, sampler, seed)


def score(kind: str, points: Points) -> float:
    """Return what a search has reached: the best accuracy, or the hypervolume."""
    if kind == "front":
        return hypervolume(points, REFERENCE)
    return max(accuracy for _, accuracy in points)


def searches(cells: dict, kind: str, sampler: str) -> list[Points]:
    """Return the saved searches of all seeds."""
    points = []
    for seed in SEEDS:
        if f"{kind} {sampler} {seed}" in cells:
            points.append(cells[f"{kind} {sampler} {seed}"])
    return points


def tables(cells: dict) -> list[Table]:
    """Return the scores after some numbers of evaluations."""
    columns = ["sampler"]
    for name in ("best", "hypervolume"):
        for count in SHOWN:
            columns.append(f"{name}, {count} evaluations")
    rows = []
    for sampler in SAMPLERS:
        row = [sampler]
        for kind in BUDGETS:
            runs = searches(cells, kind, sampler)
            for count in SHOWN:
                row.append(mean_std([score(kind, points[:count]) for points in runs]) if runs else "")
        rows.append(row)
    return [Table(page="samplers", name="samplers", columns=columns, rows=rows)]


def draw(cells: dict) -> None:
    """Draw the scores over the evaluations: mean and standard deviation."""
    figure = Figure(figsize=(10, 4.5), dpi=150, layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), BUDGETS, strict=True):
        for number, sampler in enumerate(SAMPLERS):
            runs = searches(cells, kind, sampler)
            if len(runs) > 1:
                draw_curve(axes, kind, sampler, runs, f"C{number}")
        axes.set(title=kind, xlabel="evaluations", ylabel="hypervolume" if kind == "front" else "best accuracy (%)")
        axes.set_xlim(8, TRIALS)
        axes.set_ylim(bottom=axes.dataLim.y1 - 0.5 * axes.dataLim.height)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(PICTURES / "samplers.png")


def draw_curve(axes: Axes, kind: str, sampler: str, runs: list[Points], color: str) -> None:
    """Draw a sampler's mean score, and a band of one standard deviation."""
    counts = range(1, TRIALS + 1)
    means, low, high = [], [], []
    for count in counts:
        scores = [score(kind, points[:count]) for points in runs]
        means.append(mean(scores))
        low.append(mean(scores) - stdev(scores))
        high.append(mean(scores) + stdev(scores))
    axes.plot(counts, means, color=color, label=sampler)
    axes.fill_between(counts, low, high, color=color, alpha=0.15)


if __name__ == "__main__":
    run_benchmark("samplers", __doc__, measure=measure, tables=tables, draw=draw)
