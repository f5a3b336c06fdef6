"""Which recipe suits a network of which capacity? Plain training on Fashion-MNIST, at 0.1M, 0.3M, 1M and 5.7M MACs.

A row is the defaults of `retrain` in batches of 128 with the fields that it names; initial weights, order of the
images and data are the same otherwise, paired by seed. Accuracy on search-val (6,000 images) and on a sample of the
training images decides; test images are not looked at.

On two other data sets, the middle network of `micro` scaled to 0.1M MACs, 20 epochs in batches of 32.

Takes about 10 hours on one core. Writes the tables `recipes` and `recipes-others` of docs/results/recipes.md.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.cells import Cells
from common.command import run_benchmark
from common.networks import budget_network
from common.paths import SCRATCH, slug
from common.retraining import SIZES, retrain_network
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.supernets import DATA
from common.tables import Table

from tinynas import Arch, Budget, load_space
from tinynas.arch.scaling import scale_to
from tinynas.data.registry import load_data
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.overrides import Overrides

SEEDS = range(3)
OTHERS = ("digits", "mnist-5k")  # data sets
BASE: dict[str, Any] = {"batch_size": 128}
EPOCHS = {"0.1M": 20, "0.3M": 20, "1M": 20, "large": 10}
LABELLED = {"0.1M": "0.1M", "0.3M": "0.3M", "1M": "1M", "large": "5.7M"}
UNREGULARISED: dict[str, Any] = {"augmentation": "none", "label_smoothing": 0.0}
LIGHT: dict[str, Any] = {"augmentation": "light", "label_smoothing": 0.0}


@dataclass(frozen=True)
class Row:
    """A recipe: the fields that differ from the defaults, and how many times the epochs."""

    change: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1

    @property
    def label(self) -> str:
        """The fields, as a command has them."""
        flags = []
        for name, value in self.change.items():
            flags.append(f"--{name.replace('_', '-')} {value:g}" if isinstance(value, float) else f"--{name} {value}")
        if self.times > 1:
            flags.append(f"{self.times} times the epochs")
        return ", ".join(flags) or "defaults"


def rows() -> Iterator[Row]:
    """Yield the recipes in the order in which they run: what decides first."""
    yield from augmented_rows(times=1)
    for change in ({"weight_decay": 1e-3}, {"weight_decay": 5e-4}, {"lr": 0.05}, {"lr": 0.2}, {"dropout": 0.1}):
        yield Row(LIGHT | change)
    yield from augmented_rows(times=2)


def augmented_rows(times: int) -> Iterator[Row]:
    """Yield the augmentations without and with label smoothing."""
    for smoothing in (0.0, 0.1):
        for augmentation in ("none", "light", "standard"):
            yield Row({"augmentation": augmentation, "label_smoothing": smoothing}, times)


def train(size: str, row: Row, seed: int) -> dict:
    """Return what a training reached: accuracy on search-val and on training images, in percent."""
    arch = budget_network(size)
    folder = SCRATCH / slug(f"recipes {cell_name(size, row)} {seed}")
    metrics = retrain_network(folder, arch, configuration(arch, size, row, seed))
    *_, last = (folder / "log.jsonl").read_text().splitlines()
    return {"val": json.loads(last)["val_accuracy"], "train": metrics["train_accuracy"]}


def configuration(arch: Arch, size: str, row: Row, seed: int) -> RetrainConfig:
    """Return the settings of a training."""
    settings = BASE | {"epochs": row.times * EPOCHS[size], "seed": seed} | row.change
    return Overrides.read(settings, RetrainConfig).apply(RetrainConfig(data=DATA))


def cell_name(size: str, row: Row) -> str:
    """Return the name of a training's cells, without the seed."""
    return f"{size} {row.label}"


def others() -> dict[str, Row]:
    """Return the recipes that are compared on other data sets, by their names."""
    settings = {"augmentation": "light", "label_smoothing": 0.1}
    return {
        "--recipe defaults": Row(),
        "--augmentation light": Row(settings),
        "--augmentation light, --label-smoothing 0": Row(LIGHT),
        "--augmentation none, --label-smoothing 0": Row(UNREGULARISED),
        "--recipe auto": Row(AUTO_SETTINGS),
    }


def train_on(data: str, row: Row, seed: int) -> dict:
    """Return what a training on another data set reached: accuracy on search-val in percent."""
    arch = fit_to_data(scale_to(load_space("micro").middle(), Budget(macs=SIZES["0.1M"])), load_data(data))
    config = Overrides.read({"epochs": 20, "seed": seed} | row.change, RetrainConfig).apply(RetrainConfig(data=data))
    folder = SCRATCH / slug(f"recipes {data} {row.label} {seed}")
    retrain_network(folder, arch, config)
    *_, last = (folder / "log.jsonl").read_text().splitlines()
    return {"val": json.loads(last)["val_accuracy"]}


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    for data in OTHERS:
        for name, row in others().items():
            for seed in SEEDS:
                cells.measure(f"{data} {name} seed {seed}", train_on, data, row, seed)
    for row in rows():
        for seed in SEEDS:
            for size in EPOCHS:
                cells.measure(f"{cell_name(size, row)} seed {seed}", train, size, row, seed)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    lines = []
    for size in EPOCHS:
        base = values_of(by_seed(cells, cell_name(size, Row(UNREGULARISED)), SEEDS), "val")
        for row in rows():
            trained = by_seed(cells, cell_name(size, row), SEEDS)
            if trained:
                lines.append(table_row(size, row, trained, base))
    columns = ["MACs", "recipe", "seeds", "search-val %", "train %", "difference to no augmentation, no smoothing"]
    return [Table(page="recipes", name="recipes", columns=columns, rows=lines), table_of_others(cells)]


def table_of_others(cells: dict) -> Table:
    """Return the table of the other data sets."""
    lines = []
    for data in OTHERS:
        base = values_of(by_seed(cells, f"{data} --recipe defaults", SEEDS), "val")
        for name in others():
            val = values_of(by_seed(cells, f"{data} {name}", SEEDS), "val")
            if val and base:
                difference = paired_difference(val, base) if val != base else ""
                lines.append([f"`{data}`", name, str(len(val)), mean_std(list(val.values())), difference])
    columns = ["data", "recipe", "seeds", "search-val %", "difference to the defaults"]
    return Table(page="recipes", name="recipes-others", columns=columns, rows=lines)


def table_row(size: str, row: Row, trained: Mapping[int, dict], base: Mapping[int, float]) -> list[str]:
    """Return the row of a recipe."""
    val, train_accuracy = values_of(trained, "val"), values_of(trained, "train")
    difference = paired_difference(val, base) if row != Row(UNREGULARISED) else ""
    values = [mean_std(list(val.values())), mean_std(list(train_accuracy.values())), difference]
    return [LABELLED[size], row.label, str(len(trained)), *values]


if __name__ == "__main__":
    run_benchmark("recipes", __doc__, measure=measure, tables=tables)
