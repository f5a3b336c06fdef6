"""Does a supernet rank networks as they rank when each is trained alone? Kendall's tau, `micro-v1` on Fashion-MNIST.

20 networks, 5 random ones at each of 4 sizes, are trained alone for 8 epochs with 2 seeds each: their test accuracy.
Supernets, one of each variant, give the same networks' accuracy on search-val. tau is over all pairs, and over the
pairs whose MACs are within 20% of each other; intervals are of 2,000 bootstrap samples of the networks.

Takes about 4 hours on one core. Writes the tables `ranking` and `ranking-settings` of docs/results/ranking.md.
"""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain

import numpy as np
from common.cells import Cells
from common.command import run_benchmark
from common.paths import PICTURES, SCRATCH
from common.ranks import bootstrap_interval, kendall_tau
from common.retraining import retrain_network
from common.supernets import DATA, SPACE, VARIANTS, plan_search, trained_supernet
from common.tables import Table

from tinynas import Arch, Budget, cost, load_space
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.log import last_record
from tinynas.experiment.plots import Series, pareto_plot
from tinynas.experiment.run_folder import RunFolder
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.training.recipe import Recipe

SIZES = (150_000, 400_000, 1_000_000, 2_200_000)  # MACs, within 10%
NETWORKS_OF_A_SIZE = 5
SEEDS = (0, 1)
LABELS = {  # of variants, in the docs
    "base": "nothing",
    "base, another seed": "nothing, another seed",
    "soft labels alone": "`--distillation 1`",
    "hard labels alone": "`--distillation 0`",
    "gradients not clipped": "`--max-grad-norm 0`",
    "random subnets mostly of middle size": "`--no-size-balanced-sampling`",
    "4 random subnets": "`--num-random-subnets 4`",
    "1 random subnet": "`--num-random-subnets 1`",
    "largest alone for 1 epoch": "`--largest-warmup-epochs 1`",
    "progressive shrinking": "`--progressive-shrinking`",
    "batches of 128": "`--batch-size 128`",
}


def sample_networks() -> list[dict]:
    """Return random networks of the space, five of each size."""
    space, rng = load_space(SPACE), np.random.default_rng(0)
    by_size: dict[int, list[dict]] = {size: [] for size in SIZES}
    while min(map(len, by_size.values())) < NETWORKS_OF_A_SIZE:
        arch = space.sample(rng)
        for size, archs in by_size.items():
            if abs(cost(arch).macs / size - 1) < 0.1 and len(archs) < NETWORKS_OF_A_SIZE:
                archs.append(arch.to_dict())
    return list(chain.from_iterable(by_size.values()))


def train_alone(arch: Arch, index: int, seed: int) -> dict:
    """Train a network on its own; return its metrics."""
    config = RetrainConfig(data=DATA, recipe=Recipe(epochs=8, batch_size=128, seed=seed))
    return retrain_network(SCRATCH / f"alone-{index}-{seed}", arch, config)


def evaluate_in_supernet(variant: str, archs: list[Arch]) -> dict:
    """Train a supernet; return its accuracies of the networks, its configuration and its training time."""
    supernet, data = trained_supernet(variant)
    evaluator = SubnetEvaluator(supernet, data)
    plan = plan_search(variant, budget=Budget())
    return {
        "accuracies": list(map(evaluator, archs)),
        "config": asdict(plan.config),
        "seconds": last_record(RunFolder(plan.run).log)["seconds"],
    }


def measure(cells: Cells) -> None:
    """Measure the missing cells: supernets first, then the networks alone."""
    archs = list(map(Arch.from_dict, cells.require("networks", sample_networks)))
    for variant in VARIANTS:
        cells.measure(f"supernet {variant}", evaluate_in_supernet, variant, archs)
    for seed in SEEDS:
        for index, arch in enumerate(archs):
            cells.measure(f"alone {index} seed {seed}", train_alone, arch, index, seed)


class Ranking:
    """How well estimates of the networks' accuracies rank them, over all pairs and over pairs of similar MACs."""

    def __init__(self, archs: list[Arch], cells: Mapping) -> None:
        self.macs = np.array([cost(arch).macs for arch in archs])
        accuracies = []  # of each seed
        for seed in SEEDS:
            accuracies.append([cells[f"alone {index} seed {seed}"]["accuracy"] for index in range(len(archs))])
        self.by_seed = np.array(accuracies)
        self.truth = self.by_seed.mean(0)
        self.all_pairs = ~np.eye(len(archs), dtype=bool)
        self.similar = self.all_pairs & (np.abs(np.log(self.macs[:, None] / self.macs)) < np.log(1.2))

    def taus(self, estimates: np.ndarray) -> list[str]:
        """Return tau over all pairs and over similar ones."""
        texts = []
        for pairs in (self.all_pairs, self.similar):
            texts.append(f"{kendall_tau(estimates, self.truth, pairs):.2f}")
        return texts

    def row(self, name: str, estimates: np.ndarray, truth: np.ndarray | None = None) -> list[str]:
        """Return a name, and tau with 95% intervals; the truth is by default the mean accuracy alone."""
        truth = self.truth if truth is None else truth
        texts = [name]
        for pairs in (self.all_pairs, self.similar):
            low, high = bootstrap_interval(estimates, truth, pairs)
            texts.append(f"{kendall_tau(estimates, truth, pairs):.2f} ({low:.2f} to {high:.2f})")
        return texts


def tables(cells: dict) -> list[Table]:
    """Return the tables, once all networks are trained alone."""
    archs = list(map(Arch.from_dict, cells["networks"])) if "networks" in cells else []
    alone = sum(name.startswith("alone ") for name in cells)
    if not archs or alone < len(SEEDS) * len(archs):
        return []
    ranking = Ranking(archs, cells)
    return [ranking_table(ranking, cells), settings_table(ranking, cells)]


def ranking_table(ranking: Ranking, cells: dict) -> Table:
    """Return tau of the supernet that is searched, of MACs, and of one seed against the other."""
    rows = []
    if cell := cells.get("supernet 10 epochs"):
        rows.append(ranking.row("the supernet, 10 epochs", np.array(cell["accuracies"])))
    first, second = ranking.by_seed
    rows.append(ranking.row("MACs alone", ranking.macs))
    rows.append(ranking.row("one seed alone against the other", first, second))
    pairs, similar = ranking.all_pairs.sum() // 2, ranking.similar.sum() // 2
    columns = ["ranked by", f"all {pairs} pairs", f"{similar} pairs whose MACs are within 20%"]
    return Table(page="ranking", name="ranking", columns=columns, rows=rows)


def settings_table(ranking: Ranking, cells: dict) -> Table:
    """Return tau of the variants of 2 epochs: two seeds of the base, then the others from best to worst."""
    rows = []
    for variant, label in LABELS.items():
        if cell := cells.get(f"supernet {variant}"):
            all_pairs, similar = ranking.taus(np.array(cell["accuracies"]))
            rows.append([label, all_pairs, similar, f"{cell['seconds']:.0f}"])
    changed = [row for row in rows if not row[0].startswith("nothing")]
    base = [row for row in rows if row not in changed]
    changed.sort(key=_tau_of_all_pairs, reverse=True)
    columns = ["changed", "tau, all pairs", "within 20%", "training time, s"]
    return Table(page="ranking", name="ranking-settings", columns=columns, rows=base + changed)


def _tau_of_all_pairs(row: list[str]) -> float:
    return float(row[1])


def draw(cells: dict) -> None:
    """Draw accuracy over MACs of the networks, alone and in two supernets."""
    ranking = Ranking(list(map(Arch.from_dict, cells["networks"])), cells)
    series = [Series(label="alone, on test", points=list(zip(ranking.macs, ranking.truth, strict=True)))]
    for variant in ("base", "10 epochs"):
        if cell := cells.get(f"supernet {variant}"):
            points = list(zip(ranking.macs, cell["accuracies"], strict=True))
            series.append(Series(label=f"in the supernet, {variant}, on search-val", points=points, marker="x"))
    (PICTURES / "ranking.png").write_bytes(pareto_plot(series, title=f"{SPACE} on Fashion-MNIST"))


if __name__ == "__main__":
    run_benchmark("ranking", __doc__, measure=measure, tables=tables, draw=draw)
