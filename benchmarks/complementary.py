"""Do early exits add to other ways of making a network small or accurate? Fashion-MNIST, 3 seeds.

One MainNet, the network of 1M MACs that netaug.py found in `micro-v1`, in six forms: trained plainly (fp32); that
network in int8, as ONNX files in onnxruntime and as TFLite files in TFLM; trained with NetAug; distilled from the
largest network of `micro-v1`; and pruned by torch-pruning to half the channels of every group, by magnitude. Every
training is of 6 epochs in batches of 128 by the recipe of `--recipe auto`; the pruned network starts from the plain
one's weights, and so has had 12, and the teacher has 12. Exits are those of `tinynas sidenet`: side heads of 64 hidden
features, places, temperatures and thresholds chosen on search-val. The int8 files decide by confidences of int8
outputs, at temperatures and thresholds that are chosen by the int8 outputs for search-val. All figures are of the
10,000 test images.

Takes about 1 hour on one core. Needs torch-pruning and the extras onnx, tflite and mcu. Writes the table
`complementary` of docs/results/early-exits.md.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from common.cells import Cells
from common.command import run_benchmark
from common.early_exits import DROPS, errors_text, fit_temperatures, measure_outputs
from common.exit_files import Run, file_outputs, onnx_int8, tflm_int8
from common.networks import budget_network
from common.paths import SCRATCH, model_in, slug
from common.pruning import save_pruned
from common.retraining import SEEDS, retrain_network
from common.stats import by_seed, mean_std
from common.supernets import DATA, SPACE
from common.tables import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, cost, load_space
from tinynas.data.registry import load_data
from tinynas.early_exit.model import EarlyExitModel
from tinynas.early_exit.model_file import read_early_exits
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.experiment.early_exit_folder import EarlyExitFolder
from tinynas.experiment.plans import ExitPlan
from tinynas.models.model_file import read_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.planning import default_config
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.overrides import Overrides
from tinynas.utils.units import format_count

SIZE = "1M"
TRAINING = AUTO_SETTINGS | {"epochs": 6, "batch_size": 128}
TEACHER_EPOCHS = 12
FP32, NETAUG, DISTILLED, PRUNED = "fp32", "NetAug", "distilled", "pruned"
ONNX, TFLM = "int8, onnxruntime", "int8, TFLM"
TRAINED = (FP32, NETAUG, DISTILLED, PRUNED)
FORMS = (FP32, ONNX, TFLM, NETAUG, DISTILLED, PRUNED)
SHOWN_DROPS = (0.0, 1.0)  # percentage points of accuracy on search-val


def folder_of(name: str, seed: int) -> Path:
    """Return the folder of a training."""
    return SCRATCH / "complementary" / "retrain" / slug(f"{name} {seed}")


def trained(name: str, arch: Arch, seed: int, settings: Mapping[str, Any]) -> Path:
    """Return the model of a training with some settings, trained if it has not been."""
    folder = folder_of(name, seed)
    if not model_in(folder).exists():
        overrides = Overrides.read(TRAINING | {"seed": seed, **settings}, RetrainConfig)
        config = overrides.apply(default_config(arch, DATA, netaug=bool(overrides.get("netaug"))))
        retrain_network(folder, arch, config)
    return model_in(folder)


def mainnet(form: str, seed: int) -> Path:
    """Return the model of a form of the MainNet."""
    arch = budget_network(SIZE)
    if form == NETAUG:
        return trained(NETAUG, arch, seed, {"netaug": True})
    if form == DISTILLED:
        return trained(DISTILLED, arch, seed, {"teacher": str(teacher())})
    if form == PRUNED:
        start = model_in(folder_of("without half the channels", seed))
        save_pruned(mainnet(FP32, seed), start)
        return trained(PRUNED, read_model(start).net.arch, seed, {"init": str(start)})
    return trained(FP32, arch, seed, {})


def teacher() -> Path:
    """Return the model of the largest network of the space."""
    arch = fit_to_data(load_space(SPACE).max(), load_data(DATA))
    return trained("teacher", arch, 0, {"epochs": TEACHER_EPOCHS})


def with_exits(form: str, seed: int) -> Path:
    """Return a form of the MainNet with early exits, as `tinynas sidenet` makes them."""
    model = mainnet(form, seed)
    folder = EarlyExitFolder(model.parent / "sidenet")
    if not folder.model.exists():
        make_exits(ExitPlan(model=model, out=folder.path), report=Screen())
    return folder.model


def measure_trained(form: str, seed: int) -> dict:
    """Return what exits do to a MainNet in PyTorch."""
    model, data = read_early_exits(with_exits(form, seed)), load_data(DATA)
    val = model.exits.observe(data.evaluation_batches(data.val, model.resolution))
    test = model.exits.observe(data.evaluation_batches(data.test, model.resolution))
    temperatures = model.exits.temperatures.tolist()
    return {"taps": list(model.exits.taps)} | measure_outputs(val, test, temperatures, **macs_of(model))


def measure_int8(form: str, seed: int) -> dict:
    """Return what exits do to the plainly trained MainNet in int8 files."""
    path = with_exits(FP32, seed)
    model, data = read_early_exits(path), load_data(DATA)
    run: Run = onnx_int8(path, path.parent / "onnx") if form == ONNX else tflm_int8(model, data)
    val = file_outputs(run, data, data.val, model.resolution)
    test = file_outputs(run, data, data.test, model.resolution)
    return {"taps": list(model.exits.taps)} | measure_outputs(val, test, fit_temperatures(val), **macs_of(model))


def macs_of(model: EarlyExitModel) -> dict[str, Any]:
    """Return the MACs of an image that takes each exit, and of the network without exits."""
    return {"macs": model.exits.macs(model.example()), "mainnet_macs": cost(model.mainnet.net.arch).macs}


def measure(cells: Cells) -> None:
    """Measure the missing cells, one seed after the other, what takes longest last."""
    for seed in SEEDS:
        for form in (FP32, PRUNED, ONNX, TFLM, NETAUG, DISTILLED):
            function = measure_trained if form in TRAINED else measure_int8
            cells.measure(f"{form} seed {seed}", function, form, seed)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    columns = ["MainNet", "seeds", "exits", "allowed drop on search-val, percentage points", "test accuracy %"]
    columns += ["change by exits", "average MACs", "% of the MACs of fp32 without exits", "ECE, calibrated"]
    rows = []
    for form in FORMS:
        measured = by_seed(cells, form, SEEDS)
        if measured:
            rows += form_rows(form, measured, by_seed(cells, FP32, SEEDS))
    return [Table(page="early-exits", name="complementary", columns=columns, rows=rows)]


def form_rows(form: str, measured: Mapping[int, dict], fp32: Mapping[int, dict]) -> list[list[str]]:
    """Return the rows of a form of the MainNet: without exits, and with them at each of the allowed drops."""
    cells = list(measured.values())
    whole = next(iter(fp32.values()))["macs"]
    macs = cells[0]["macs"]
    figures = [mean_std([cell["accuracy"] for cell in cells]), "", format_count(macs), f"{100 * macs / whole:.2f}"]
    rows = [[form, str(len(cells)), "without", "", *figures, errors_text(cells, slice(-1, None))]]
    for drop in SHOWN_DROPS:
        accuracies, changes, averages = [], [], []
        for cell in cells:
            point = cell["losses"][DROPS.index(drop)]
            accuracies.append(point["accuracy"])
            changes.append(point["accuracy"] - cell["accuracy"])
            averages.append(macs * (1 - point["saved"]))
        figures = [mean_std(accuracies), mean_std(changes, signed=True), format_count(mean(averages))]
        figures.append(mean_std([100 * average / whole for average in averages]))
        rows.append(["", "", "with", f"{drop:g}", *figures, errors_text(cells, slice(-1))])
    return rows


if __name__ == "__main__":
    run_benchmark("complementary", __doc__, measure=measure, tables=tables)
