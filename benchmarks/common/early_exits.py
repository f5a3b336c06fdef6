"""Early exits on the networks of benchmarks: side heads, what exits save on the test images, and the rows of tables."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tinynas import SideNet
from tinynas.data.base import Data
from tinynas.early_exit.calibration import ExitOutputs, calibration_error, fit_temperature, reliability
from tinynas.early_exit.network import EarlyExits
from tinynas.early_exit.thresholds import OperatingPoint, ThresholdSweep, choose_accurate, sweep
from tinynas.models.profile import macs_by_torch
from tinynas.utils.units import format_count

from .retraining import SEEDS
from .stats import by_seed, mean_std
from .tables import Table

DROPS = (0.0, 0.5, 1.0)  # of accuracy on search-val, in percentage points
BATCH_SIZES = (1, 128)
SINGLE_IMAGES = 1000  # that are timed in batches of 1
COLUMNS = [
    "MainNet",
    "MACs",
    "test accuracy %",
    "seeds",
    "exits at",
    "ECE of the exits, calibrated",
    "allowed drop on search-val, percentage points",
    "MACs saved %",
    "change of test accuracy",
    *[f"time, batch {size}" for size in BATCH_SIZES],
]


class Setup(NamedTuple):
    """A MainNet for grey images, with early exits.

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

    @property
    def image(self) -> Tensor:
        """A black image (1, 1, H, W)."""
        return black_image(self.resolution)


def black_image(resolution: int) -> Tensor:
    """Return a black grey image (1, 1, H, W)."""
    return torch.zeros(1, 1, resolution, resolution)


def best_sidenet(mainnet: nn.Module, taps: list[str], resolution: int, data: Data) -> Setup:
    """Return the SideNet with the best curve on search-val, of every choice of taps."""
    image = black_image(resolution)
    complete = SideNet(mainnet, taps, inputs=image)
    complete.fit(data.evaluation_batches(data.train, resolution))
    val = complete.observe(data.evaluation_batches(data.val, resolution))
    head_macs = [head.macs for head in complete.heads]
    hypervolumes = sweep(val, fit_temperatures(val), complete.macs(image)).subset_hypervolumes(head_macs)
    subset = max(hypervolumes, key=hypervolumes.__getitem__)
    chosen = [taps[number] for number in subset]
    net = SideNet(mainnet, chosen, inputs=image)
    for head, number in zip(net.heads, subset, strict=True):
        head.load_state_dict(complete.heads[number].state_dict())
    return Setup(mainnet, net, chosen, resolution)


def fit_temperatures(val: ExitOutputs) -> list[float]:
    """Return the temperature of every exit that fits its outputs on search-val best."""
    return [fit_temperature(logits, val.labels) for logits in val.logits]


def measure_setup(setup: Setup, data: Data) -> dict:
    """Return what early exits do to a MainNet, times included."""
    val = setup.net.observe(data.evaluation_batches(data.val, setup.resolution))
    test = setup.net.observe(data.evaluation_batches(data.test, setup.resolution))
    setup.net.calibrate(val)
    macs = macs_by_torch(setup.mainnet, setup.image)
    temperatures = setup.net.temperatures.tolist()
    measured = measure_outputs(val, test, temperatures, macs=setup.net.macs(setup.image), mainnet_macs=macs)
    thresholds = [point["thresholds"] for point in measured["losses"]]
    for point, ratios in zip(measured["losses"], relative_times(setup, thresholds, data), strict=True):
        point["time"] = ratios
    return {"taps": setup.taps, **measured}


def measure_outputs(
    val: ExitOutputs, test: ExitOutputs, temperatures: Sequence[float], *, macs: Sequence[int], mainnet_macs: int
) -> dict:
    """Return what early exits do on the test images, at thresholds that are chosen on search-val.

    Args:
        val: The exits' outputs on search-val, of a network or of its files.
        test: The same on the test images.
        temperatures: Temperature of each exit, fitted on search-val.
        macs: MACs of an image that takes each exit.
        mainnet_macs: MACs of the network without exits.
    """
    on_val, on_test = sweep(val, temperatures, macs), sweep(test, temperatures, macs)
    curve = on_test.at([point.thresholds for point in on_val.curve()][::8])
    return {
        "accuracy": 100 * float(on_test.correct[-1].mean()),
        "macs": mainnet_macs,
        "worst_macs": macs[-1],
        "losses": losses(on_val, on_test, on_val.curve(), mainnet_macs),
        "errors": [calibration_errors(test, [1.0] * len(macs)), calibration_errors(test, temperatures)],
        "curve": [[point.macs, point.accuracy] for point in curve],
    }


def losses(
    on_val: ThresholdSweep,
    on_test: ThresholdSweep,
    candidates: Sequence[OperatingPoint],
    mainnet_macs: int,
    reference: float | None = None,
) -> list[dict]:
    """Return what thresholds do on the test images, for each drop the cheapest candidate that loses no more.

    Args:
        on_val: The sweep on search-val.
        on_test: The sweep on the test images.
        candidates: Operating points on search-val.
        mainnet_macs: MACs of the network without exits.
        reference: The accuracy on search-val that the drops are from, in percent; by default the last exit's. Where no
            candidate has it, the most accurate one is taken.
    """
    whole = 100 * float(on_val.correct[-1].mean()) if reference is None else reference
    best = max(point.accuracy for point in candidates)
    points = []
    for drop in DROPS:
        chosen = choose_accurate(candidates, min(whole - drop, best))
        (point,) = on_test.at([chosen.thresholds])
        points.append(
            {
                "allowed": drop,
                "thresholds": point.thresholds,
                "accuracy": point.accuracy,
                "saved": 1 - point.macs / mainnet_macs,
            }
        )
    return points


def calibration_errors(outputs: ExitOutputs, temperatures: Sequence[float]) -> list[float]:
    """Return the expected calibration error of every exit, in percentage points."""
    errors = []
    for confidence, correct in zip(outputs.confidences(temperatures), outputs.correct(), strict=True):
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


def mainnets_table(name: str, mainnets: Sequence[str], cells: Mapping[str, dict]) -> Table:
    """Return the table of the saved cells of several MainNets."""
    rows = []
    for mainnet in mainnets:
        measured = list(by_seed(cells, mainnet, SEEDS).values())
        if measured:
            rows += mainnet_rows(mainnet, measured)
    return Table(page="early-exits", name=name, columns=COLUMNS, rows=rows)


def mainnet_rows(name: str, measured: Sequence[Mapping]) -> list[list[str]]:
    """Return a MainNet's rows, one for each allowed drop of accuracy: means and deviations over the seeds."""
    taps: set[str] = set()
    for cell in measured:
        taps.update(cell["taps"])
    accuracy = mean_std([cell["accuracy"] for cell in measured])
    head = [name, format_count(measured[0]["macs"]), accuracy, str(len(measured)), ", ".join(sorted(taps))]
    head.append(errors_text(measured, slice(-1)))
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


def errors_text(measured: Sequence[Mapping], exits: slice) -> str:
    """Return the calibration errors of some exits, their mean, at temperature 1 and calibrated."""
    texts = []
    for kind in (0, 1):
        texts.append(mean_std([mean(cell["errors"][kind][exits]) for cell in measured]))
    return " → ".join(texts)
