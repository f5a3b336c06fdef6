"""Exported int8 files of networks with early exits, run by onnxruntime and by TFLM."""

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from tinynas.cli.screen import Screen
from torch import Tensor

from tinynas.data.base import Data, Split
from tinynas.deploy.onnx_parts import OnnxParts
from tinynas.deploy.tflite_parts import tflite_parts
from tinynas.deploy.tflm_check import TflmExits, TflmFile
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.model import EarlyExitModel
from tinynas.experiment.plans import ExportPlan
from tinynas.pipelines.export import export

CALIBRATION = 500  # training images that set the ranges of int8
Run = Callable[[Tensor], Tensor]  # images (N, C, H, W) -> logits of every exit (N, exits, classes)


def onnx_int8(model: Path, folder: Path) -> Run:
    """Export a model with early exits as ONNX, and return what runs its int8 files in onnxruntime."""
    export(ExportPlan(model=model, out=folder, to="onnx", calibration=CALIBRATION), report=Screen())
    protos = [onnx.load(file) for file in sorted(folder.glob("part*.int8.onnx"))]
    return OnnxParts(protos, int8=True).run


def tflm_int8(model: EarlyExitModel, data: Data) -> Run:
    """Return what runs the int8 TFLite files of a model with early exits in TFLM, in arenas of the counted sizes."""
    images = torch.cat(data.calibration_batches(model.resolution, CALIBRATION))
    heads = model.exits.heads
    fp32 = tflite_parts(model.mainnet.net, model.exits.taps, heads, heads[0].hidden.out_features)
    int8 = fp32.quantize(images)
    files = []
    for name, content, part in zip(int8.file_names, int8.files, int8.parts, strict=True):
        files.append(TflmFile(name, content, part, planned_for=int8.kernels))
    return TflmExits(files).run


def file_outputs(run: Run, data: Data, split: Split, resolution: int) -> ExitOutputs:
    """Return the outputs of every exit for all images of a split."""
    logits, labels = [], []
    for images, batch_labels in data.evaluation_batches(split, resolution):
        logits.append(run(images).transpose(0, 1))
        labels.append(batch_labels)
    return ExitOutputs(torch.cat(logits, 1), torch.cat(labels))
