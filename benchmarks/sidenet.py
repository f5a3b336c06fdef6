"""How much compute do early exits save? Four MainNets on Fashion-MNIST, 3 seeds.

Side heads of 64 hidden features learn from the training images. Taps (any choice of them), temperatures and thresholds
are chosen on search-val: the cheapest that there loses 0, 0.5 or 1 percentage point to the MainNet. All figures are of
the test images. Time is that of all test images over the MainNet's (1,000 of them in batches of 1), one thread, the two
interleaved in one process, the least of three.

Takes some hours on one core, never timed as a whole; the cascade needs the networks of netaug.py. Writes the table
`early-exits` of docs/results/early-exits.md.
"""

from collections.abc import Mapping

import numpy as np
from common.cells import Cells
from common.command import run_benchmark
from common.early_exits import Setup, best_sidenet, mainnets_table, measure_setup
from common.mainnets import LARGEST, RESNET, ROWS, largest_network, mainnet_of
from common.paths import PICTURES, model_in
from common.retraining import SEEDS, netaug_folder
from common.stats import by_seed
from common.supernets import DATA
from common.tables import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.early_exit.cascade import Cascade
from tinynas.models.model_file import read_model
from tinynas.utils.units import format_count

CASCADE = "cascade, 0.3M + micro-v1's largest"
MAINNETS = (LARGEST, RESNET, ROWS, CASCADE)


def set_up(name: str, seed: int, data: Data) -> Setup:
    """Return a MainNet and its early exits, trained."""
    if name != CASCADE:
        return best_sidenet(*mainnet_of(name, seed, data), data)
    big = largest_network(seed)
    tiny = read_model(model_in(netaug_folder(f"0.3M plain seed {seed}"))).net
    resolutions = tiny.arch.resolution, big.arch.resolution
    return Setup(big, Cascade(tiny, big, resolutions), ["0.3M"], big.arch.resolution)


def measure_mainnet(name: str, seed: int) -> dict:
    """Return what early exits do to a MainNet."""
    data = load_data(DATA)
    return measure_setup(set_up(name, seed, data), data)


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    for seed in SEEDS:
        for name in (LARGEST, ROWS, CASCADE, RESNET):
            cells.measure(f"{name} seed {seed}", measure_mainnet, name, seed)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    return [mainnets_table("early-exits", MAINNETS, cells)]


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
