"""How well does a search tell networks of similar cost apart? Kendall's tau, `micro` on Fashion-MNIST.

12 random networks of 80K to 100K MACs are trained as `--recipe auto` trains them, for 20 epochs in batches of 128, with
4 seeds. Accuracy is that on search-val, the truth the mean over the seeds. What a search could go by is compared with
it: MACs and parameters; the weights of supernets, of all choices trained for 10 and 20 epochs, or of those that
networks of this size mostly have, for 10 with three seeds, and the mean of these three; the weights of the first after
a short training of each network by itself, with a learning rate of 0.05; and a training that is stopped early, whose
truth is the mean of the other seeds. Intervals are of 2,000 bootstrap samples of the networks.

Takes about 1 hour on one core. Writes the table `ranking-similar` of docs/results/ranking.md.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean

import numpy as np
from common.cells import Cells
from common.command import run_benchmark
from common.paths import SCRATCH
from common.ranks import bootstrap_interval, kendall_tau
from common.retraining import retrain_network
from common.supernets import DATA, plan_micro_search
from common.tables import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, cost, load_space
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.experiment.log import last_record, records
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines.search import train_supernet
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.training.recipe import Recipe

NETWORKS = 12
LOW, HIGH = 80_000, 100_000  # MACs
SEEDS = range(1, 5)
RECIPE = {"batch_size": 128, **AUTO_SETTINGS}
STOPPED = (2, 6, 20)  # after so many of 20 epochs
FURTHER = (1, 2)  # epochs from the first supernet's weights
AROUND = str(Path(__file__).parent / "search_spaces" / "micro-around-0.1M.yaml")
SUPERNETS = {  # space, epochs and seed
    "10 epochs": ("micro", 10, 0),
    "20 epochs": ("micro", 20, 0),
    "around the budget, 10 epochs": (AROUND, 10, 0),
    "around the budget, 10 epochs, seed 1": (AROUND, 10, 1),
    "around the budget, 10 epochs, seed 2": (AROUND, 10, 2),
}


def sample_networks() -> list[dict]:
    """Return different random networks of both spaces within the range of MACs."""
    space, rng = load_space(AROUND), np.random.default_rng(0)
    archs: dict[Arch, None] = {}
    while len(archs) < NETWORKS:
        arch = space.sample(rng)
        if LOW <= cost(arch).macs <= HIGH:
            archs[arch] = None
    return [arch.to_dict() for arch in archs]


def train_alone(arch: Arch, index: int, seed: int) -> dict:
    """Train a network from scratch; return what `curve_of` does."""
    config = RetrainConfig(data=DATA, recipe=Recipe(epochs=20, seed=seed, **RECIPE))
    return curve_of(SCRATCH / f"similar-{index}-{seed}", arch, config)


def train_further(arch: Arch, index: int, epochs: int) -> dict:
    """Train a network from the supernet's weights; return what `curve_of` does."""
    recipe = Recipe(epochs=epochs, warmup_epochs=0.0, lr=0.05, **RECIPE)
    folder = supernet_plan("10 epochs").run / "retrain" / f"similar-{index}-{epochs}"
    return curve_of(folder, arch, RetrainConfig(data=DATA, init="supernet", recipe=recipe))


def curve_of(folder: Path, arch: Arch, config: RetrainConfig) -> dict:
    """Train a network; return its accuracy on search-val after every epoch, and the processor time in seconds."""
    began = time.process_time()
    retrain_network(folder, arch, config)
    curve = [round(record["val_accuracy"], 3) for record in records(folder / "log.jsonl")]
    return {"curve": curve, "seconds": time.process_time() - began}


def supernet_plan(name: str) -> SearchPlan:
    """Return the plan of a search of a supernet."""
    space, epochs, seed = SUPERNETS[name]
    return plan_micro_search(Budget(), SearchSettings(target="generic"), space=space, epochs=epochs, seed=seed)


def evaluate_in_supernet(name: str, archs: list[Arch]) -> dict:
    """Return the accuracies of the networks with a supernet's weights, and the seconds that its training took."""
    plan = supernet_plan(name)
    supernet, data = train_supernet(plan, report=Screen())
    evaluator = SubnetEvaluator(supernet, data)
    return {
        "accuracies": [evaluator(arch) for arch in archs],
        "seconds": last_record(RunFolder(plan.run).log)["seconds"],
    }


def measure(cells: Cells) -> None:
    """Measure the missing cells: the supernets, then seed by seed the networks alone."""
    archs = [Arch.from_dict(plain) for plain in cells.require("networks", sample_networks)]
    for name in SUPERNETS:
        cells.require(f"supernet {name}", evaluate_in_supernet, name, archs)
    for epochs in FURTHER:
        for index, arch in enumerate(archs):
            cells.measure(f"further {index} epochs {epochs}", train_further, arch, index, epochs)
    for seed in SEEDS:
        for index, arch in enumerate(archs):
            cells.measure(f"alone {index} seed {seed}", train_alone, arch, index, seed)


class Curves:
    """The accuracies on search-val of the networks that were trained alone.

    Attributes:
        accuracies: Of every seed that all networks have, network and epoch (S, N, E).
    """

    def __init__(self, cells: Mapping[str, dict]) -> None:
        curves = []
        for seed in SEEDS:
            names = [f"alone {index} seed {seed}" for index in range(NETWORKS)]
            if all(name in cells for name in names):
                curves.append([cells[name]["curve"] for name in names])
        self.accuracies = np.array(curves)

    def truth(self, without: int | None = None) -> np.ndarray:
        """Return the mean accuracy of every network (N,) after the last epoch, without a seed."""
        last = self.accuracies[:, :, -1]
        return (last if without is None else np.delete(last, without, axis=0)).mean(0)

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean accuracies of every network over each half of the seeds."""
        last = self.accuracies[:, :, -1]
        return last[::2].mean(0), last[1::2].mean(0)

    def stopped(self, epochs: int) -> str:
        """Return the mean tau of one seed's accuracy after so many epochs, to the mean of the other seeds."""
        taus = []
        for seed, accuracies in enumerate(self.accuracies):
            taus.append(tau_of(accuracies[:, epochs - 1], self.truth(without=seed)))
        return f"{mean(taus):.2f} ({min(taus):.2f} to {max(taus):.2f} of the seeds)"


def tau_of(estimates: np.ndarray, truth: np.ndarray) -> float:
    """Return Kendall's tau over all pairs."""
    return kendall_tau(estimates, truth, ~np.eye(len(truth), dtype=bool))


def tau_text(estimates: np.ndarray, truth: np.ndarray) -> str:
    """Return Kendall's tau over all pairs with its 95% interval."""
    low, high = bootstrap_interval(estimates, truth, ~np.eye(len(truth), dtype=bool))
    return f"{tau_of(estimates, truth):.2f} ({low:.2f} to {high:.2f})"


def tables(cells: dict) -> list[Table]:
    """Return the table, once two seeds of all networks are trained."""
    curves = Curves(cells)
    if len(curves.accuracies) < 2:
        return []
    columns = ["ranked by", "seconds a network", "tau"]
    return [Table(page="ranking", name="ranking-similar", columns=columns, rows=list(rows(cells, curves)))]


def rows(cells: Mapping[str, dict], curves: Curves) -> Iterator[list[str]]:
    """Yield what networks are ranked by, what that takes, and how well it ranks them."""
    truth, archs = curves.truth(), [Arch.from_dict(plain) for plain in cells["networks"]]
    first, second = curves.halves()
    yield [f"one half of {len(curves.accuracies)} seeds against the other", "", tau_text(first, second)]
    for name in ("macs", "params"):
        estimates = np.array([getattr(cost(arch), name) for arch in archs])
        yield [{"macs": "MACs", "params": "parameters"}[name], "0", tau_text(estimates, truth)]
    supernets = {name: cells[f"supernet {name}"] for name in SUPERNETS if f"supernet {name}" in cells}
    for name, supernet in supernets.items():
        estimates = np.array(supernet["accuracies"])
        yield [f"a supernet, {name}", f"{supernet['seconds']:.0f}, once", tau_text(estimates, truth)]
    around = [supernet for name, supernet in supernets.items() if SUPERNETS[name][0] == AROUND]
    if len(around) > 1:
        estimates = np.mean([supernet["accuracies"] for supernet in around], axis=0)
        seconds = sum(supernet["seconds"] for supernet in around)
        yield [f"the mean of these {len(around)} around the budget", f"{seconds:.0f}, once", tau_text(estimates, truth)]
    for epochs in FURTHER:
        further = [cells.get(f"further {index} epochs {epochs}") for index in range(NETWORKS)]
        if all(further):
            estimates = np.array([cell["curve"][-1] for cell in further])
            seconds = mean(cell["seconds"] for cell in further)
            yield [
                f"the first supernet's weights, trained for {epochs} more",
                f"{seconds:.0f}",
                tau_text(estimates, truth),
            ]
    seconds = mean(cell["seconds"] for name, cell in cells.items() if name.startswith("alone "))
    for epochs in STOPPED:
        name = f"a training stopped after {epochs} of 20 epochs" if epochs < 20 else "a training of 20 epochs"
        yield [name, f"{seconds * epochs / 20:.0f}", curves.stopped(epochs)]


if __name__ == "__main__":
    run_benchmark("similar", __doc__, measure=measure, tables=tables)
