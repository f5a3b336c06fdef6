"""What does pretraining with NetAug give on other data sets? From Fashion-MNIST to mnist-5k, digits and elpv, 5 seeds.

The network of 0.1M MACs that methods.py trains on Fashion-MNIST in several ways (where it has not been trained, it is
trained first) is trained further on each of the three sets, plain, by the recipe of `--recipe auto` for 30 epochs in
batches of 64, with the rate that is best on the set's search-val for the network that was trained plain, first seed,
and the same for all. A network from scratch has the best rate of its own. Images have the network's size,
and 96 pixels on elpv, whose photographs of 96 pixels show little in 28. Differences are paired by seed, with the 95%
interval of Student's t; p-values are Holm's, over the comparisons of the table. Test images are looked at once, at the
end; choices are made on search-val.

Takes about 1 hour on one core, after methods.py. Writes the tables `transfer` and `transfer-rates` of
docs/results/transfer.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.cells import Cells
from common.command import run_benchmark
from common.method_trainings import (
    FASHION,
    METHODS,
    NETAUG,
    PLAIN,
    SEEDS,
    TAUGHT,
    Case,
    case_of,
    control_row,
    same_time,
    train,
    train_method,
)
from common.paths import SCRATCH, model_in, slug
from common.retraining import retrain_network
from common.stats import by_seed, holm, mean_std, p_text, paired_difference, paired_p_value, values_of
from common.tables import Table

from tinynas.data.registry import load_data
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.experiment.log import last_record
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.overrides import Overrides

SIZES = ("0.1M",)
FINE_TUNING = AUTO_SETTINGS | {"epochs": 30, "batch_size": 64}
RATES = (0.003, 0.01, 0.03, 0.1)  # of fine-tuning
RESOLUTIONS = {"mnist-5k": None, "digits": None, "elpv": 96}  # of the sets; None: the network's
LONGER, FRESH = "plain, for as long as NetAug", "from scratch"
ROWS = (PLAIN, LONGER, TAUGHT, NETAUG, FRESH)


@dataclass(frozen=True)
class Transfer:
    """A network that is trained further on another data set.

    Attributes:
        size: The network: its MACs.
        data: The data set.
    """

    size: str
    data: str

    def __str__(self) -> str:
        return f"{self.size} {self.data}"

    def fine_tune(self, name: str, row: str, seed: int, rate: float) -> tuple[Path, dict]:
        """Train a network further, or from scratch; return its folder and its metrics."""
        case = case_of(FASHION, self.size)
        arch = fit_to_data(case.arch, load_data(self.data))
        arch = replace(arch, resolution=RESOLUTIONS[self.data] or arch.resolution)
        settings = FINE_TUNING | {"lr": rate, "seed": seed}
        if row != FRESH:
            settings["init"] = str(pretrained(case, row, seed))
        folder = SCRATCH / slug(f"transfer {name}")
        config = Overrides.read(settings, RetrainConfig).apply(RetrainConfig(data=self.data))
        return folder, retrain_network(folder, arch, config)

    def rate_cell(self, row: str, rate: float) -> str:
        """Return the name of the cell of a rate that is tried."""
        return f"{self} {row} rate {rate:g}"

    def try_rate(self, row: str, rate: float) -> dict:
        """Return the accuracy on search-val, in percent, that a rate reaches; test images are not looked at."""
        folder, _ = self.fine_tune(self.rate_cell(row, rate), row, SEEDS[0], rate)
        return {"val": last_record(folder / "log.jsonl")["val_accuracy"]}

    def choose_rate(self, cells: Cells, row: str) -> float:
        """Return the rate with which a row is trained further: that of the plain row, from scratch one of its own."""
        tried = FRESH if row == FRESH else PLAIN
        for rate in RATES:
            cells.require(self.rate_cell(tried, rate), self.try_rate, tried, rate)
        return self.best_rate(cells.read(), tried)

    def best_rate(self, cells: Mapping[str, dict], row: str) -> float:
        """Return the rate of the highest accuracy on search-val, of equal ones the lowest."""
        accuracies = {rate: cells[self.rate_cell(row, rate)]["val"] for rate in RATES}
        return max(accuracies, key=accuracies.__getitem__)

    def measure(self, cells: Cells, row: str, seed: int) -> dict:
        """Train a network further with the chosen rate; return what it reached on test images, in percent."""
        rate = self.choose_rate(cells, row)
        _, metrics = self.fine_tune(f"{self} {row} seed {seed}", row, seed, rate)
        return {"test": metrics["accuracy"], "balanced": metrics.get("balanced_accuracy"), "lr": rate}


TRANSFERS = tuple(Transfer(size, data) for size in SIZES for data in RESOLUTIONS)


def pretrained(case: Case, row: str, seed: int) -> Path:
    """Return the model of a network trained on Fashion-MNIST, which is trained if it has not been."""
    cells = Cells("methods")
    settings: Mapping[str, Any] = METHODS.get(row, {})
    if row == LONGER:
        epochs = same_time(cells, case, NETAUG, METHODS[NETAUG])
        row, settings = control_row(epochs), {"epochs": epochs}
    if row in METHODS:
        cells.require(f"{case} {row} seed {seed}", train_method, cells, case, row, settings, seed)
    else:
        cells.require(f"{case} {row} seed {seed}", train, case, row, settings, seed)
    model = model_in(case.folder(row, seed))
    if not model.exists():  # its files were deleted
        train_method(cells, case, row, settings, seed)
    return model


def measure(cells: Cells) -> None:
    """Measure the missing cells, one seed after the other."""
    for seed in SEEDS:
        for transfer in TRANSFERS:
            for row in ROWS:
                cells.measure(f"{transfer} {row} seed {seed}", transfer.measure, cells, row, seed)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    rows, p_values = [], []
    for transfer in TRANSFERS:
        plain = values_of(by_seed(cells, f"{transfer} {PLAIN}", SEEDS), "test")
        for row in ROWS:
            values = values_of(by_seed(cells, f"{transfer} {row}", SEEDS), "test")
            if not values.keys() & plain.keys():
                continue
            difference = "" if row == PLAIN else paired_difference(values, plain)
            p_values.append(None if row == PLAIN else paired_p_value(values, plain))
            accuracy = mean_std(list(values.values()))
            rows.append([transfer.size, transfer.data, row, str(len(values)), accuracy, difference])
    for line, p_value in zip(rows, holm(p_values), strict=True):
        line.append(p_text(p_value))
    columns = ["MACs", "data set", "pretraining", "seeds", "test %", "difference to plain", "p"]
    rates = ["MACs", "data set", "network"]
    rates += [f"rate {rate:g}" for rate in RATES]
    rates.append("chosen")
    return [
        Table(page="transfer", name="transfer", columns=columns, rows=rows),
        Table(page="transfer", name="transfer-rates", columns=rates, rows=list(rate_rows(cells))),
    ]


def rate_rows(cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield the accuracies on search-val of the rates that were tried, and which was chosen."""
    for transfer in TRANSFERS:
        for row in (PLAIN, FRESH):
            names = [transfer.rate_cell(row, rate) for rate in RATES]
            if all(name in cells for name in names):
                line = [transfer.size, transfer.data, row]
                line += [f"{cells[name]['val']:.2f}" for name in names]
                line.append(f"{transfer.best_rate(cells, row):g}")
                yield line


if __name__ == "__main__":
    run_benchmark("transfer", __doc__, measure=measure, tables=tables)
