"""Which space, and which search, finds the most accurate networks of 0.1M, 0.3M and 1M MACs? Fashion-MNIST, 5 seeds.

Spaces: the best of 40 networks that a search without a supernet trains for up to 20 epochs, those that would be the
best with three seeds, in each space and budget. Ways: in `micro`, the same search; the same with random networks; the
best of 100 evaluations of a supernet that was trained for 10 epochs, and of one of `--narrow` trained for 20; and the
middle network of the space, scaled by hand. All networks are finished alike, by the recipe of `--recipe auto` for 20
epochs in batches of 128, with seeds that no search used. Spaces are compared on search-val, ways on test images.
Differences are paired by seed, with the 95% interval of Student's t.

Takes about 8 hours on one core. Writes the tables `budgets-spaces` and `budgets-ways` of docs/results/budgets.md.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace

from common.cells import Cells
from common.command import run_benchmark
from common.paths import SCRATCH, slug
from common.retraining import SIZES, retrain_network
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.supernets import DATA, plan_micro_search
from common.tables import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, load_space
from tinynas.arch.scaling import scale_to
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig, SupernetConfig
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import TRAIN, SearchSettings
from tinynas.pipelines.search import search
from tinynas.training.recipe import Recipe
from tinynas.utils.units import format_count

SEEDS = range(3, 8)  # searches have the seeds 0 to 2
RECIPE = Recipe(epochs=20, batch_size=128, **AUTO_SETTINGS)  # with the settings of `--recipe auto`
OLD, NEW = "micro-v1", "micro"
SPACES = (OLD, NEW)
BY_HAND, RANDOM, SUPERNET, NARROW, TRAINED = "scaled by hand", "random", "supernet", "narrow", "trained"
WAYS = (BY_HAND, RANDOM, SUPERNET, NARROW, TRAINED)
LABELS = {
    BY_HAND: "middle network, scaled by hand",
    RANDOM: "best of 40 random networks, trained",
    SUPERNET: "search with a supernet",
    NARROW: "search with a supernet of `--narrow`",
    TRAINED: "search of 40 networks, trained",
}


def choose(space: str, way: str, budget: int) -> dict:
    """Return the network that is finished for a budget, as plain data, and the seconds that it took to find."""
    start = time.perf_counter()
    if way == BY_HAND:
        arch = scale_to(load_space(space).middle(), Budget(macs=budget))
    else:
        arch = search(plan_search(space, way, budget), report=Screen()).best_entry.arch
    return {"arch": arch.to_dict(), "seconds": time.perf_counter() - start}


def plan_search(space: str, way: str, budget: int) -> SearchPlan:
    """Return the plan of a search. The budgets share a supernet."""
    if way in (SUPERNET, NARROW):
        settings = SearchSettings(trials=100, target="generic")
        if way == SUPERNET:
            return plan_micro_search(Budget(macs=budget), settings)
        return plan_micro_search(Budget(macs=budget), settings, epochs=20, narrow=True)
    config = SupernetConfig(space=space, data=DATA, recipe=RECIPE)
    sampler = "random" if way == RANDOM else "predictor"
    return SearchPlan(
        run=SCRATCH / slug(f"budgets {space} {way} {budget}"),
        config=config,
        budget=Budget(macs=budget),
        settings=SearchSettings(trials=40, evaluate=TRAIN, sampler=sampler, target="generic"),
    )


def finish(arch: Arch, name: str, seed: int) -> dict:
    """Train a network by the default recipe; return its accuracies in percent, and its costs."""
    config = RetrainConfig(data=DATA, recipe=replace(RECIPE, seed=seed))
    folder = SCRATCH / slug(f"budgets {name} {seed}")
    metrics = retrain_network(folder, arch, config)
    *_, last = (folder / "log.jsonl").read_text().splitlines()
    return {
        "val": json.loads(last)["val_accuracy"],
        "test": metrics["accuracy"],
        "train": metrics["train_accuracy"],
        "macs": metrics["macs"],
        "params": metrics["params"],
    }


def networks() -> Iterator[tuple[str, str, str]]:
    """Yield space, way and size of all networks, in the order in which they are searched and finished."""
    for size in SIZES:
        for way in (TRAINED, BY_HAND, SUPERNET, NARROW, RANDOM):
            yield NEW, way, size
        yield OLD, TRAINED, size


def measure(cells: Cells) -> None:
    """Measure the missing cells: all trainings of a network before the next search."""
    for space, way, size in networks():
        name = f"{space} {way} {size}"
        cells.measure(f"network {name}", choose, space, way, SIZES[size])
        network = cells.read().get(f"network {name}")
        if network:  # else another process is searching
            for seed in SEEDS:
                cells.measure(f"{name} seed {seed}", finish, Arch.from_dict(network["arch"]), name, seed)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    spaces, ways = [], []
    for size in SIZES:
        old = by_seed(cells, f"{OLD} {TRAINED} {size}", SEEDS)
        for space in SPACES:
            trained = by_seed(cells, f"{space} {TRAINED} {size}", SEEDS)
            spaces += table_row(size, f"`{space}`", "val", trained, old)
        by_hand = by_seed(cells, f"{NEW} {BY_HAND} {size}", SEEDS)
        for way in WAYS:
            trained = by_seed(cells, f"{NEW} {way} {size}", SEEDS)
            ways += table_row(size, LABELS[way], "test", trained, by_hand)
    columns = ["budget", "space", "MACs", "parameters", "seeds", "search-val %", "train %", f"difference to `{OLD}`"]
    compared = ["budget", "network", "MACs", "parameters", "seeds", "test %", "train %", "difference to by hand"]
    return [
        Table(page="budgets", name="budgets-spaces", columns=columns, rows=spaces),
        Table(page="budgets", name="budgets-ways", columns=compared, rows=ways),
    ]


def table_row(size: str, name: str, metric: str, trained: dict[int, dict], base: dict[int, dict]) -> list[list[str]]:
    """Return the row of a network, with its difference to another one; no row if it has not been trained."""
    if not trained:
        return []
    first = next(iter(trained.values()))
    accuracies = values_of(trained, metric)
    row = [size, name, format_count(first["macs"]), format_count(first["params"]), str(len(trained))]
    row += [mean_std(list(accuracies.values())), mean_std(list(values_of(trained, "train").values()))]
    row.append(paired_difference(accuracies, values_of(base, metric)) if base and trained != base else "")
    return [row]


if __name__ == "__main__":
    run_benchmark("budgets", __doc__, measure=measure, tables=tables)
