"""How good are detectors, and does NetAug help them? Scattered Fashion-MNIST at 96x96, two sizes of a network, 3 seeds.

The middle network of `detect`, scaled by hand, is trained for 20 epochs in batches of 32, with NetAug by its default
schedule, and from the backbone of a classifier of Fashion-MNIST, which 4 epochs at the same image size have trained,
also for 5 epochs; "twice the epochs" is plain training for 40. AP50 and mAP on the test images; the difference to plain
(of 5 epochs to 5 epochs) is paired by seed, with the 95% interval of Student's t. Training time is relative to plain,
from interleaved epochs in one process. Networks are evaluated at four other image sizes, their statistics recalibrated.

Takes about 3 hours on one core. Writes the tables `detection` and `detection-speed` of docs/results/detection.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common.cells import Cells
from common.command import run_benchmark
from common.paths import PICTURES, SCRATCH, model_in, slug
from common.retraining import retrain_network
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.tables import Table
from common.training_time import epoch_times, relative_time, step_times
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tinynas import Arch, Budget, cost, load_space
from tinynas.arch.heads import Head
from tinynas.arch.scaling import scale_to
from tinynas.data.registry import load_data
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import ExportPlan
from tinynas.experiment.reporter import NullReporter
from tinynas.models.model_file import read_model
from tinynas.pipelines.detection_picture import detection_picture, with_score_threshold
from tinynas.pipelines.evaluate import evaluate
from tinynas.pipelines.export import export
from tinynas.pipelines.planning import default_config
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.io import write
from tinynas.utils.overrides import Overrides
from tinynas.utils.units import format_count

DATA = "scattered-fashion"
EPOCHS = 20
BATCH_SIZE = 32
SEEDS = range(3)
RESOLUTION = 96
RESOLUTIONS = (64, 80, 96, 112, 128)  # at which networks are evaluated
HEAD_WIDTHS = (24, 32, 40, 48, 56, 64)  # channels
SIZES = {"2M": 2_000_000, "6M": 6_000_000}  # MACs at RESOLUTION
ROWS = {
    "plain": {},
    "plain, equal passes": {"epochs": 2 * EPOCHS},
    "NetAug": {"netaug": True},
    "transfer": {},
    "plain, short": {"epochs": EPOCHS // 4},
    "transfer, short": {"epochs": EPOCHS // 4},
}
BASES = {"plain, short": "", "transfer, short": "plain, short"}  # beside which a row is; other rows: beside plain
LABELS = {
    "plain, equal passes": "plain, twice the epochs",
    "NetAug": "NetAug (the default)",
    "transfer": "`--from` a classifier of Fashion-MNIST",
    "plain, short": f"plain, {EPOCHS // 4} epochs",
    "transfer, short": f"`--from` the classifier, {EPOCHS // 4} epochs",
}
CLASSIFIER = {"epochs": 4, "batch_size": 128}  # the classifier's training
METRICS = ("ap50", "accuracy", "train_accuracy")  # the accuracy of a detector is its mAP


def choose_arch(size: str) -> dict:
    """Return the middle network of the space, scaled by hand to a budget, its head as wide as fits, as plain data."""
    space = fit_to_data(load_space("detect"), load_data(DATA))
    arch = scale_to(replace(space.middle(), resolution=RESOLUTION), Budget(macs=SIZES[size]))
    for width in HEAD_WIDTHS:
        wider = replace(arch, head=replace(arch.detector, width=max(width, arch.detector.width)))
        if cost(wider).macs <= SIZES[size]:
            arch = wider
    return arch.to_dict()


def cell_name(size: str, name: str, seed: int) -> str:
    """Return the name of a training's cell."""
    return f"{size} {name} seed {seed}"


def folder_of(cell: str) -> Path:
    """Return the folder of a training."""
    return SCRATCH / "detect" / "retrain" / slug(cell)


def configuration(arch: Arch, change: Mapping, seed: int) -> RetrainConfig:
    """Return the configuration of a training."""
    overrides = Overrides.read({"epochs": EPOCHS, "seed": seed, **change}, RetrainConfig)
    return overrides.apply(default_config(arch, DATA, netaug=bool(overrides.get("netaug"))))


def train(arch: Arch, size: str, name: str, seed: int) -> dict:
    """Train a network; return its metrics."""
    folder, change = folder_of(cell_name(size, name, seed)), ROWS[name]
    if not name.startswith("transfer"):
        return retrain_network(folder, arch, configuration(arch, change, seed))
    model = train_classifier(arch, size, seed)
    metrics = retrain_network(folder, arch, configuration(arch, change | {"init": str(model)}, seed))
    return metrics | {"init": model.parent.name}


def train_classifier(arch: Arch, size: str, seed: int) -> Path:
    """Train a classifier with a detector's backbone, on images as large; return its model file."""
    classifier = replace(arch, head=Head())
    overrides = Overrides.read({"seed": seed, **CLASSIFIER}, RetrainConfig)
    folder = folder_of(f"{size} classifier seed {seed}")
    if not model_in(folder).exists():
        config = overrides.apply(default_config(classifier, "fashion-mnist", netaug=False))
        retrain_network(folder, classifier, config)
    return model_in(folder)


def evaluate_resized(cell: str) -> list[dict]:
    """Evaluate a trained network at all image sizes."""
    results = []
    for point in evaluate(model_in(folder_of(cell)), None, RESOLUTIONS).to_dict()["resolutions"]:
        results.append({key: point[key] for key in ("resolution", "accuracy", "ap50", "macs")})
    return results


def find_errors(cell: str) -> dict:
    """Return the threshold of the best F1 on search-val, that F1, and the mean IoU of right boxes on the test split."""
    plots = SCRATCH / "detect" / "errors" / slug(cell)
    errors = evaluate(model_in(folder_of(cell)), None, plots=plots).errors
    return {"threshold": errors.threshold, "f1": errors.f1, "mean_iou": errors.mean_iou}


def find_int8(cell: str) -> dict:
    """Return the mAP on the test split of the network in PyTorch and of its int8 file."""
    with TemporaryDirectory() as folder:
        plan = ExportPlan(model=model_in(folder_of(cell)), out=Path(folder), to="tflite")
        files = export(plan, report=NullReporter()).to_dict()["files"]
    return {("int8" if file["int8"] else file["kind"]): file["accuracy"] for file in files}


def time_epochs(arch: Arch) -> dict[str, float]:
    """Return the seconds of an epoch by kind."""
    return epoch_times(arch, DATA, batch_size=BATCH_SIZE)


def time_steps(arch: Arch) -> dict[str, float]:
    """Return the seconds of an epoch of the detector, of its backbone and of reading the images."""
    return step_times(arch, DATA, batch_size=BATCH_SIZE)


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    archs = {}
    for size in SIZES:
        archs[size] = Arch.from_dict(cells.require(f"arch {size}", choose_arch, size))
    for seed in SEEDS:
        for size, arch in archs.items():
            for name in ROWS:
                cell = cell_name(size, name, seed)
                cells.measure(cell, train, arch, size, name, seed)
                if model_in(folder_of(cell)).exists():
                    cells.measure(f"{cell} at other sizes", evaluate_resized, cell)
                    cells.measure(f"{cell} errors", find_errors, cell)
                    cells.measure(f"{cell} in int8", find_int8, cell)
    for size, arch in archs.items():
        cells.measure(f"epoch times {size}", time_epochs, arch)
        cells.measure(f"step times {size}", time_steps, arch)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    rows = []
    for size in SIZES:
        for name in ROWS:
            trained = by_seed(cells, f"{size} {name}", SEEDS)
            if trained:
                row = [size, LABELS.get(name, name), str(len(trained))]
                row += training_figures(cells, size, name, trained)
                rows.append(row)
    columns = ["MACs", "training", "seeds", "AP50", "mAP", "mAP, train", "mean IoU", "AP50's difference to plain"]
    columns += ["training time", "fewer MACs at plain's AP50", "mAP, int8 minus fp32"]
    return [Table(page="detection", name="detection", columns=columns, rows=rows), speed_table(cells)]


def speed_table(cells: Mapping[str, dict]) -> Table:
    """Return the table of the times of training steps."""
    rows = []
    for size in SIZES:
        times = cells.get(f"step times {size}")
        if times:
            reading = times["batches"] / times["detector"]
            rows.append([size, f"{times['detector'] / times['backbone']:.2f}", f"{reading:.0%}"])
    columns = ["MACs", "a training step, detector / its backbone", "of it: reading and augmenting the images"]
    return Table(page="detection", name="detection-speed", columns=columns, rows=rows)


def training_figures(cells: Mapping, size: str, name: str, trained: Mapping[int, dict]) -> list[str]:
    """Return the figures of a training's row: over its seeds, and beside plain training."""
    figures = []
    for metric in METRICS:
        figures.append(mean_std(list(values_of(trained, metric).values())))
    figures.append(mean_overlap(cells, size, name, list(trained)))
    base = by_seed(cells, f"{size} {BASES.get(name, 'plain')}", SEEDS)
    is_compared = bool(base) and name != "plain"
    figures.append(paired_difference(values_of(trained, "ap50"), values_of(base, "ap50")) if is_compared else "")
    times, time = cells.get(f"epoch times {size}"), ""
    if times:
        config = configuration(Arch.from_dict(cells[f"arch {size}"]), ROWS[name], seed=0)
        time = f"{relative_time(asdict(config), times, EPOCHS):.1f}"
    return [*figures, time, macs_saved(cells, size, name), int8_change(cells, size, name, list(trained))]


def int8_change(cells: Mapping, size: str, name: str, seeds: Sequence[int]) -> str:
    """Return what int8 changes in mAP, over the seeds."""
    accuracies = [cells.get(f"{cell_name(size, name, seed)} in int8") for seed in seeds]
    changes = [entry["int8"] - entry["torch"] for entry in accuracies if entry]
    return mean_std(changes, signed=True) if changes else ""


def mean_overlap(cells: Mapping, size: str, name: str, seeds: Sequence[int]) -> str:
    """Return the mean IoU of right confident boxes, over the seeds."""
    errors = [cells.get(f"{cell_name(size, name, seed)} errors") for seed in seeds]
    values = [entry["mean_iou"] for entry in errors if entry]
    if not values:
        return ""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def curves(cells: Mapping, size: str, name: str) -> np.ndarray:
    """Return MACs and AP50 at each image size: (seeds, image sizes, 2)."""
    values = []
    for seed in SEEDS:
        points = cells.get(f"{cell_name(size, name, seed)} at other sizes")
        if points:
            values.append([[point["macs"], point["ap50"]] for point in points])
    return np.array(values)


def macs_saved(cells: Mapping, size: str, name: str) -> str:
    """Return the fraction of MACs that a smaller image saves at plain's AP50, interpolated between image sizes.

    Empty where plain's AP50 is not between those measured.
    """
    plain, other = curves(cells, size, "plain"), curves(cells, size, name)
    if not len(plain) or not len(other):
        return ""
    last = RESOLUTIONS.index(RESOLUTION)
    target = plain.mean(0)[last, 1]
    macs, ap50 = other.mean(0)[: last + 1].T
    if not ap50[0] < target < ap50[-1]:
        return ""
    return f"{100 * (1 - np.interp(target, ap50, macs) / macs[-1]):.0f}%"


def draw(cells: dict) -> None:
    """Draw AP50 over MACs, and the boxes of a trained network if there is one."""
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    for axes, size in zip(figure.subplots(1, len(SIZES)), SIZES, strict=True):
        for name in ROWS:
            if name not in BASES:
                draw_curve(axes, LABELS.get(name, name), curves(cells, size, name))
        axes.set(title=f"trained at 96 x 96, {size} MACs", xlabel="MACs", ylabel="AP50 (%)", xscale="log")
        axes.xaxis.set_major_formatter(FuncFormatter(count_label))
        axes.xaxis.set_minor_formatter(FuncFormatter(count_label))
        axes.tick_params(axis="x", which="minor", labelsize=7)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(PICTURES / "detect.png")
    if model_in(folder_of("6M plain seed 0")).exists():
        draw_examples("6M plain seed 0")


def count_label(value: float, position: int) -> str:
    """Return the label of a tick on an axis of MACs."""
    return format_count(value)


def draw_curve(axes: Axes, label: str, values: np.ndarray) -> None:
    """Draw AP50 over the MACs of the image sizes: mean and standard deviation over the seeds."""
    if len(values):
        macs, ap50 = values.mean(0).T
        deviations = values[..., 1].std(0, ddof=1) if len(values) > 1 else None
        axes.errorbar(macs, ap50, yerr=deviations, marker="o", markersize=3, capsize=2, label=label)


def draw_examples(cell: str) -> None:
    """Draw test images with their objects, and the network's boxes."""
    data = load_data(DATA)
    model = with_score_threshold(read_model(model_in(folder_of(cell))), data)
    write(PICTURES / "detect-examples.png", detection_picture(model, data))


if __name__ == "__main__":
    run_benchmark("detect", __doc__, measure=measure, tables=tables, draw=draw)
