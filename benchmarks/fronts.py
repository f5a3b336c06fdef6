"""Fronts of finished networks: three networks of a searched front, trained plain and with NetAug, 3 seeds.

A supernet of `micro` is trained on Fashion-MNIST for 10 epochs and searched for the front of accuracy and MACs between
50K and 500K MACs, 100 evaluations. The networks that `tinynas retrain --front 3` would choose are trained as in
methods.py: by the recipe of `--recipe auto` for 20 epochs in batches of 128, plain and with NetAug. Beside them stands
the middle network of `micro`, scaled by hand to the MACs of each of them and trained plain. Accuracy on test images;
hypervolumes in percentage points times decades of MACs, of every seed by itself.

Takes about 1 hour on one core. Writes the tables `fronts` and `fronts-hypervolumes` of docs/results/fronts.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from statistics import mean, stdev

from common.cells import Cells
from common.command import run_benchmark
from common.method_trainings import FASHION, METHODS, NETAUG, PLAIN, SEEDS, Case, measure_rows, train
from common.paths import PICTURES
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.supernets import plan_micro_search
from common.tables import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, cost, load_space
from tinynas.arch.scaling import scale_to
from tinynas.data.registry import load_data
from tinynas.experiment.front_choice import networks_to_retrain
from tinynas.experiment.plots import Series, pareto_plot
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines.search import search
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.pareto import Point, hypervolume
from tinynas.utils.units import format_count

NETWORKS = 3
LOW, HIGH = 50_000, 500_000  # MACs
FRONT_SEEDS = SEEDS[:3]
BY_HAND = "by hand"
LABELS = {PLAIN: "searched, plain", NETAUG: "searched, NetAug", BY_HAND: "scaled by hand, plain"}
WAYS = {PLAIN: "o", NETAUG: "*", BY_HAND: "D"}  # markers
REFERENCE = (2 * HIGH, 85.0)  # of hypervolumes: MACs and accuracy


def search_front() -> list[dict]:
    """Return the networks that are trained, from the smallest on: arch, and accuracy with the supernet's weights."""
    settings = SearchSettings(trials=100, pareto=("macs",), target="generic")
    result = search(plan_micro_search(Budget(min_macs=LOW, macs=HIGH), settings), report=Screen())
    networks = []
    for entry in networks_to_retrain(result.front, NETWORKS, costs=("macs",)):
        networks.append({"arch": entry.arch.to_dict(), "val": entry.accuracy})
    return networks


def cases(networks: list[dict]) -> list[Case]:
    """Return the networks, named by their MACs."""
    archs = [Arch.from_dict(network["arch"]) for network in networks]
    return [Case(FASHION, format_count(cost(arch).macs), arch) for arch in archs]


def scaled_by_hand(case: Case) -> Case:
    """Return the middle network of `micro` with as many MACs as a searched one, or a few less."""
    arch = scale_to(load_space("micro").middle(), Budget(macs=cost(case.arch).macs))
    return replace(case, arch=fit_to_data(arch, load_data(case.data)))


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    networks = cells.require("networks", search_front)
    for case in cases(networks):
        measure_rows(cells, case, {NETAUG: METHODS[NETAUG]}, seeds=FRONT_SEEDS)
        for seed in FRONT_SEEDS:
            cells.measure(f"{case} {BY_HAND} seed {seed}", train, scaled_by_hand(case), BY_HAND, {}, seed)


def trained_ways(cells: Mapping, case: Case) -> dict[str, dict[int, float]]:
    """Return the test accuracies of a network by way and seed, of the ways that have been measured."""
    ways = {}
    for way in WAYS:
        ways[way] = by_seed(cells, f"{case} {way}", FRONT_SEEDS)
    return {way: values_of(trained, "test") for way, trained in ways.items() if trained}


def fronts(cells: Mapping) -> dict[str, dict[int, list[Point]]]:
    """Return MACs and test accuracy of the networks by way and seed."""
    points: dict[str, dict[int, list[Point]]] = {way: {seed: [] for seed in FRONT_SEEDS} for way in WAYS}
    for case in cases(cells.get("networks", [])):
        for way, accuracies in trained_ways(cells, case).items():
            network = scaled_by_hand(case) if way == BY_HAND else case
            for seed, accuracy in accuracies.items():
                points[way][seed].append((cost(network.arch).macs, accuracy))
    return points


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells, once there are networks."""
    if "networks" not in cells:
        return []
    rows = []
    for case, network in zip(cases(cells["networks"]), cells["networks"], strict=True):
        ways = trained_ways(cells, case)
        plain = ways.get(PLAIN, {})
        for way, values in ways.items():
            difference = "" if way == PLAIN else paired_difference(values, plain)
            accuracy = mean_std(list(values.values()))
            in_supernet = "" if way == BY_HAND else f"{network['val']:.2f}"
            rows.append([case.size, LABELS[way], in_supernet, str(len(values)), accuracy, difference])
    volumes = {}
    for way, of_seeds in fronts(cells).items():
        volumes[way] = {seed: hypervolume(points, REFERENCE) for seed, points in of_seeds.items() if points}
    lines = []
    for way, values in volumes.items():
        if values:
            difference = "" if way == PLAIN else paired_difference(values, volumes[PLAIN])
            lines.append([LABELS[way], str(len(values)), mean_std(list(values.values())), difference])
    columns = ["MACs", "network", "with the supernet's weights, search-val %", "seeds", "test %", "difference to plain"]
    return [
        Table(page="fronts", name="fronts", columns=columns, rows=rows),
        Table(
            page="fronts",
            name="fronts-hypervolumes",
            columns=["networks", "seeds", "hypervolume", "difference to plain"],
            rows=lines,
        ),
    ]


def draw(cells: dict) -> None:
    """Draw the fronts: means over the seeds, with their standard deviations."""
    series = []
    for way, of_seeds in fronts(cells).items():
        columns = list(zip(*of_seeds.values(), strict=False))  # of every network, the points of all seeds
        points = [(column[0][0], mean(accuracy for _, accuracy in column)) for column in columns]
        deviations = [stdev(accuracy for _, accuracy in column) for column in columns]
        if points:
            series.append(Series(label=LABELS[way], points=points, line=True, marker=WAYS[way], deviations=deviations))
    title = "Finished networks: test accuracy on Fashion-MNIST, mean of 3 seeds"
    (PICTURES / "fronts.png").write_bytes(pareto_plot(series, title=title))


if __name__ == "__main__":
    run_benchmark("fronts", __doc__, measure=measure, tables=tables, draw=draw)
