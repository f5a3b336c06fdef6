"""How much compute do early exits save? Four MainNets on Fashion-MNIST, 3 seeds.

Side heads of 64 hidden features learn from the training images. Taps (any choice of them), temperatures and thresholds
are chosen on search-val: the cheapest that there loses 0, 0.5 or 1 percentage point to the MainNet. All figures are of
the test images. Time is that of all test images over the MainNet's (1,000 of them in batches of 1), one thread, the two
interleaved in one process, the least of three.

Takes some hours on one core, never timed as a whole; the cascade needs the networks of netaug.py. Writes the table
`early-exits` of docs/results/early-exits.md.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.mainnets import LARGEST, RESNET, ROWS, SIDE, RowTransformer, foreign_network, largest_network, resnet18
from common.paths import PICTURES, model_in
from common.retraining import SEEDS, netaug_folder
from common.stats import by_seed, mean_std
from common.supernets import DATA
from common.tables import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor, nn

from tinynas import SideNet
from tinynas.data.base import Data, Split
from tinynas.data.registry import load_data
from tinynas.early_exit.calibration import calibration_error, reliability
from tinynas.early_exit.cascade import Cascade
from tinynas.early_exit.network import EarlyExits
from tinynas.early_exit.thresholds import ThresholdSweep, choose, sweep
from tinynas.models.model_file import read_model
from tinynas.models.profile import macs_by_torch
from tinynas.utils.units import format_count

DROPS = (0.0, 0.5, 1.0)  # of accuracy on search-val, in percentage points
BATCH_SIZES = (1, 128)
SINGLE_IMAGES = 1000  # that are timed in batches of 1
CASCADE = "cascade, 0.3M + micro-v1's largest"
MAINNETS = (LARGEST, RESNET, ROWS, CASCADE)


class Setup(NamedTuple):
    """A MainNet with early exits.

    Attributes:
        mainnet: The network without exits.
        net: The same with exits.
        taps: Where the exits are.
        resolution: Pixels along a side of its images.
    """

    mainnet: nn.Module
    net: EarlyExits
    taps: list[str]
    resolution: int


def set_up(name: str, seed: int, data: Data) -> Setup:
    """Return a MainNet and its early exits, trained."""
    if name == RESNET:
        return best_sidenet(foreign_network(resnet18, name, seed, data), ["layer1", "layer2", "layer3"], SIDE, data)
    if name == ROWS:
        taps = [f"encoder.layers.{layer}" for layer in range(3)]
        return best_sidenet(foreign_network(RowTransformer, name, seed, data), taps, SIDE, data)
    big = largest_network(seed)
    if name == LARGEST:
        taps = [f"stages.{stage}" for stage in range(len(big.arch.stages) - 1)]
        return best_sidenet(big, taps, big.arch.resolution, data)
    tiny = read_model(model_in(netaug_folder(f"0.3M plain seed {seed}"))).net
    resolutions = tiny.arch.resolution, big.arch.resolution
    return Setup(big, Cascade(tiny, big, resolutions), ["0.3M"], big.arch.resolution)


def best_sidenet(mainnet: nn.Module, taps: list[str], resolution: int, data: Data) -> Setup:
    """Return the SideNet with the best curve on search-val, of every choice of taps."""
    image = torch.zeros(1, 1, resolution, resolution)
    complete = SideNet(mainnet, taps, inputs=image)
    complete.fit(data.evaluation_batches(data.train, resolution))
    head_macs = [head.macs for head in complete.heads]
    hypervolumes = calibrated_sweep(complete, image, data).subset_hypervolumes(head_macs)
    subset = max(hypervolumes, key=hypervolumes.__getitem__)
    chosen = [taps[number] for number in subset]
    net = SideNet(mainnet, chosen, inputs=image)
    for head, number in zip(net.heads, subset, strict=True):
        head.load_state_dict(complete.heads[number].state_dict())
    return Setup(mainnet, net, chosen, resolution)


def calibrated_sweep(net: EarlyExits, image: Tensor, data: Data) -> ThresholdSweep:
    """Fit the temperatures on search-val; return the threshold sweep there."""
    outputs = net.observe(data.evaluation_batches(data.val, image.shape[-1]))
    net.calibrate(outputs)
    return sweep(outputs, net.temperatures.tolist(), net.macs(image))


def sweep_on(split: Split, net: EarlyExits, image: Tensor, data: Data) -> ThresholdSweep:
    """Return the threshold sweep on a split."""
    outputs = net.observe(data.evaluation_batches(split, image.shape[-1]))
    return sweep(outputs, net.temperatures.tolist(), net.macs(image))


def measure_mainnet(name: str, seed: int) -> dict:
    """Return what early exits do to a MainNet."""
    data = load_data(DATA)
    setup = set_up(name, seed, data)
    image = torch.zeros(1, 1, setup.resolution, setup.resolution)
    val = calibrated_sweep(setup.net, image, data)
    test = sweep_on(data.test, setup.net, image, data)
    thresholds = []
    for drop in DROPS:
        accuracy = 100 * float(val.correct[-1].mean()) - drop
        thresholds.append(choose(val.curve(), accuracy=accuracy).threshold)
    macs = macs_by_torch(setup.mainnet, image)
    times = relative_times(setup, thresholds, data)
    points = []
    for drop, point, time_ratios in zip(DROPS, test.at(thresholds), times, strict=True):
        points.append(
            {
                "allowed": drop,
                "threshold": point.threshold,
                "accuracy": point.accuracy,
                "saved": 1 - point.macs / macs,
                "time": time_ratios,
            }
        )
    curve = test.at([point.threshold for point in val.curve()][::8])
    return {
        "taps": setup.taps,
        "accuracy": 100 * float(test.correct[-1].mean()),
        "macs": macs,
        "worst_macs": test.macs[-1],
        "losses": points,
        "errors": [calibration_errors(test, test.uncalibrated), calibration_errors(test, test.confidences)],
        "curve": [[point.macs, point.accuracy] for point in curve],
    }


def calibration_errors(test: ThresholdSweep, confidences: np.ndarray) -> list[float]:
    """Return the expected calibration error of every exit, in percentage points."""
    errors = []
    for confidence, correct in zip(confidences, test.correct, strict=True):
        errors.append(calibration_error(reliability(confidence, correct)))
    return errors


@torch.inference_mode()
def relative_times(setup: Setup, thresholds: Sequence[float], data: Data) -> list[list[float]]:
    """Return seconds with exits over seconds without: for each threshold, in batches of each size."""
    torch.set_num_threads(1)
    images = torch.cat([images for images, _ in data.evaluation_batches(data.test, setup.resolution)])
    networks: list[Callable[[Tensor], object]] = [setup.mainnet]
    for threshold in thresholds:
        networks.append(partial(setup.net, threshold=threshold))
    ratios = []  # by batch size
    for size in BATCH_SIZES:
        batches = torch.split(images[:SINGLE_IMAGES] if size == 1 else images, size)
        rounds = [list(seconds_of(networks, batches)) for _ in range(3)]
        least = np.min(rounds, axis=0)
        ratios.append(least[1:] / least[0])
    return np.transpose(ratios).tolist()


def seconds_of(networks: Sequence[Callable[[Tensor], object]], batches: Sequence[Tensor]) -> Iterator[float]:
    """Yield the seconds of processor time that each network takes for all batches."""
    for network in networks:
        start = time.thread_time()
        for batch in batches:
            network(batch)
        yield time.thread_time() - start


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    for seed in SEEDS:
        for name in (LARGEST, ROWS, CASCADE, RESNET):
            cells.measure(f"{name} seed {seed}", measure_mainnet, name, seed)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    rows = []
    for name in MAINNETS:
        measured = list(by_seed(cells, name, SEEDS).values())
        if measured:
            rows += mainnet_rows(name, measured)
    columns = ["MainNet", "MACs", "seeds", "exits at", "ECE of the exits, calibrated"]
    columns += ["allowed drop on search-val, percentage points", "MACs saved %", "change of test accuracy"]
    columns += [f"time, batch {size}" for size in BATCH_SIZES]
    return [Table(page="early-exits", name="early-exits", columns=columns, rows=rows)]


def mainnet_rows(name: str, measured: Sequence[Mapping]) -> list[list[str]]:
    """Return a MainNet's rows, one for each allowed drop of accuracy: means and deviations over the seeds."""
    taps: set[str] = set()
    for cell in measured:
        taps.update(cell["taps"])
    errors = []  # at temperature 1, and calibrated; without the last exit's
    for kind in (0, 1):
        errors.append(mean_std([mean(cell["errors"][kind][:-1]) for cell in measured]))
    head = [name, format_count(measured[0]["macs"]), str(len(measured)), ", ".join(sorted(taps)), " → ".join(errors)]
    rows = []
    for number, drop in enumerate(DROPS):
        saved, changes, times = [], [], []
        for cell in measured:
            point = cell["losses"][number]
            saved.append(100 * point["saved"])
            changes.append(point["accuracy"] - cell["accuracy"])
            times.append(point["time"])
        figures = [f"{drop:g}", mean_std(saved), mean_std(changes)]
        figures += map(mean_std, np.transpose(times).tolist())
        rows.append((head if number == 0 else [""] * len(head)) + figures)
    return rows


def draw(cells: dict) -> None:
    """Draw test accuracy over average MACs of every MainNet, a curve for each seed."""
    figure = Figure(figsize=(4 * len(MAINNETS), 3.6), dpi=130, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(MAINNETS)), MAINNETS, strict=True):
        draw_mainnet(axes, name, by_seed(cells, name, SEEDS))
    figure.axes[0].set_ylabel("test accuracy (%); star: MainNet")
    figure.savefig(PICTURES / "sidenet.png")


def draw_mainnet(axes: Axes, name: str, measured: Mapping[int, dict]) -> None:
    """Draw the curves of a MainNet."""
    for cell in measured.values():
        macs, accuracies = np.transpose(cell["curve"])
        axes.plot(macs, accuracies, color="C0", linewidth=1, alpha=0.7)
        axes.plot(cell["macs"], cell["accuracy"], "*", color="C3", markersize=9)
    axes.set_title(name, fontsize=9)
    axes.xaxis.set_major_formatter(FuncFormatter(count_label))
    axes.set_xlabel("average MACs")
    axes.grid(alpha=0.3)


def count_label(value: float, position: int) -> str:
    """Return the label of a tick on an axis of MACs."""
    return format_count(value)


if __name__ == "__main__":
    run_benchmark("sidenet", __doc__, measure=measure, tables=tables, draw=draw)
