"""What a network becomes on its way to a chip: counts, int8 accuracy, and latency beside what was counted.

    python benchmarks/deploy.py     (a re-run goes on)

Searched networks, which benchmarks/scaling.py (8 epochs) and netaug.py (20) have retrained on Fashion-MNIST, are
exported as they were delivered, and accuracy is that of the files on the test images. Published networks have their
published size and fresh weights: they are counted and timed. Latency: one image, one thread, median in processor time,
a network's forms in turns.
"""

from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import numpy as np
import torch
from cells import PICTURES, SCRATCH, Cells
from matplotlib.figure import Figure
from netaug import SEEDS, SIZES
from rich.console import Console
from rich.table import Table
from scaling import SUPERNET
from scipy.stats import spearmanr

from tinynas import Arch, build, cost, load_arch, load_space
from tinynas.data.base import Normalisation
from tinynas.deploy.latency import median_seconds
from tinynas.deploy.onnx import to_onnx
from tinynas.experiment.plans import ExportPlan
from tinynas.models.model_file import Model
from tinynas.models.network import fold
from tinynas.pipelines.export import export
from tinynas.utils.units import format_bytes, format_count

PUBLISHED = {"mobilenet-v2-tiny": "308 KB (in place)", "mcunet-in3": "260 KB (in place)"}
TRAININGS = ("plain, 8 epochs", "plain", "NetAug", "NetAug, in the first half only")
SPACES, NETWORKS, ROUNDS = ("micro", "mobile32"), 50, 5
FORMS = ("torch", "ONNX fp32", "ONNX int8")


class Silent:
    def note(self, text: str) -> None: ...
    def advance(self, task: str, done: int, total: int, text: str) -> None: ...


def delivered(size: str, training: str, seed: int) -> Path:
    """A model that another benchmark has trained."""
    if training == "plain, 8 epochs":
        return SCRATCH / f"scaling-searched-{SIZES[size]}-{seed}" / "model.safetensors"
    name = f"{size} {training} seed {seed}".replace(" ", "-").replace(",", "")
    return SCRATCH / f"supernet-{SUPERNET.replace(' ', '-')}" / "retrain" / name / "model.safetensors"


def exported(path: Path) -> dict:
    with TemporaryDirectory() as folder:
        return export(ExportPlan(model=path, out=Path(folder)), report=Silent()).to_dict()


def timed(arch: Arch) -> dict:
    """Counts and latencies of a network with fresh weights."""
    torch.manual_seed(0)
    normalise = Normalisation(mean=(0.0,) * arch.in_channels, std=(1.0,) * arch.in_channels)
    model = Model(net=build(arch).eval(), data="none", classes=("none",) * arch.classes, normalise=normalise)
    images = torch.randn(8, arch.in_channels, arch.resolution, arch.resolution)
    fp32, int8 = to_onnx(model, calibration=[images])
    runs = dict(zip(FORMS, (fold(model.net), fp32.run, int8.run), strict=True))
    seconds = {name: [] for name in FORMS}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seconds[name].append(median_seconds(lambda run=run: run(images[:1])))
    sizes = {"fp32_bytes": len(fp32.content), "int8_bytes": len(int8.content)}
    return {**asdict(cost(arch)), **sizes, "latency": {name: min(found) for name, found in seconds.items()}}


def random_networks(space_name: str) -> list[dict]:
    space, rng = load_space(space_name), np.random.default_rng(0)
    return [timed(space.sample(rng)) for _ in range(NETWORKS)]


def fill(cells: Cells) -> None:
    for size in SIZES:
        for training in TRAININGS:
            for seed in SEEDS:
                key = f"{size} {training} seed {seed}"
                path = delivered(size, training, seed)
                if path.exists():
                    cells.fill(key, lambda path=path: exported(path))
    for name in PUBLISHED:
        cells.fill(name, lambda name=name: timed(load_arch(name)))
    for size in SIZES:
        arch = Cells("netaug").read().get(f"arch {size}")
        if arch:
            cells.fill(f"searched {size}", lambda arch=arch: timed(Arch.from_dict(arch)))
    for space in SPACES:
        cells.fill(f"random {space}", lambda space=space: random_networks(space))


def show(cells: dict) -> None:
    console = Console(width=170)
    console.print(f"{__doc__}\ntorch {torch.__version__}, {NETWORKS} random networks of each space\n")
    counts = Table(title="Counts and latency of one image", title_justify="left")
    columns = ("", "MACs", "params", "flash", "int8 file", "peak SRAM", "in place", "published", *FORMS)
    for column in columns:
        counts.add_column(column)
    for name in (*(f"searched {size}" for size in SIZES), *PUBLISHED):
        if name in cells:
            counts.add_row(name, *described(cells[name], PUBLISHED.get(name, "")))
    console.print(counts)
    accuracies(cells, console)
    correlations(cells, console)


def described(cell: dict, published: str) -> list[str]:
    sizes = [format_bytes(cell[name]) for name in ("flash", "int8_bytes", "peak_sram", "peak_sram_inplace_dw")]
    times = [f"{1e6 * cell['latency'][form]:.0f} us" for form in FORMS]
    return [format_count(cell["macs"]), format_count(cell["params"]), *sizes, published, *times]


def accuracies(cells: dict, console: Console) -> None:
    table = Table(title="Test accuracy of the files, Fashion-MNIST", title_justify="left")
    for column in ("", "", "seeds", "torch", "ONNX fp32", "ONNX int8", "int8 - fp32"):
        table.add_column(column)
    for size in SIZES:
        for training in TRAININGS:
            found = [cells[key] for seed in SEEDS if (key := f"{size} {training} seed {seed}") in cells]
            if found:
                by_form = list(zip(*([row["accuracy"] for row in cell["files"]] for cell in found), strict=True))
                lost = [int8 - fp32 for fp32, int8 in zip(*by_form[1:], strict=True)]
                shown = [f"{mean(of_form):.2f}" for of_form in by_form]
                spread = f" ± {stdev(lost):.2f}" if len(lost) > 1 else ""
                table.add_row(size, training, str(len(found)), *shown, f"{mean(lost):+.2f}{spread}")
    console.print(table)


def correlations(cells: dict, console: Console) -> None:
    """Spearman's rank correlation of what is counted with what is timed."""
    table = Table(title="Spearman correlation with latency over random networks", title_justify="left")
    for column in ("", "counted", *FORMS):
        table.add_column(column)
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    for axes, space in zip(figure.subplots(1, len(SPACES)), SPACES, strict=True):
        found = cells.get(f"random {space}", [])
        for counted in ("macs", "peak_sram") if found else ():
            values = [cell[counted] for cell in found]
            each = [spearmanr(values, [cell["latency"][form] for cell in found]).statistic for form in FORMS]
            table.add_row(space, counted, *(f"{value:.2f}" for value in each))
        for form in FORMS:
            points = ([cell["macs"] for cell in found], [1e6 * cell["latency"][form] for cell in found])
            axes.scatter(*points, s=10, label=form)
        axes.set(title=f"{space}: 50 random networks", xlabel="MACs", ylabel="latency (us)", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    console.print(table)
    figure.savefig(PICTURES / "deploy.png")


def main() -> None:
    cells = Cells("deploy")
    fill(cells)
    show(cells.read())


if __name__ == "__main__":
    main()
