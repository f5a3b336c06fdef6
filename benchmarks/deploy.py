"""What does a network become on its way to a chip? Counted cost, int8 accuracy, and latency beside what is counted.

Networks searched on Fashion-MNIST, which scaling.py (8 epochs) and netaug.py (20) have retrained, are exported; their
accuracy is that of the files on the test images, 1 to 3 seeds. Published networks have their published sizes and fresh
weights: they are counted and timed. Latency: one image, one thread, median in processor time, a network's forms
interleaved. The correlations are over 50 random networks of each space.

Takes about 15 minutes on one core, after scaling.py and netaug.py; without their models those cells are skipped. Writes
the tables `deployment`, `int8` and `latency-correlation` of docs/results/deployment.md.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.netaug_rows import label
from common.paths import PICTURES, model_in
from common.retraining import SEEDS, SIZES, netaug_folder, scaling_folder
from common.stats import by_seed, mean_std
from common.tables import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from tinynas import Arch, build, cost, load_arch, load_space
from tinynas.data.base import Normalisation
from tinynas.deploy.latency import median_seconds
from tinynas.deploy.onnx import to_onnx
from tinynas.experiment.plans import ExportPlan
from tinynas.experiment.reporter import NullReporter
from tinynas.models.model_file import Model
from tinynas.models.network import fold
from tinynas.pipelines.export import export
from tinynas.utils.units import format_bytes, format_count, format_seconds

PUBLISHED = {"mobilenet-v2-tiny": "308KB in place", "mcunet-in3": "260KB in place"}  # peak SRAM, by their papers
SHORT = "plain, 8 epochs"  # trained by scaling.py
TRAININGS = (SHORT, "plain", "NetAug", "NetAug, in the first half only")
SPACES = ("micro-v1", "mobile32")
NETWORKS = 50  # random ones of each space
ROUNDS = 5
FORMS = ("torch", "ONNX fp32", "ONNX int8")


def trained_model(size: str, training: str, seed: int) -> Path:
    """Return the model file of a retraining of another benchmark."""
    if training == SHORT:
        return model_in(scaling_folder("searched", SIZES[size], seed))
    return model_in(netaug_folder(f"{size} {training} seed {seed}"))


def export_model(path: Path) -> dict:
    """Export a trained model; return its export.json."""
    with TemporaryDirectory() as folder:
        return export(ExportPlan(model=path, out=Path(folder), to="onnx"), report=NullReporter()).to_dict()


def time_network(arch: Arch) -> dict:
    """Return the counted cost, the sizes of files and the latencies of a network with fresh weights."""
    torch.manual_seed(0)
    normalise = Normalisation(mean=(0.0,) * arch.in_channels, std=(1.0,) * arch.in_channels)
    classes = tuple(str(number) for number in range(arch.classes))
    model = Model(net=build(arch).eval(), data="none", classes=classes, normalise=normalise)
    images = torch.randn(8, arch.in_channels, arch.resolution, arch.resolution)
    fp32, int8 = to_onnx(model, calibration=[images])
    latencies = time_interleaved((fold(model.net), fp32.run, int8.run), images[:1])
    return {
        **asdict(cost(arch)),
        "fp32_bytes": len(fp32.content),
        "int8_bytes": len(int8.content),
        "latency": dict(zip(FORMS, latencies, strict=True)),
    }


def time_interleaved(forms: tuple[Callable[[Tensor], object], ...], image: Tensor) -> list[float]:
    """Return the median seconds of each form of a network, the least of several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        seconds = []
        for form in forms:
            seconds.append(median_seconds(partial(form, image)))
        rounds.append(seconds)
    return np.min(rounds, axis=0).tolist()


def time_published(name: str) -> dict:
    """Return the measurements of a published network."""
    return time_network(load_arch(name))


def time_random_networks(space_name: str) -> list[dict]:
    """Return the measurements of random networks of a space."""
    space, rng = load_space(space_name), np.random.default_rng(0)
    return [time_network(space.sample(rng)) for _ in range(NETWORKS)]


def measure(cells: Cells) -> None:
    """Measure the missing cells of the models that there are."""
    for size in SIZES:
        for training in TRAININGS:
            for seed in SEEDS:
                path = trained_model(size, training, seed)
                if path.exists():
                    cells.measure(f"{size} {training} seed {seed}", export_model, path)
    for name in PUBLISHED:
        cells.measure(name, time_published, name)
    searched = Cells("netaug").read()
    for size in SIZES:
        if f"arch {size}" in searched:
            cells.measure(f"searched {size}", time_network, Arch.from_dict(searched[f"arch {size}"]))
    for space in SPACES:
        cells.measure(f"random {space}", time_random_networks, space)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    return [network_table(cells), int8_table(cells), correlation_table(cells)]


def network_table(cells: dict) -> Table:
    """Return counted cost, files and latency of the searched and the published networks."""
    columns = ["network", "MACs", "params", "flash", "int8 file", "peak SRAM", "in place", "published"]
    columns += FORMS
    rows = []
    for size in SIZES:
        if f"searched {size}" in cells:
            rows.append(network_row(f"searched, {size}", cells[f"searched {size}"]))
    for name, published in PUBLISHED.items():
        if name in cells:
            rows.append(network_row(f"`{name}`", cells[name], published))
    return Table(page="deployment", name="deployment", columns=columns, rows=rows)


def network_row(name: str, cell: dict, published: str = "") -> list[str]:
    """Return the row of a network."""
    row = [name, format_count(cell["macs"]), format_count(cell["params"])]
    for key in ("flash", "int8_bytes", "peak_sram", "peak_sram_inplace_dw"):
        row.append(format_bytes(cell[key]))
    row.append(published)
    for form in FORMS:
        row.append(format_seconds(cell["latency"][form]))
    return row


def int8_table(cells: dict) -> Table:
    """Return the test accuracy of the files."""
    rows = []
    for size in SIZES:
        for training in TRAININGS:
            exports = by_seed(cells, f"{size} {training}", SEEDS).values()
            if not exports:
                continue
            accuracies = []
            for cell in exports:
                accuracies.append([file["accuracy"] for file in cell["files"]])  # torch, fp32, int8
            _, fp32, int8 = np.transpose(accuracies)
            changes = mean_std((int8 - fp32).tolist(), signed=True)
            rows.append([size, label(training), str(len(exports)), f"{fp32.mean():.2f}", f"{int8.mean():.2f}", changes])
    columns = ["network", "training", "seeds", "fp32 %", "int8 %", "int8 - fp32"]
    return Table(page="deployment", name="int8", columns=columns, rows=rows)


def correlation_table(cells: dict) -> Table:
    """Return Spearman's rank correlation of what is counted with what is measured."""
    rows = []
    for space in SPACES:
        networks = cells.get(f"random {space}", [])
        for key, counted in (("macs", "MACs"), ("peak_sram", "peak SRAM")):
            row = [f"`{space}`", counted]
            for form in FORMS:
                counts, seconds = [cell[key] for cell in networks], latencies(networks, form)
                row.append(f"{spearmanr(counts, seconds).statistic:.2f}" if networks else "")
            rows.append(row)
    columns = ["space", "counted"]
    columns += FORMS
    return Table(page="deployment", name="latency-correlation", columns=columns, rows=rows)


def latencies(networks: list[dict], form: str) -> list[float]:
    """Return the seconds of networks in a form."""
    return [cell["latency"][form] for cell in networks]


def draw(cells: dict) -> None:
    """Draw the measured latency of random networks over their MACs."""
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    for axes, space in zip(figure.subplots(1, len(SPACES)), SPACES, strict=True):
        draw_latencies(axes, space, cells.get(f"random {space}", []))
    figure.savefig(PICTURES / "deploy.png")


def draw_latencies(axes: Axes, space: str, networks: list[dict]) -> None:
    """Draw the latencies of a space's networks, by form."""
    macs = [cell["macs"] for cell in networks]
    for form in FORMS:
        axes.scatter(macs, 1e6 * np.array(latencies(networks, form)), s=10, label=form)
    title = f"{space}: {NETWORKS} random networks"
    axes.set(title=title, xlabel="MACs", ylabel="latency (us)", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


if __name__ == "__main__":
    run_benchmark("deploy", __doc__, measure=measure, tables=tables, draw=draw)
