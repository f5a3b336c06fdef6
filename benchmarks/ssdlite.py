"""Is the detection head better than SSDlite? The networks of detect.py beside SSDlite of torchvision's own parts.

SSDlite's head, default boxes, matching, loss and suppression are torchvision's, on backbones of the same family, as
wide as the same MACs allow. It is trained on the same batches, 30 epochs beside our 40, which take it longer. Its
recipe is tuned on search-val, 8 epochs each, one setting after the other; the best of all is trained at both sizes with
3 seeds. AP50 and mAP on the test images; differences are paired by seed, with the 95% interval of Student's t. Training
time is that of an epoch, the least of three rounds in which both take turns.

Takes about 2 hours on one core, after detect.py. Writes the tables `ssdlite` and `ssdlite-recipe` of
docs/results/detection.md.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from common.cells import Cells
from common.command import run_benchmark
from common.ssdlite_detector import (
    BATCH_SIZE,
    SsdliteRecipe,
    count_macs,
    make_detector,
    precision_on,
    train_detector,
    widest_backbone,
)
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.tables import Table
from common.training_time import step_times

from tinynas import Arch, cost
from tinynas.data.registry import load_data

DATA = "scattered-fashion"
SIZES = ("6M", "2M")
TUNED_SIZE = "6M"
TUNED_EPOCHS = 8
EPOCHS = 30
OUR_EPOCHS = 40
SEEDS = range(3)
OURS = "plain, equal passes"  # the row of detect.py
STEPS = (  # of tuning: a setting and its values, of which the best is kept
    ("lr", (0.02, 0.05, 0.1, 0.2)),
    ("scales", ((0.2, 0.35, 0.5), (0.25, 0.4, 0.6), (0.15, 0.3, 0.5))),
    ("aspect_ratios", ((2,), (2, 3))),
    ("extra", (0.5, 0.0)),
    ("matching_iou", (0.5, 0.4, 0.6)),
    ("positive_fraction", (0.25, 0.1)),
    ("weight_decay", (4e-5, 5e-4)),
    ("lr", (0.2, 0.4)),
    ("scales", ((0.25, 0.4, 0.6), (0.3, 0.5, 0.7))),
)


def tune(cells: Cells) -> SsdliteRecipe:
    """Return the best recipe on search-val; measure what is missing."""
    best = SsdliteRecipe()
    for setting, values in STEPS:
        precisions = {}
        for value in values:
            recipe = replace(best, **{setting: value})
            precisions[value] = cells.require(tuning_cell(recipe), measure_recipe, recipe)["map"]
        best = replace(best, **{setting: max(precisions, key=precisions.__getitem__)})
    return best


def tuning_cell(recipe: SsdliteRecipe) -> str:
    """Return the name of the cell of a recipe."""
    return "tuned " + ", ".join(f"{name} {value}" for name, value in asdict(recipe).items())


def measure_recipe(recipe: SsdliteRecipe) -> dict:
    """Train by a recipe; return its average precision on search-val."""
    data = load_data(DATA)
    arch = widest_backbone(our_arch(TUNED_SIZE), recipe, cost(our_arch(TUNED_SIZE)).macs)
    detector = train_detector(arch, recipe, data, epochs=TUNED_EPOCHS, seed=0, name=tuning_cell(recipe))
    precision = precision_on(detector, data, data.val)
    return {"map": precision.map, "ap50": precision.ap50}


def our_arch(size: str) -> Arch:
    """Return the network of detect.py."""
    return Arch.from_dict(Cells("detect").read()[f"arch {size}"])


def measure_test(recipe: SsdliteRecipe, size: str, seed: int) -> dict:
    """Train by the tuned recipe; return metrics on the test split, and the MACs."""
    data = load_data(DATA)
    arch = widest_backbone(our_arch(size), recipe, cost(our_arch(size)).macs)
    macs = count_macs(make_detector(arch, recipe).eval(), arch.in_channels)
    detector = train_detector(arch, recipe, data, epochs=EPOCHS, seed=seed, name=f"{size} seed {seed}")
    precision = precision_on(detector, data, data.test)
    return {"map": precision.map, "ap50": precision.ap50, "macs": macs}


def measure_times(recipe: SsdliteRecipe, size: str) -> dict[str, float]:
    """Return the seconds of an epoch of each, the least of three rounds in which they take turns."""
    data, arch = load_data(DATA), our_arch(size)
    theirs = widest_backbone(arch, recipe, cost(arch).macs)
    seconds: dict[str, list[float]] = {"ssdlite": [], "ours": []}
    for _ in range(3):
        started = time.perf_counter()
        train_detector(theirs, recipe, data, epochs=1, seed=0, name="time")
        seconds["ssdlite"].append(time.perf_counter() - started)
        seconds["ours"].append(step_times(arch, DATA, batch_size=BATCH_SIZE, rounds=1)["detector"])
    return {name: min(values) for name, values in seconds.items()}


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    recipe = tune(cells)
    for size in SIZES:
        for seed in SEEDS:
            cells.measure(f"{size} seed {seed}", measure_test, recipe, size, seed)
    for size in SIZES:
        cells.measure(f"epoch times {size}", measure_times, recipe, size)


def tables(cells: Mapping[str, dict]) -> list[Table]:
    """Return the tables of the saved cells."""
    columns = ["MACs", "detector", "epochs", "training time", "seeds", "AP50", "mAP"]
    columns += ["AP50, ours minus SSDlite's", "mAP, ours minus SSDlite's"]
    return [
        Table(page="detection", name="ssdlite", columns=columns, rows=list(test_rows(cells))),
        Table(
            page="detection",
            name="ssdlite-recipe",
            columns=["SSDlite's recipe", "AP50", "mAP"],
            rows=recipe_rows(cells),
        ),
    ]


def test_rows(cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield two rows for each size: ours and SSDlite's."""
    for size in SIZES:
        ours, theirs = by_seed(Cells("detect").read(), f"{size} {OURS}", SEEDS), by_seed(cells, size, SEEDS)
        if not ours or not theirs:
            continue
        ap50, precision = values_of(ours, "ap50"), values_of(ours, "accuracy")  # the accuracy of a detector is its mAP
        their_ap50, their_precision = values_of(theirs, "ap50"), values_of(theirs, "map")
        differences = [paired_difference(ap50, their_ap50), paired_difference(precision, their_precision)]
        own = [f"{cost(our_arch(size)).macs:,}", "tinynas", str(OUR_EPOCHS), "1.0", str(len(ours))]
        yield [*own, mean_std(list(ap50.values())), mean_std(list(precision.values())), *differences]
        times, time_beside_ours = cells.get(f"epoch times {size}"), ""
        if times:
            time_beside_ours = f"{EPOCHS * times['ssdlite'] / (OUR_EPOCHS * times['ours']):.1f}"
        other = [f"{theirs[0]['macs']:,}", "SSDlite", str(EPOCHS), time_beside_ours, str(len(theirs))]
        yield [*other, mean_std(list(their_ap50.values())), mean_std(list(their_precision.values())), "", ""]


def recipe_rows(cells: Mapping[str, dict]) -> list[list[str]]:
    """Return a row for each recipe, the best first."""
    tuned = [(name, cell) for name, cell in cells.items() if name.startswith("tuned ")]
    rows = []
    for name, cell in sorted(tuned, key=lambda row: -row[1]["map"]):
        rows.append([name.removeprefix("tuned "), f"{cell['ap50']:.2f}", f"{cell['map']:.2f}"])
    return rows


if __name__ == "__main__":
    run_benchmark("ssdlite", __doc__, measure=measure, tables=tables)
