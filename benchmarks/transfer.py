"""What does pretraining with NetAug give on other data sets? From Fashion-MNIST to mnist-5k, digits and elpv, 3 seeds.

The networks found for 0.1M and 0.3M MACs are trained on Fashion-MNIST in batches of 128 in several ways, each of which
is plain training for 20 epochs but for the settings that the table names, and are then trained further, plain, on each
of the three sets: for 30 epochs in batches of 64, with the rate that is best on the set's search-val for the network
that was trained plain, seed 0, and the same for all. A network from scratch has the best rate of its own. The teacher
is the large network of 5.7M MACs, trained for 10 epochs at the network's image size. Images have the network's size,
and 96 pixels on elpv, whose photographs of 96 pixels show little in 28. Differences are paired by seed, with the 95%
interval of Student's t. Test images are looked at once, at the end; choices are made on search-val.

Takes about 4 hours on one core, by an estimate from single epochs. Writes the tables `transfer`,
`transfer-pretraining` and `transfer-rates` of docs/results/transfer.md.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.cells import Cells
from common.command import run_benchmark
from common.netaug_rows import NETAUG
from common.networks import LARGE, budget_network
from common.paths import SCRATCH, model_in, slug
from common.retraining import SEEDS, retrain_network
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.supernets import DATA
from common.tables import Table

from tinynas import Arch
from tinynas.data.registry import load_data
from tinynas.experiment.config import RetrainConfig
from tinynas.pipelines.planning import default_config
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.overrides import Overrides

SIZES = ("0.1M", "0.3M")
EPOCHS = 20  # of plain pretraining
TEACHER_EPOCHS = 10
PRETRAINING: dict[str, Any] = {"batch_size": 128}
FINE_TUNING: dict[str, Any] = {"epochs": 30, "batch_size": 64}
RATES = (0.01, 0.03, 0.1, 0.3)  # of fine-tuning
RESOLUTIONS = {"mnist-5k": None, "digits": None, "elpv": 96}  # of the sets; None: the network's
PLAIN, TAUGHT, SCRATCH_ROW = "plain", "teacher", "from scratch"
ROWS: dict[str, dict[str, Any]] = {  # settings that differ from plain
    PLAIN: {},
    "plain, 4 times the epochs": {"epochs": 4 * EPOCHS},
    "plain, NetAug's initial weights": {"init": NETAUG["init"]},
    TAUGHT: {"teacher": LARGE},
    "NetAug": NETAUG,
}
CAPTION = (
    "NetAug starts from other initial weights than plain; the row with these alone has the difference that they make. "
    "A dash: not measured yet."
)


def folder_of(cell: str) -> Path:
    """Return the folder of a training."""
    return SCRATCH / "transfer" / slug(cell)


def configuration(arch: Arch, data: str, settings: Mapping[str, Any]) -> RetrainConfig:
    """Return the configuration of a training."""
    overrides = Overrides.read(settings, RetrainConfig)
    return overrides.apply(default_config(arch, data, netaug=bool(overrides.get("netaug"))))


def pretraining_cell(size: str, row: str, seed: int) -> str:
    """Return the name of the cell of a training on Fashion-MNIST."""
    return f"{size} {DATA} {row} seed {seed}"


def transfer_cell(size: str, data: str, row: str, seed: int) -> str:
    """Return the name of the cell of a training on another set."""
    return f"{size} {data} {row} seed {seed}"


def rate_cell(size: str, data: str, row: str, rate: float) -> str:
    """Return the name of the cell of a training on another set, with a rate that is tried."""
    return f"{size} {data} {row} rate {rate:g}"


def train_teacher(size: str) -> dict:
    """Train the teacher of a size; return its metrics."""
    arch = replace(budget_network(LARGE), resolution=budget_network(size).resolution)
    settings = PRETRAINING | {"epochs": TEACHER_EPOCHS}
    return results_of(retrain_network(folder_of(f"{size} teacher"), arch, configuration(arch, DATA, settings)))


def pretrain(cells: Cells, size: str, row: str, seed: int) -> dict:
    """Train a network on Fashion-MNIST; return its metrics and the settings that differ from plain."""
    change = dict(ROWS[row])
    if change.get("teacher") == LARGE:
        cells.require(f"{size} teacher", train_teacher, size)
        change["teacher"] = str(model_in(folder_of(f"{size} teacher")))
    arch = budget_network(size)
    config = configuration(arch, DATA, {"epochs": EPOCHS, "seed": seed} | PRETRAINING | change)
    return results_of(retrain_network(folder_of(pretraining_cell(size, row, seed)), arch, config))


def results_of(metrics: Mapping[str, Any]) -> dict:
    """Return what is saved of a training's metrics."""
    return {name: metrics.get(name) for name in ("accuracy", "balanced_accuracy", "train_accuracy", "seconds")}


def initial_model(cells: Cells, size: str, row: str, seed: int) -> dict[str, str]:
    """Return the setting of the pretrained weights, trained if they have not been; none from scratch."""
    if row == SCRATCH_ROW:
        return {}
    cell = pretraining_cell(size, row, seed)
    cells.require(cell, pretrain, cells, size, row, seed)
    if not model_in(folder_of(cell)).exists():  # its files were deleted
        pretrain(cells, size, row, seed)
    return {"init": str(model_in(folder_of(cell)))}


def fine_tune(cells: Cells, size: str, data: str, row: str, seed: int, rate: float, folder: Path) -> dict:
    """Train a pretrained network further on another set; return its metrics."""
    arch = fit_to_data(budget_network(size), load_data(data))
    arch = replace(arch, resolution=RESOLUTIONS[data] or arch.resolution)
    settings = FINE_TUNING | {"lr": rate, "seed": seed} | initial_model(cells, size, row, seed)
    return retrain_network(folder, arch, configuration(arch, data, settings))


def try_rate(cells: Cells, size: str, data: str, row: str, rate: float) -> dict:
    """Return the accuracy on search-val, in percent, that a rate reaches; test images are not looked at."""
    folder = folder_of(rate_cell(size, data, row, rate))
    fine_tune(cells, size, data, row, 0, rate, folder)
    *_, last = (folder / "log.jsonl").read_text().splitlines()
    return {"val": json.loads(last)["val_accuracy"]}


def choose_rate(cells: Cells, size: str, data: str, row: str) -> float:
    """Return the rate with which a row is trained further: that of the plain row, from scratch one of its own."""
    tried = SCRATCH_ROW if row == SCRATCH_ROW else PLAIN
    for rate in RATES:
        cells.require(rate_cell(size, data, tried, rate), try_rate, cells, size, data, tried, rate)
    return best_rate(cells.read(), size, data, tried)


def best_rate(cells: Mapping[str, dict], size: str, data: str, row: str) -> float:
    """Return the rate of the highest accuracy on search-val, of equal ones the lowest."""
    accuracies = {rate: cells[rate_cell(size, data, row, rate)]["val"] for rate in RATES}
    return max(accuracies, key=accuracies.__getitem__)


def transfer(cells: Cells, size: str, data: str, row: str, seed: int) -> dict:
    """Train a pretrained network further on another set, with the chosen rate; return its metrics."""
    rate = choose_rate(cells, size, data, row)
    folder = folder_of(transfer_cell(size, data, row, seed))
    return results_of(fine_tune(cells, size, data, row, seed, rate, folder)) | {"lr": rate}


def measure(cells: Cells) -> None:
    """Measure the missing cells, one seed after the other."""
    for seed in SEEDS:
        for size in SIZES:
            for row in ROWS:
                cells.measure(pretraining_cell(size, row, seed), pretrain, cells, size, row, seed)
            for data in RESOLUTIONS:
                for row in [*ROWS, SCRATCH_ROW]:
                    cells.measure(transfer_cell(size, data, row, seed), transfer, cells, size, data, row, seed)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells; what is not measured yet is a dash."""
    pretrained, transferred = [], []
    for size in SIZES:
        for row in ROWS:
            pretrained.append([size, row, settings_text(row), *figures(cells, size, DATA, row)])
        for data in RESOLUTIONS:
            for row in [*ROWS, SCRATCH_ROW]:
                transferred.append([size, data, row, *figures(cells, size, data, row)])
    columns = ["MACs", "pretraining", "seeds", "test %", "difference to plain"]
    on_fashion = [*columns[:2], "settings that differ from plain", *columns[2:]]
    on_sets = [columns[0], "data set", *columns[1:]]
    rates = ["MACs", "data set", "network", *(f"rate {rate:g}" for rate in RATES), "chosen"]
    return [
        Table(page="transfer", name="transfer", columns=on_sets, rows=transferred, caption=CAPTION),
        Table(page="transfer", name="transfer-pretraining", columns=on_fashion, rows=pretrained, caption=CAPTION),
        Table(page="transfer", name="transfer-rates", columns=rates, rows=list(rate_rows(cells))),
    ]


def figures(cells: Mapping[str, dict], size: str, data: str, row: str) -> list[str]:
    """Return the seeds of a training, its accuracy and the difference to plain."""
    trained, plain = by_seed(cells, f"{size} {data} {row}", SEEDS), by_seed(cells, f"{size} {data} {PLAIN}", SEEDS)
    if not trained:
        return ["0", "-", "-"]
    accuracies, of_plain = values_of(trained, "accuracy"), values_of(plain, "accuracy")
    difference = "-"
    if row != PLAIN and accuracies.keys() & of_plain.keys():
        difference = paired_difference(accuracies, of_plain)
    return [str(len(trained)), mean_std(list(accuracies.values())), difference]


def settings_text(row: str) -> str:
    """Return the settings of a row as a command has them."""
    flags = []
    for name, value in ROWS[row].items():
        flag = f"--{name.replace('_', '-')}"
        flags.append(flag if value is True else f"{flag} {value}")
    return f"`{' '.join(flags)}`" if flags else "none"


def rate_rows(cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield the accuracies on search-val of the rates that were tried, and which was chosen."""
    for size in SIZES:
        for data in RESOLUTIONS:
            for row in (PLAIN, SCRATCH_ROW):
                names = [rate_cell(size, data, row, rate) for rate in RATES]
                tried = [f"{cells[name]['val']:.2f}" if name in cells else "-" for name in names]
                chosen = f"{best_rate(cells, size, data, row):g}" if "-" not in tried else "-"
                yield [size, data, row, *tried, chosen]


if __name__ == "__main__":
    run_benchmark("transfer", __doc__, measure=measure, tables=tables)
