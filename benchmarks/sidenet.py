"""How much compute do early exits save? Fashion-MNIST, four MainNets, 3 seeds.

    python benchmarks/sidenet.py [--only WORD]     (several at a time share the work; a re-run goes on)

Side heads of 64 hidden features learn from the training images; taps (any choice of them), temperatures and
thresholds are chosen on search-val: the cheapest that there loses 0, 0.5 or 1 point to the MainNet. All figures are of
the test images. Time is that of all test images over the MainNet's (1,000 of them in batches of 1), one thread, both
run in turns in one process, the least of three.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean

import torch
from cells import PICTURES, SCRATCH, Cells
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from netaug import with_deviation
from rich.console import Console
from rich.table import Table
from scaling import SUPERNET, searched
from tinynas.cli.screen import Screen
from torch import Tensor, nn

from tinynas import SideNet, load_space
from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.early_exit.calibration import calibration_error, reliability
from tinynas.early_exit.cascade import Cascade
from tinynas.early_exit.network import EarlyExits
from tinynas.early_exit.thresholds import ThresholdSweep, choose, sweep
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.models.model_file import read_model
from tinynas.pipelines.retrain import retrain
from tinynas.training.recipe import Recipe
from tinynas.utils.units import format_count

DATA, SEEDS, LOSSES, BATCHES = "fashion-mnist", range(3), (0.0, 0.5, 1.0), (1, 128)
LARGEST, RESNET, ROWS, CASCADE = (
    "micro's largest",
    "ResNet-18",
    "transformer of rows",
    "cascade, 0.3M + micro's largest",
)
EPOCHS = {LARGEST: 6, RESNET: 3, ROWS: 10}


class Rows(nn.Module):
    """An image as a sequence of its rows: (N, 1, 28, 28) -> logits (N, 10)."""

    def __init__(self, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(28, width), nn.Parameter(0.02 * torch.randn(28, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encoder(self.embed(images.squeeze(1)) + self.place)
        return self.classifier(tokens.mean(1))


def resnet() -> nn.Module:
    """torchvision's, for grey images and ten classes."""
    import torchvision

    net = torchvision.models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return net


def folder_of(name: str, seed: int) -> Path:
    return SCRATCH / "sidenet" / "retrain" / f"{name.replace(' ', '-')}-{seed}"


def largest(seed: int) -> nn.Module:
    """The largest network of `micro`, retrained as the toolkit does."""
    from dataclasses import replace

    folder = folder_of(LARGEST, seed)
    if not (folder / "model.safetensors").exists():
        arch = replace(load_space("micro"), in_channels=1, classes=10).max()
        config = RetrainConfig(data=DATA, recipe=Recipe(epochs=EPOCHS[LARGEST], batch_size=128, seed=seed))
        retrain(RetrainPlan(folder=folder, arch=arch, config=config), report=Screen())
    return read_model(folder / "model.safetensors").net


def trained(make: Callable[[], nn.Module], name: str, seed: int, data: Data) -> nn.Module:
    """Another network, by AdamW on standardly augmented images, its rate falling to 0 on a cosine."""
    torch.manual_seed(seed)
    net, path = make(), folder_of(name, seed) / "weights.pt"
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    epochs = EPOCHS[name]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * data.steps_per_epoch(128))
    for epoch in range(epochs):
        for batch in data.training_batches(128, [28], seed=seed, epoch=epoch):
            loss = nn.functional.cross_entropy(net(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"{name} {seed}: epoch {epoch + 1}, loss {loss.item():.3f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return net.eval()


def tapped(net: nn.Module, taps: list[str], resolution: int, data: Data) -> tuple[SideNet, list[str]]:
    """The SideNet whose curve on search-val is best, of every choice of taps."""
    image = torch.zeros(1, 1, resolution, resolution)
    whole = SideNet(net, taps, inputs=image)
    whole.fit(data.evaluation_batches(data.train, resolution))
    areas = observed(whole, image, data, data.val, calibrate=True).subset_hypervolumes(
        [head.macs for head in whole.heads]
    )
    places = max(areas, key=areas.__getitem__)
    chosen = SideNet(net, [taps[i] for i in places], inputs=image)
    for head, place in zip(chosen.heads, places, strict=True):
        head.load_state_dict(whole.heads[place].state_dict())
    return chosen, [taps[i] for i in places]


def observed(net: EarlyExits, image: Tensor, data: Data, split: object, *, calibrate: bool = False) -> ThresholdSweep:
    outputs = net.observe(data.evaluation_batches(split, image.shape[-1]))
    if calibrate:
        net.calibrate(outputs)
    return sweep(outputs, net.temperatures.tolist(), net.macs(image))


def made(name: str, seed: int, data: Data) -> tuple[nn.Module, EarlyExits, list[str], int]:
    """A MainNet, the same with exits, where they are, and the pixels along a side that it takes."""
    if name == RESNET:
        net = trained(resnet, name, seed, data)
        return net, *tapped(net, ["layer1", "layer2", "layer3"], 28, data), 28
    if name == ROWS:
        net = trained(Rows, name, seed, data)
        return net, *tapped(net, [f"encoder.layers.{i}" for i in range(3)], 28, data), 28
    big = largest(seed)
    size = big.arch.resolution
    if name == LARGEST:
        return big, *tapped(big, [f"stages.{s}" for s in range(len(big.arch.stages) - 1)], size, data), size
    folder = SCRATCH / f"supernet-{SUPERNET.replace(' ', '-')}" / "retrain" / f"0.3M-plain-seed-{seed}"
    tiny = read_model(folder / "model.safetensors").net
    assert tiny.arch == searched(300_000), "benchmarks/netaug.py trains it"
    return big, Cascade(tiny, big, (tiny.arch.resolution, size)), ["0.3M"], size


def cell(name: str, seed: int) -> dict:
    data = load_data(DATA)
    mainnet, net, taps, size = made(name, seed, data)
    image = torch.zeros(1, 1, size, size)
    val = observed(net, image, data, data.val, calibrate=True)
    test = observed(net, image, data, data.test)
    base, whole = 100 * float(val.correct[-1].mean()), main_macs(mainnet, image)
    at = [choose(val.curve(), accuracy=base - loss).threshold for loss in LOSSES]
    points = test.at(at)
    times = timed(mainnet, net, at, data, size)
    errors = [
        [calibration_error(reliability(c[k], test.correct[k])) for k in range(len(net.exits))]
        for c in (test.uncalibrated, test.confidences)
    ]
    curve = test.at([point.threshold for point in val.curve()][::8])
    return {
        "taps": taps,
        "accuracy": 100 * float(test.correct[-1].mean()),
        "macs": whole,
        "worst_macs": test.macs[-1],
        "losses": [
            {"allowed": loss, "threshold": p.threshold, "accuracy": p.accuracy, "saved": 1 - p.macs / whole, "time": t}
            for loss, p, t in zip(LOSSES, points, times, strict=True)
        ],
        "errors": errors,
        "curve": [[point.macs, point.accuracy] for point in curve],
    }


def main_macs(mainnet: nn.Module, image: Tensor) -> int:
    from tinynas.models.profile import macs_by_torch

    return macs_by_torch(mainnet, image)


@torch.inference_mode()
def timed(mainnet: nn.Module, net: EarlyExits, thresholds: list[float], data: Data, size: int) -> list[list[float]]:
    """Seconds with exits over seconds without, for each threshold: in batches of each size."""
    torch.set_num_threads(1)
    images = torch.cat([images for images, _ in data.evaluation_batches(data.test, size)])
    ratios: list[list[float]] = [[] for _ in thresholds]
    for batch in BATCHES:
        parts = torch.split(images[: 1000 if batch == 1 else None], batch)
        runs = [mainnet, *(lambda x, t=t: net(x, threshold=t) for t in thresholds)]
        seconds = [min(of_run) for of_run in zip(*(list(_round(runs, parts)) for _ in range(3)), strict=True)]
        for found, taken in zip(ratios, seconds[1:], strict=True):
            found.append(taken / seconds[0])
    return ratios


def _round(runs: list[Callable], parts: tuple[Tensor, ...]) -> Iterator[float]:
    for run in runs:
        began = time.thread_time()
        for part in parts:
            run(part)
        yield time.thread_time() - began


def fill(cells: Cells, wanted: str) -> None:
    for seed in SEEDS:
        for name in (LARGEST, ROWS, CASCADE, RESNET):
            if wanted in (key := f"{name} seed {seed}"):
                cells.fill(key, lambda n=name, s=seed: cell(n, s))


def rows(cells: dict) -> Iterator[list[str]]:
    """Of every MainNet, one for each loss allowed: means and deviations over the seeds."""
    for name in (LARGEST, RESNET, ROWS, CASCADE):
        found = [cells[key] for seed in SEEDS if (key := f"{name} seed {seed}") in cells]
        for i, loss in enumerate(LOSSES if found else ()):
            at = [one["losses"][i] for one in found]
            first = [
                name,
                format_count(found[0]["macs"]),
                str(len(found)),
                ", ".join(sorted({tap for one in found for tap in one["taps"]})),
                " → ".join(with_deviation([mean(one["errors"][k][:-1]) for one in found]) for k in (0, 1)),
            ]
            change = [a["accuracy"] - one["accuracy"] for a, one in zip(at, found, strict=True)]
            saved = [100 * a["saved"] for a in at]
            times = [with_deviation([a["time"][k] for a in at]) for k in range(len(BATCHES))]
            yield [*(first if i == 0 else [""] * 5), f"{loss:g}", with_deviation(saved), with_deviation(change), *times]


COLUMNS = [
    *("MainNet", "MACs", "seeds", "exits at", "ECE of the exits, calibrated"),
    *("points lost on search-val", "MACs saved %", "change of test accuracy"),
    *(f"time, batch {batch}" for batch in BATCHES),
]


def show(cells: dict) -> None:
    console = Console(width=170)
    console.print(__doc__)
    table = Table()
    for column in COLUMNS:
        table.add_column(column)
    for row in rows(cells):
        table.add_row(*row)
    console.print(table)
    names = [name for name in (LARGEST, RESNET, ROWS, CASCADE) if f"{name} seed 0" in cells]
    figure = Figure(figsize=(4 * max(1, len(names)), 3.6), dpi=130, layout="constrained")
    for axes, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=True):
        for seed in SEEDS:
            if one := cells.get(f"{name} seed {seed}"):
                macs, accuracy = zip(*one["curve"], strict=True)
                axes.plot(macs, accuracy, color="C0", linewidth=1, alpha=0.7)
                axes.plot(one["macs"], one["accuracy"], "*", color="C3", markersize=9)
        axes.set_title(name, fontsize=9)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
        axes.set_xlabel("average MACs")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy (%); star: MainNet")
    figure.savefig(PICTURES / "sidenet.png")


def main() -> None:
    cells = Cells("sidenet")
    fill(cells, sys.argv[2] if sys.argv[1:2] == ["--only"] else "")
    show(cells.read())


if __name__ == "__main__":
    main()
