"""Does NetAug help detectors? Scattered Fashion-MNIST, two sizes of network, 3 seeds.

    python benchmarks/detect.py [--only WORD]     (several at a time share the work; a re-run goes on)

All are trained from the same recipe; "equal passes" is plain training for twice the epochs, NetAug augments in its
first half (the default). AP50 and mAP on the test images; the difference to plain is paired by seed, with the 95%
interval of Student's t. Training time over plain's: from epochs timed in turns, in one process. Every network is
evaluated at other image sizes, too, statistics recalibrated.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from cells import PICTURES, SCRATCH, Cells
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from netaug import epoch_times, training_time, with_deviation
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, cost
from tinynas.arch.zoo import shipped_spaces
from tinynas.data.registry import load_data
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.models.model_file import read_model
from tinynas.pipelines.evaluate import evaluate
from tinynas.pipelines.planning import default_config
from tinynas.pipelines.predict import draw_boxes
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.run_supernet import space_for
from tinynas.study.feasible import Feasible
from tinynas.tasks.registry import TASKS
from tinynas.utils.overrides import Overrides
from tinynas.utils.units import format_count

DATA, EPOCHS, SEEDS, SIDES = "scattered-fashion", 20, range(3), (64, 80, 96, 112, 128)
SIZES = {"2M": 2_000_000, "6M": 6_000_000}  # MACs at 96 x 96
ROWS = {"plain": {}, "plain, equal passes": {"epochs": 2 * EPOCHS}, "NetAug": {"netaug": True}}


def chosen(budget: int) -> Arch:
    """The network of the space `detect` at 96 pixels whose MACs are nearest below the budget, of 2,000 random ones."""
    space = replace(space_for(load_data(DATA), shipped_spaces()["detect"], "detect"), resolution=(96,))
    feasible, rng = Feasible(space=space, budget=Budget(macs=budget)), np.random.default_rng(0)
    drawn_ones = [feasible.space.sample(rng) for _ in range(2000)]
    return max((arch for arch in drawn_ones if cost(arch).macs <= budget), key=lambda arch: cost(arch).macs)


def folder_of(key: str) -> Path:
    return SCRATCH / "detect" / "retrain" / key.replace(" ", "-").replace(",", "")


def settings(arch: Arch, change: dict, seed: int) -> RetrainConfig:
    """A row's configuration."""
    overrides = Overrides.read({"epochs": EPOCHS, "seed": seed, **change}, RetrainConfig)
    return overrides.apply(default_config(arch, DATA, netaug=bool(overrides.get("netaug"))))


def trained(arch: Arch, change: dict, key: str, seed: int) -> dict:
    config = settings(arch, change, seed)
    retrain(RetrainPlan(folder=folder_of(key), arch=arch, config=config), report=Screen())
    return json.loads((folder_of(key) / "metrics.json").read_text())


def resized(key: str) -> list[dict]:
    """A trained network at other image sizes."""
    points = evaluate(folder_of(key) / "model.safetensors", None, SIDES).to_dict()["resolutions"]
    return [{name: point[name] for name in ("resolution", "accuracy", "ap50", "macs")} for point in points]


def fill(cells: Cells, wanted: str) -> None:
    for size, budget in SIZES.items():
        cells.fill(f"arch {size}", lambda budget=budget: chosen(budget).to_dict())
    for seed in SEEDS:
        for size in SIZES:
            for name, change in ROWS.items():
                key = f"{size} {name} seed {seed}"
                if wanted in key:
                    arch = Arch.from_dict(cells.read()[f"arch {size}"])
                    cells.fill(key, lambda a=arch, c=change, k=key, s=seed: trained(a, c, k, s))
                    if key in cells.read():
                        cells.fill(f"{key} at other sizes", lambda k=key: resized(k))
    for size in SIZES:
        arch = Arch.from_dict(cells.read()[f"arch {size}"])
        cells.fill(f"epoch times {size}", lambda arch=arch: epoch_times(arch, DATA, 32))


def show(cells: dict) -> None:
    console = Console(width=150)
    console.print(f"{__doc__}\n{EPOCHS} epochs, batches of 32\n")
    table = Table(title="At 96 x 96", title_justify="left")
    for column in ("", "", "seeds", "AP50", "mAP", "mAP, train", "AP50's difference to plain", "training time"):
        table.add_column(column)
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    for axes, size in zip(figure.subplots(1, len(SIZES)), SIZES, strict=True):
        for name, figures in rows_of(cells, size).items():
            table.add_row(size, name, *figures)
            curve(axes, name, sizes_of(cells, size, name))
        axes.set(title=f"trained at 96 x 96, {size} MACs", xlabel="MACs", ylabel="AP50 (%)", xscale="log")
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: format_count(value)))
        axes.tick_params(axis="x", which="minor", labelsize=7)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    console.print(table)
    for size in SIZES:
        for name in ROWS:
            if share := saved(cells, size, name):
                console.print(f"  {size}: {name} has plain's AP50 at a smaller image of {100 * share:.0f}% fewer MACs")
    figure.savefig(PICTURES / "detect.png")


def sizes_of(cells: dict, size: str, name: str) -> np.ndarray:
    """(seeds, image sizes, 2): MACs and AP50."""
    keys = [f"{size} {name} seed {seed} at other sizes" for seed in SEEDS]
    return np.array([[[p["macs"], p["ap50"]] for p in cells[key]] for key in keys if key in cells])


def saved(cells: dict, size: str, name: str) -> float | None:
    """The share of MACs that a smaller image saves at plain's AP50, between the sizes measured, if it is reached."""
    base, other = (sizes_of(cells, size, each) for each in ("plain", name))
    if not len(base) or not len(other):
        return None
    at = SIDES.index(96)
    wanted, curve = base.mean(0)[at, 1], other.mean(0)[: at + 1]
    if not curve[0, 1] < wanted < curve[-1, 1]:
        return None
    return 1 - float(np.interp(wanted, curve[:, 1], curve[:, 0])) / float(curve[-1, 0])


def row(found: dict, base: dict, time: str) -> list[str]:
    """A row's figures: means and deviations over its seeds."""
    paired = [found[s]["ap50"] - base[s]["ap50"] for s in found if s in base]
    interval = ""
    if len(paired) > 1 and found is not base:
        half = student.ppf(0.975, len(paired) - 1) * stdev(paired) / len(paired) ** 0.5
        interval = f" ({mean(paired) - half:+.2f} to {mean(paired) + half:+.2f})"
    names = ("ap50", "accuracy", "train_accuracy")
    scores = [with_deviation([cell[name] for cell in found.values()]) for name in names]
    difference = f"{mean(paired):+.2f}{interval}" if paired and found is not base else ""
    return [str(len(found)), *scores, difference, time]


def rows_of(cells: dict, size: str) -> dict[str, list[str]]:
    """The figures of every row of a size that has some."""
    found = {n: {s: cells[k] for s in SEEDS if (k := f"{size} {n} seed {s}") in cells} for n in ROWS}
    times, rows = cells.get(f"epoch times {size}"), {}
    for name, of_name in found.items():
        config = asdict(settings(Arch.from_dict(cells[f"arch {size}"]), ROWS[name], 0))
        time = f"{training_time(config, times, EPOCHS):.1f}" if times else ""
        if of_name:
            rows[name] = row(of_name, found["plain"], time)
    return rows


def curve(axes: Axes, name: str, points: np.ndarray) -> None:
    """AP50 over MACs of the image sizes: means over the seeds."""
    if len(points):
        deviations = points[..., 1].std(0, ddof=1) if len(points) > 1 else None
        axes.errorbar(*points.mean(0).T, yerr=deviations, marker="o", markersize=3, capsize=2, label=name)


def example(key: str) -> None:
    """A picture: four test images, ground truth above, what the network finds below."""
    model = read_model(folder_of(key) / "model.safetensors")
    data, arch = load_data(DATA), model.net.arch
    images, labels = next(iter(data.evaluation_batches(data.test, arch.resolution, 4)))
    with torch.no_grad():
        outputs = model.net(images)
    figure = Figure(figsize=(10, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots(2, 4)
    for i in range(4):
        pixels = data.test.read(i)
        truth = []
        for row in labels[labels[:, 0] == i]:
            box = (row[2:] * pixels.shape[-1]).tolist()
            truth.append({"class": data.classes[int(row[1])], "score": 1.0, "box": box})
        size = (pixels.shape[-2], pixels.shape[-1])
        predicted = TASKS["detect"].describe(outputs[i : i + 1], arch, data.classes, size, 0.3)["boxes"]
        for place, boxes in zip(axes[:, i], (truth, predicted), strict=True):
            place.imshow(_decoded(draw_boxes(pixels, boxes, data.classes)))
            place.axis("off")
    axes[0, 0].set_title("ground truth", loc="left", fontsize=9)
    axes[1, 0].set_title(key, loc="left", fontsize=9)
    figure.savefig(PICTURES / "detect-examples.png")


def _decoded(png: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.array(Image.open(io.BytesIO(png)))


def main() -> None:
    cells = Cells("detect")
    fill(cells, sys.argv[2] if sys.argv[1:2] == ["--only"] else "")
    show(cells.read())
    for key in ("6M NetAug seed 0", "6M plain seed 0", "2M NetAug seed 0"):
        if (folder_of(key) / "model.safetensors").exists():
            example(key)
            break


if __name__ == "__main__":
    main()
