"""Does the supernet rank networks as they rank when each is trained alone? Kendall's tau on Fashion-MNIST, `micro`.

    python benchmarks/ranking.py [--only alone|SETTING]     (several at a time share the work; a re-run goes on)

20 networks, 5 random ones at each of 4 sizes, are trained alone with 2 seeds each: their test accuracy. Supernets,
trained with different settings, give the same networks' accuracy on search-val. tau is over all pairs, and over the
pairs whose MACs are within 20% of each other; intervals are of 2,000 bootstrap samples of the networks.
"""

import sys
from dataclasses import asdict
from statistics import mean

import numpy as np
from cells import PICTURES, SCRATCH, Cells
from rich.console import Console
from rich.table import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, cost, load_space
from tinynas.experiment.config import RetrainConfig, SearchSettings, SupernetConfig
from tinynas.experiment.log import last_record
from tinynas.experiment.plans import RetrainPlan, SearchPlan
from tinynas.experiment.plots import Series, pareto_plot
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import train_supernet
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.training.recipe import Recipe

SIZES = (150_000, 400_000, 1_000_000, 2_200_000)  # MACs, within 10%
SEEDS = (0, 1)
DATA = "fashion-mnist"
ALONE = {"epochs": 8, "batch_size": 128}
BASE = {
    "epochs": 2,
    "batch_size": 64,
    "max_grad_norm": 1.0,
    "num_random_subnets": 2,
    "size_balanced_sampling": True,
    "distillation": 0.5,
}
SETTINGS = {  # what differs from BASE
    "base": {},
    "base, another seed": {"seed": 1},
    "10 epochs": {"epochs": 10},
    "soft labels alone": {"distillation": 1.0},
    "hard labels alone": {"distillation": 0.0},
    "gradients not clipped": {"max_grad_norm": 0.0},
    "random subnets mostly of middle size": {"size_balanced_sampling": False},
    "4 random subnets": {"num_random_subnets": 4},
    "1 random subnet": {"num_random_subnets": 1},
    "largest alone for 1 epoch": {"largest_warmup_epochs": 1},
    "progressive shrinking": {"progressive_shrinking": True},
    "batches of 128": {"batch_size": 128},
}


def networks() -> list[Arch]:
    """Random networks of the space, five of each size."""
    space, rng, found = load_space("micro"), np.random.default_rng(0), {size: [] for size in SIZES}
    while any(len(archs) < 5 for archs in found.values()):
        arch = space.sample(rng)
        for size, archs in found.items():
            if abs(cost(arch).macs / size - 1) < 0.1 and len(archs) < 5:
                archs.append(arch)
    return [arch for archs in found.values() for arch in archs]


def alone(arch: Arch, index: int, seed: int) -> dict:
    """Trained on its own: metrics.json."""
    config = RetrainConfig(data=DATA, recipe=Recipe(seed=seed, **ALONE))
    plan = RetrainPlan(folder=SCRATCH / f"alone-{index}-{seed}", arch=arch, config=config)
    return retrain(plan, report=Screen()).to_dict()


def plan_supernet(name: str, *, budget: Budget, trials: int = 50) -> SearchPlan:
    """A search of the supernet with these settings."""
    given = BASE | SETTINGS[name]
    recipe = Recipe(**{key: given[key] for key in given if key in Recipe.__dataclass_fields__})
    rest = {key: given[key] for key in given if key not in Recipe.__dataclass_fields__}
    config = SupernetConfig(space="micro", data=DATA, recipe=recipe, **rest)
    run, settings = SCRATCH / f"supernet-{name.replace(' ', '-')}", SearchSettings(trials=trials)
    return SearchPlan(run=run, config=config, budget=budget, settings=settings)


def under_supernet(name: str, archs: list[Arch]) -> dict:
    """A supernet's accuracies of the networks, and how long it was trained."""
    plan = plan_supernet(name, budget=Budget())
    supernet, data = train_supernet(plan, report=Screen())
    evaluator = SubnetEvaluator(supernet, data)
    seconds = last_record(plan.run / "log.jsonl")["seconds"]
    return {"accuracies": [evaluator(arch) for arch in archs], "config": asdict(plan.config), "seconds": seconds}


def tau(one: np.ndarray, other: np.ndarray, pairs: np.ndarray) -> float:
    """Kendall's tau over some pairs (N, N): concordant less discordant, over all."""
    signs = np.sign(one[:, None] - one) * np.sign(other[:, None] - other)
    return float(signs[pairs].sum() / max(1, pairs.sum()))


def with_interval(one: np.ndarray, other: np.ndarray, pairs: np.ndarray) -> str:
    """tau and its 95% interval, of bootstrap samples of the networks."""
    rng, found = np.random.default_rng(0), []
    for _ in range(2000):
        chosen = rng.integers(len(one), size=len(one))
        different = chosen[:, None] != chosen
        found.append(tau(one[chosen], other[chosen], pairs[np.ix_(chosen, chosen)] & different))
    low, high = np.quantile(found, [0.025, 0.975])
    return f"{tau(one, other, pairs):.2f} ({low:.2f} to {high:.2f})"


def show(archs: list[Arch], cells: dict) -> None:
    """The table and the picture of what is done."""
    macs = np.array([cost(arch).macs for arch in archs])
    done = [[cells[f"alone {i} seed {s}"]["accuracy"] for s in SEEDS] for i in range(len(archs))]
    truth = np.array([mean(of_arch) for of_arch in done])
    everything = ~np.eye(len(archs), dtype=bool)
    alike = everything & (np.abs(np.log(macs[:, None] / macs)) < np.log(1.2))
    table = Table(title=f"{__doc__}\nalone: {ALONE}, seeds {SEEDS}; base: {BASE}", title_justify="left")
    for column in ("", "tau, all pairs", f"tau, MACs within 20% ({alike.sum() // 2} pairs)", "training time"):
        table.add_column(column)
    first, second = np.array(done).T
    table.add_row(
        "alone, one seed against the other",
        with_interval(first, second, everything),
        with_interval(first, second, alike),
        "",
    )
    table.add_row("by MACs", with_interval(macs, truth, everything), with_interval(macs, truth, alike), "")
    for name in SETTINGS:
        if cell := cells.get(f"supernet {name}"):
            shown = np.array(cell["accuracies"])
            table.add_row(
                name,
                with_interval(shown, truth, everything),
                with_interval(shown, truth, alike),
                f"{cell['seconds']:.0f} s",
            )
    Console(width=150).print(table)
    series = [Series(label="alone, on test", points=list(zip(macs, truth, strict=True)))]
    for name in ("base", "10 epochs"):
        if cell := cells.get(f"supernet {name}"):
            points = list(zip(macs, cell["accuracies"], strict=True))
            series.append(Series(label=f"under the supernet, {name}, on search-val", points=points, marker="x"))
    (PICTURES / "ranking.png").write_bytes(pareto_plot(series, title="micro on Fashion-MNIST"))


def main() -> None:
    """Fill what is missing, and show."""
    cells = Cells("ranking")
    cells.fill("networks", lambda: [arch.to_dict() for arch in networks()])
    archs = [Arch.from_dict(plain) for plain in cells.read()["networks"]]
    wanted = sys.argv[2] if sys.argv[1:2] == ["--only"] else ""
    for name in SETTINGS:
        if wanted in ("", name):
            cells.fill(f"supernet {name}", lambda name=name: under_supernet(name, archs))
    if wanted in ("", "alone"):
        for seed in SEEDS:
            for i, arch in enumerate(archs):
                cells.fill(f"alone {i} seed {seed}", lambda i=i, arch=arch, seed=seed: alone(arch, i, seed))
    if all(f"alone {i} seed {s}" in cells.read() for i in range(len(archs)) for s in SEEDS):
        show(archs, cells.read())


if __name__ == "__main__":
    main()
