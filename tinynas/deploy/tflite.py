"""TensorFlow Lite: a trained network as a file for LiteRT and for microcontrollers, in fp32 and in int8.

Needs the extra `tflite`: flatbuffers writes the file, ai-edge-litert has its schema and runs it.
"""

import torch
from torch import Tensor

from ..arch.lowering import lower
from ..models.model_file import Model
from ..models.network import fold
from .calibration import Int8Network, calibrate
from .exported_file import ExportedFile
from .lowered_run import layer_weights
from .qat import TrainingImages, fine_tune
from .runtimes import NetworkRunner, check_litert


def to_tflite(
    model: Model,
    *,
    calibration: list[Tensor] | None = None,
    training: TrainingImages | None = None,
    kernels: str = "reference",
) -> list[ExportedFile]:
    """Export a model as TFLite in fp32 and, given calibration images, in int8 (weights per channel).

    Batch norm is folded into the convolutions. The files take one image, (1, H, W, C). Inputs and outputs of the int8
    file are int8, by the scales and zero points that it holds. A detector's files return two
    maps for each feature map that it reads, the coarsest first: boxes (1, H, W, 4) and classes (1, H, W, classes); run
    by `ExportedFile.run`, they return what the network does.

    Args:
        model: The model.
        calibration: Images (N, C, H, W) that set the ranges of int8; None exports fp32 only.
        training: Images that the weights of the int8 file are fine-tuned on; None: they are those of the model.
        kernels: The kernels that the memory of the int8 file is planned for, see `tinynas.arch.arena`.

    Raises:
        InputError: The extra is not installed, or values overflow on the calibration images.
    """
    check_litert()
    from .tflite_writer import write_tflite

    network = lower(model.net.arch)
    weights = layer_weights(network, fold(model.net).cpu())
    files = [_exported_file(model, "model.tflite", write_tflite(network, weights))]
    if calibration:
        images = torch.cat(calibration)
        int8 = calibrate(network, weights, images)
        if training:
            int8 = fine_tune(network, int8, training, images)
        content = write_tflite(network, int8.weights, int8.quantizations, kernels=kernels)
        files.append(_exported_file(model, "model.int8.tflite", content, int8))
    return files


def _exported_file(model: Model, name: str, content: bytes, int8: Int8Network | None = None) -> ExportedFile:
    return ExportedFile(
        kind="TFLite",
        name=name,
        content=content,
        run=NetworkRunner(content),
        int8=int8 is not None,
        calibration=int8.criterion if int8 else None,
        output_error=int8.error if int8 else None,
    )
