"""How much time do early exits save in serving? MainNets beside their SideNets, in PyTorch and onnxruntime.

Three MainNets of sidenet.py, seed 0, on Fashion-MNIST, with side heads on every stage or layer. The threshold is the
cheapest that loses at most 0.5 percentage points on search-val. MainNet and SideNet, and their ONNX files in the loop
of docs/early-exits.md, take the same batches of test images one after the other, in one process, on one thread. Times
are processor time, which other processes disturb least.

Takes about 30 minutes on one core, training of the MainNets included. Writes the table `serving` of
docs/results/early-exits.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.mainnets import LARGEST, RESNET, ROWS, mainnet_of
from common.paths import PAGES
from common.supernets import DATA
from common.tables import Table
from common.timing import Run, time_rounds
from torch import Tensor, nn

from tinynas import SideNet, export_exits
from tinynas.data.registry import load_data
from tinynas.deploy.onnx import create_session, export_module
from tinynas.early_exit.thresholds import choose_accurate, sweep
from tinynas.utils.io import read_json

MAINNETS = {
    LARGEST: ["stages.0", "stages.1"],
    RESNET: ["layer1", "layer2", "layer3"],
    ROWS: ["encoder.layers.0", "encoder.layers.1", "encoder.layers.2"],
}
DROP = 0.5  # percentage points of accuracy on search-val
BATCHES = {1: 2000, 8: 500, 128: 78}  # how many, by size
RUNTIMES = ("PyTorch", "onnxruntime")
PERCENTILES = (50, 90, 99)
GROUPS = 5  # of batches, the range of whose ratios is reported
PROGRAM = re.compile(r'^```python title="run_exits.py"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Served:
    """A network with and without exits, in both runtimes.

    Attributes:
        runs: MainNet and SideNet in PyTorch, then in onnxruntime: functions of a batch of images.
        images: Test images.
        accuracies: On the test split, in percent: without and with exits.
    """

    runs: list[Callable[[Tensor], object]]
    images: Tensor
    accuracies: tuple[float, float]


@cache
def served(name: str) -> Served:
    """Return a network with exits, trained and exported."""
    torch.set_num_threads(1)
    data = load_data(DATA)
    net, _, side = mainnet_of(name, 0, data)
    example = torch.zeros(2, 1, side, side)
    exits = SideNet(net, MAINNETS[name], inputs=example)
    exits.fit(data.evaluation_batches(data.train, side))
    held_out = exits.observe(data.evaluation_batches(data.val, side))
    exits.calibrate(held_out)
    temperatures, macs = exits.temperatures.tolist(), exits.macs(example)
    val = sweep(held_out, temperatures, macs)
    threshold = choose_accurate(val.curve(), 100 * float(val.correct[-1].mean()) - DROP).thresholds
    test = sweep(exits.observe(data.evaluation_batches(data.test, side)), temperatures, macs)
    (point,) = test.at([threshold])
    images = torch.cat([images for images, _ in data.evaluation_batches(data.test, side)])
    runs: list[Callable[[Tensor], object]] = [net, partial(exits, threshold=threshold)]
    runs += [onnx_mainnet(net, example), onnx_exits(exits, images[:8], threshold)]
    return Served(runs, images, (100 * float(test.correct[-1].mean()), point.accuracy))


def onnx_mainnet(net: nn.Module, example: Tensor) -> Callable[[Tensor], object]:
    """Return a function that runs the whole network's ONNX file."""
    shapes = ({0: torch.export.Dim("batch")},)
    proto = export_module(net, {"images": example}, ["logits"], dynamic_shapes=shapes)
    session = create_session(proto.SerializeToString())

    def run(images: Tensor) -> object:
        return session.run(None, {"images": images.numpy()})

    return run


def onnx_exits(exits: SideNet, example: Tensor, threshold: Sequence[float]) -> Callable[[Tensor], object]:
    """Return a function that runs the ONNX files of the parts in the loop of the documentation."""
    program: dict = {"__name__": "run_exits"}
    exec(PROGRAM.search((PAGES.parent / "early-exits.md").read_text()).group(1), program)
    with TemporaryDirectory() as folder:
        (path,) = export_exits(exits, Path(folder), inputs=example, threshold=threshold)
        parts = [(part, create_session((path.parent / part["file"]).read_bytes())) for part in read_json(path)["parts"]]
    name = parts[0][0]["inputs"][0]["name"]

    def run(images: Tensor) -> object:
        return program["predict"](parts, {name: images.numpy()})

    return run


def measure_batches(name: str, size: int) -> dict:
    """Return what batches of a size take, by runtime."""
    network = served(name)
    with torch.inference_mode():
        times = np.asarray(time_rounds(rounds(network, size)))
    cell: dict = {"accuracies": network.accuracies}
    for number, runtime in enumerate(RUNTIMES):
        without, with_exits = times[:, 2 * number], times[:, 2 * number + 1]
        cell[runtime] = {
            "ratios": group_ratios(without, with_exits),
            "images_per_second": [size / without.mean(), size / with_exits.mean()],
            "milliseconds": [
                (1000 * np.percentile(without, PERCENTILES)).tolist(),
                (1000 * np.percentile(with_exits, PERCENTILES)).tolist(),
            ],
        }
    return cell


def group_ratios(without: np.ndarray, with_exits: np.ndarray) -> list[float]:
    """Return the time with exits over the time without, of each group of consecutive batches."""
    groups = zip(np.array_split(without, GROUPS), np.array_split(with_exits, GROUPS), strict=True)
    return [float(group[1].sum() / group[0].sum()) for group in groups]


def rounds(network: Served, size: int) -> Iterator[list[Run]]:
    """Yield, for each batch, the calls of all ways to run the network."""
    for batch in torch.split(network.images[: size * BATCHES[size]], size):
        yield [partial(run, batch) for run in network.runs]


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    for name in MAINNETS:
        for size in BATCHES:
            cells.measure(f"{name} batch {size}", measure_batches, name, size)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    rows = []
    for name in MAINNETS:
        for runtime in RUNTIMES:
            for size in BATCHES:
                if f"{name} batch {size}" in cells:
                    rows.append(row(name, runtime, size, cells[f"{name} batch {size}"]))
    columns = ["MainNet", "accuracy %, without → with exits", "runtime", "batch"]
    columns += ["images a second, without → with exits", "time with exits / without (range)"]
    columns += ["milliseconds a batch, p50 / p90 / p99, without", "with exits"]
    return [Table(page="early-exits", name="serving", columns=columns, rows=rows)]


def row(name: str, runtime: str, size: int, cell: Mapping) -> list[str]:
    """Return the row of a network, a runtime and a size of batches."""
    measured = cell[runtime]
    ratios = measured["ratios"]
    without, with_exits = measured["images_per_second"]
    head = [name, "{:.2f} → {:.2f}".format(*cell["accuracies"])]
    if runtime != RUNTIMES[0] or size != min(BATCHES):
        head = ["", ""]
    figures = [runtime, str(size), f"{without:,.0f} → {with_exits:,.0f}"]
    figures.append(f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    figures += map(slashed, measured["milliseconds"])
    return head + figures


def slashed(values: Sequence[float]) -> str:
    """Return numbers with three digits, between slashes."""
    return " / ".join(f"{value:.3g}" for value in values)


if __name__ == "__main__":
    run_benchmark("serving", __doc__, measure=measure, tables=tables)
