"""Trained networks for target.py: how they are trained, and the accuracy of their int8 files in programs of others."""

from dataclasses import replace
from pathlib import Path

from tinynas.cli.screen import Screen

from tinynas import Arch, cost, load_arch
from tinynas.arch.lowering import lower
from tinynas.data.registry import load_data
from tinynas.deploy.exported_file import ExportedFile
from tinynas.deploy.onnx import to_onnx
from tinynas.deploy.runtimes import LiteRT, NetworkRunner
from tinynas.deploy.tflite import to_tflite
from tinynas.deploy.tflm_check import TflmFile, TflmNetwork
from tinynas.experiment.config import RetrainConfig
from tinynas.pipelines.export_check import run_split
from tinynas.pipelines.trained_model import load_trained
from tinynas.tasks.registry import fit_to_data
from tinynas.training.recipe import Recipe
from tinynas.utils.io import read

from .cells import Cells
from .paths import SCRATCH, model_in, slug
from .retraining import SIZES, retrain_network
from .supernets import DATA

FORMS = ("torch fp32", "onnxruntime", "LiteRT", "LiteRT reference", "TFLM")
PHOTOGRAPHS = "photographs"
PHOTOGRAPH_NETWORK, PHOTOGRAPH_RESOLUTION = "mcunet-in3", 96
TRAINED_SEEDS = {"0.1M": range(2), "0.3M": range(2), "1M": range(1), PHOTOGRAPHS: range(1)}
RECIPES = {
    DATA: Recipe(epochs=5, batch_size=128),
    PHOTOGRAPHS: Recipe(epochs=10, batch_size=32, lr=0.05),
}
CALIBRATION = 500  # training images


def measure_trained(cells: Cells, photos: Path | None) -> None:
    """Train the networks, and measure their files; that of photographs only if there is a folder of them."""
    searched = Cells("netaug").read()
    for size in SIZES:
        arch = Arch.from_dict(searched[f"arch {size}"])
        for seed in TRAINED_SEEDS[size]:
            cells.measure(f"trained {size} seed {seed}", train_and_measure, size, arch, DATA, seed)
    if photos:
        arch = replace(load_arch(PHOTOGRAPH_NETWORK), resolution=PHOTOGRAPH_RESOLUTION)
        data = f"imagefolder:{photos.resolve()}"
        for seed in TRAINED_SEEDS[PHOTOGRAPHS]:
            cells.measure(f"trained {PHOTOGRAPHS} seed {seed}", train_and_measure, PHOTOGRAPHS, arch, data, seed)


def train_and_measure(name: str, arch: Arch, data: str, seed: int) -> dict:
    """Train a network unless it has been, and return the test accuracy of its forms in percent."""
    folder = SCRATCH / slug(f"target {name} {seed}")
    recipe = replace(RECIPES[DATA if data == DATA else PHOTOGRAPHS], seed=seed)
    fitted = fit_to_data(arch, load_data(data))
    retrain_network(folder, fitted, RetrainConfig(data=data, recipe=recipe))
    return measure_forms(model_in(folder)) | {"epochs": recipe.epochs}


def measure_forms(path: Path) -> dict:
    """Return the test accuracy of a model in PyTorch, and of its int8 files in the programs that run them."""
    trained = load_trained(path)
    model, data = trained.main, trained.load_data(None)
    arch, task = model.net.arch, trained.task
    calibration = data.calibration_batches(arch.resolution, CALIBRATION)
    onnx, tflite = to_onnx(model, calibration=calibration)[-1], to_tflite(model, calibration=calibration)[-1]
    in_torch = ExportedFile(kind="torch", name=path.name, content=read(path), run=model.net)
    reference = NetworkRunner(tflite.content, arch.classes)
    reference.litert = LiteRT(tflite.content, reference=True)
    in_reference = replace(tflite, run=reference)
    micro = TflmNetwork(TflmFile(tflite.name, tflite.content, lower(arch), planned_for="reference"), arch.classes)
    forms = [in_torch, onnx, tflite, in_reference, micro]
    predictions = [[] for _ in forms]
    truths = []
    for batch in run_split(forms, data, data.test, arch.resolution, task="test split", report=Screen()):
        truths += task.ground_truth(batch.labels, batch.images)
        for outputs, predicted in zip(batch.outputs, predictions, strict=True):
            predicted += task.decode(outputs, arch)
    accuracies = []
    for predicted in predictions:
        accuracies.append(task.metrics(predicted, truths, data.classes)["accuracy"])
    (file,) = micro.files
    return {
        "accuracy": dict(zip(FORMS, accuracies, strict=True)),
        "macs": cost(arch).macs,
        "params": cost(arch).params,
        "file": len(tflite.content),
        "test_images": len(data.test),
        "train_images": len(data.train),
        "classes": len(data.classes),
        "calibration": tflite.calibration,
        "differing": file.differing,
        "largest_step": file.largest_step,
        "arena": [file.counted_bytes, file.arena_bytes],
    }
