"""Does NetAug make small networks more accurate, and what of it? Fashion-MNIST.

The networks found for 0.1M, 0.3M and 1M MACs, trained for 20 epochs in batches of 128, and a large network of 5.7M
MACs, trained for 10. Three seeds at 0.1M and 0.3M (two of the ablation), one of the others. Rows differ from plain in
what their name says and, with NetAug, in the initial weights; NetAug's schedule is the paper's unless they say so. The
difference to plain is paired by seed, with the 95% interval of Student's t. Training time is relative to plain, from
interleaved epochs in one process.

Takes about 15 hours on one core. Writes the tables `netaug`, `netaug-epochs` and `netaug-settings` of
docs/results/netaug.md.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from statistics import mean

import numpy as np
from common.cells import Cells
from common.command import run_benchmark
from common.netaug_rows import (
    ABLATION,
    EPOCHS,
    MAIN,
    NETAUG_TIME,
    UNTIMED,
    Training,
    label,
    plain_epochs,
    trainings,
)
from common.networks import LARGE, budget_network
from common.paths import PICTURES, supernet_run
from common.retraining import SEEDS, SIZES, netaug_folder, retrain_network
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.supernets import DATA, SUPERNET, trained_supernet
from common.tables import Table
from common.training_time import epoch_costs, epoch_times, relative_time
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tinynas import Arch
from tinynas.data.registry import load_data
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plots import Series, pareto_plot
from tinynas.pipelines.planning import default_config
from tinynas.pipelines.teachers import load_teacher
from tinynas.utils.overrides import Overrides

ALL_SIZES = ("0.1M", "0.3M", "1M", "large")
CAPTION = (
    "Plain rows start from `kaiming-normal` weights, NetAug's rows from `kaiming-uniform` weights unless they say "
    "`--init`: their difference to plain is the effect of NetAug and of the initial weights together."
)
IN_CURVES = ("plain", "plain, NetAug's time", "NetAug", "NetAug + teacher", "NetAug, from the supernet")
CATCH_UP = ("NetAug", "NetAug, in the first half only", "NetAug + teacher", "NetAug, from the supernet")


def configuration(training: Training, arch: Arch, epochs: int) -> RetrainConfig:
    """Return the configuration of a training."""
    settings = {"epochs": epochs, "batch_size": 128, "seed": training.seed, **training.change}
    overrides = Overrides.read(settings, RetrainConfig)
    return overrides.apply(default_config(arch, DATA, netaug=bool(overrides.get("netaug"))))


def train(training: Training, arch: Arch, epochs: int) -> dict:
    """Return the metrics, the configuration, and seconds and accuracy on search-val after every epoch."""
    trained_supernet()  # some trainings start or learn from it
    config = configuration(training, arch, epochs)
    folder = netaug_folder(training.cell)
    metrics = retrain_network(folder, arch, config)
    curve = []
    for line in (folder / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        curve.append([round(record["seconds"], 1), round(record["val_accuracy"], 3)])
    return {**metrics, "config": asdict(config), "curve": curve}


def time_epochs(size: str, arch: Arch) -> dict[str, float]:
    """Return `epoch_times`, with the supernet as a teacher; without, and once, for the large network."""
    if size == "large":
        return epoch_times(arch, DATA, batch_size=128, rounds=1)
    trained_supernet()
    teacher = load_teacher("supernet", supernet_run(SUPERNET), arch, load_data(DATA))
    return epoch_times(arch, DATA, batch_size=128, teacher=teacher)


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    archs = {}
    for size in SIZES:
        archs[size] = budget_network(size)
    archs[LARGE] = budget_network(LARGE)
    for size, arch in archs.items():
        cells.require(f"epoch times {size}", time_epochs, size, arch)
    for training in trainings():
        arch, epochs = archs[training.size], training.epochs
        if epochs == NETAUG_TIME:
            config = configuration(Training(training.size, "NetAug", training.seed), arch, EPOCHS)
            times = cells.read()[f"epoch times {training.size}"]
            epochs = round(EPOCHS * relative_time(asdict(config), times, EPOCHS))
        cells.measure(training.cell, train, training, arch, epochs)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    main, catch_up = [], []
    for size in ALL_SIZES:
        for name in MAIN:
            main += training_row(cells, size, name)
        for name in CATCH_UP:
            catch_up += catch_up_row(cells, size, name)
    settings = []
    for name in ABLATION:
        for row in training_row(cells, "0.1M", name):
            settings.append([row[column] for column in (1, 2, 3, 5, 6)])  # without size and training accuracy
    columns = ["network", "training", "seeds", "test %", "train %", "difference to plain", "training time"]
    changed = ["NetAug (the paper's schedule), changed", "seeds", "test %", "difference to plain", "training time"]
    reached = ["network", "training", "epochs to plain's last accuracy on search-val, by seed"]
    return [
        Table(page="netaug", name="netaug", columns=columns, rows=main, caption=CAPTION),
        Table(page="netaug", name="netaug-epochs", columns=reached, rows=catch_up, caption=CAPTION),
        Table(page="netaug", name="netaug-settings", columns=changed, rows=settings, caption=CAPTION),
    ]


def training_row(cells: Mapping, size: str, name: str) -> list[list[str]]:
    """Return the row of a training with its means over the seeds; no row if there are no cells."""
    trained = by_seed(cells, f"{size} {name}", SEEDS)
    plain = by_seed(cells, f"{size} plain", SEEDS)
    if not trained or not plain:
        return []
    accuracies = values_of(trained, "accuracy")
    difference = "" if name == "plain" else paired_difference(accuracies, values_of(plain, "accuracy"))
    test, train = mean_std(list(accuracies.values())), mean_std(list(values_of(trained, "train_accuracy").values()))
    time = training_time(cells, size, name, trained)
    return [[size, label(name), str(len(trained)), test, train, difference, time]]


def training_time(cells: Mapping, size: str, name: str, trained: Mapping[int, dict]) -> str:
    """Return a training's time over plain's; empty if it is not known."""
    times = cells.get(f"epoch times {size}")
    if name in UNTIMED or times is None:
        return ""
    config = next(iter(trained.values()))["config"]
    return f"{relative_time(config, times, plain_epochs(size)):.1f}"


def catch_up_row(cells: Mapping, size: str, name: str) -> list[list[str]]:
    """Return the epochs after which a training is as accurate on search-val as plain training at its end."""
    trained, plain = by_seed(cells, f"{size} {name}", SEEDS), by_seed(cells, f"{size} plain", SEEDS)
    epochs = []
    for seed in trained.keys() & plain.keys():
        epochs.append(str(epochs_to(plain[seed]["curve"][-1][1], trained[seed]["curve"])))
    return [[size, label(name), ", ".join(epochs)]] if epochs else []


def epochs_to(accuracy: float, curve: list[list[float]]) -> int | str:
    """Return after how many epochs a curve reaches an accuracy; "never" if it does not."""
    for epoch, (_, reached) in enumerate(curve, 1):
        if reached >= accuracy:
            return epoch
    return "never"


def draw(cells: dict) -> None:
    """Draw accuracy over MACs, and a picture of learning curves for each size."""
    draw_budgets(cells)
    for size in ALL_SIZES:
        draw_curves(cells, size)


def draw_budgets(cells: dict) -> None:
    """Draw the networks of every budget, retrained in three ways: means over the seeds."""
    series = []
    for name, marker in (("plain", "s"), ("NetAug", "*"), ("NetAug + teacher", "^")):
        points = []
        for size in SIZES:
            trained = by_seed(cells, f"{size} {name}", SEEDS)
            if trained:
                macs = values_of(trained, "macs").values()
                points.append((max(macs), mean(values_of(trained, "accuracy").values())))
        if points:
            series.append(Series(label=name, points=points, marker=marker))
    title = "Searched networks, retrained: test accuracy on Fashion-MNIST, mean over seeds"
    (PICTURES / "netaug.png").write_bytes(pareto_plot(series, title=title))


def draw_curves(cells: dict, size: str) -> None:
    """Draw accuracy on search-val over epochs, and over their time: means over the seeds that all have."""
    rows = {}
    for name in IN_CURVES:
        if trained := by_seed(cells, f"{size} {name}", SEEDS):
            rows[name] = trained
    seeds = [seed for seed in SEEDS if all(seed in trained for trained in rows.values())]
    times = cells[f"epoch times {size}"]
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for name, trained in rows.items():
        accuracies = np.mean([np.array(trained[seed]["curve"])[:, 1] for seed in seeds], axis=0)
        by_epoch.plot(np.arange(len(accuracies)) + 1, accuracies, label=name)
        costs = list(epoch_costs(trained[seeds[0]]["config"], times))
        by_time.plot(np.cumsum(costs), accuracies, label=name)
    last = [cell["curve"][-1][1] for cell in rows["plain"].values()]
    finish_axes(by_epoch, "epochs", mean(last) - 6)
    finish_axes(by_time, "seconds of training", mean(last) - 6)
    by_epoch.set_ylabel("accuracy on search-val (%)")
    by_epoch.legend(fontsize=8)
    subject = "large" if size == "large" else f"{size} MACs"
    averaged = f"mean of {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    figure.suptitle(f"{subject}, {averaged}", fontsize=11)
    figure.savefig(PICTURES / f"netaug-{size}.png")


def finish_axes(axes: Axes, label: str, bottom: float) -> None:
    """Set what both axes of the learning curves have."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom, None)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    run_benchmark("netaug", __doc__, measure=measure, tables=tables, draw=draw)
