"""TensorFlow Lite: a trained network as a file for LiteRT and for microcontrollers, in fp32 and in int8.

Needs the extra `tflite`: litert-torch converts, ai-edge-quantizer quantizes, ai-edge-litert interprets.
"""

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.model_file import Model
from ..models.network import example_input, fold
from ..utils.errors import InputError
from ..utils.quiet import output_discarded
from .exported_file import ExportedFile, run_in_batches

Array = np.ndarray[Any, np.dtype[Any]]


def to_tflite(model: Model, *, calibration: list[Tensor] | None = None) -> list[ExportedFile]:
    """Export a model as TFLite in fp32 and, given calibration images, in int8 (weights per channel).

    Batch norm is folded into the convolutions. The files take one image, (1, H, W, C). Inputs and outputs of the int8
    file are int8, by the scales and zero points that it holds.

    Args:
        model: The model.
        calibration: Images (N, C, H, W) that set the ranges of int8; None exports fp32 only.

    Raises:
        InputError: The extra is not installed.
    """
    if not find_spec("litert_torch"):
        raise InputError("a .tflite file needs LiteRT: pip install 'tinynas[tflite]'")
    with TemporaryDirectory() as folder, output_discarded():  # the converter logs every step, partly from C++
        path = Path(folder) / "model.tflite"
        _convert(model, path)
        files = [_exported_file("model.tflite", path.read_bytes(), int8=False)]
        if calibration:
            quantized = _quantize(path, torch.cat(calibration))
            files.append(_exported_file("model.int8.tflite", quantized, int8=True))
    return files


def _exported_file(name: str, content: bytes, *, int8: bool) -> ExportedFile:
    return ExportedFile(kind="TFLite", name=name, content=content, run=_Runner(content), int8=int8)


def _convert(model: Model, path: Path) -> None:
    import litert_torch

    net = litert_torch.to_channel_last_io(fold(model.net).cpu(), args=[0]).eval()
    image = example_input(model.net.arch).permute(0, 2, 3, 1).contiguous()
    litert_torch.convert(net, (image,)).export(str(path))


def _quantize(path: Path, images: Tensor) -> bytes:
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.calibrator import CalibrationInterpreter, CalibrationMode

    quantize = quantizer.Quantizer(str(path))
    quantize.load_quantization_recipe(recipe.static_wi8_ai8())
    name, signature = next(iter(_interpreter(path.read_bytes()).get_signature_list().items()))
    (argument,) = signature["inputs"]
    mode = CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    calibrator = CalibrationInterpreter(str(path), mode, _extremes)
    run = calibrator.get_signature_runner(name)
    for image in images:
        run(**{argument: _channels_last(image[None].numpy())})
    return bytes(quantize.quantize(calibrator.get_calibration_results()).quantized_model)


def _extremes(seen: dict[str, Array], new: dict[str, Array]) -> dict[str, Array]:
    """Return a tensor's range over all images; the quantizer's own moving average clips and loses more accuracy."""
    if not seen:
        return new
    return {"min": np.minimum(seen["min"], new["min"]), "max": np.maximum(seen["max"], new["max"])}


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


class _Runner:
    """Runs a TFLite file on any number of images: (N, C, H, W) -> logits (N, classes)."""

    def __init__(self, content: bytes) -> None:
        self.interpreter = _interpreter(content)
        (self.input,) = self.interpreter.get_input_details()
        (self.output,) = self.interpreter.get_output_details()

    def __call__(self, images: Tensor) -> Tensor:
        return run_in_batches(self._run_image, images, 1)

    def _run_image(self, image: Array) -> Array:
        self.interpreter.set_tensor(self.input["index"], _to_int8(_channels_last(image), self.input))
        self.interpreter.invoke()
        return _to_float(self.interpreter.get_tensor(self.output["index"]), self.output)


def _channels_last(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _to_int8(values: Array, tensor: dict[str, Any]) -> Array:
    """Return floats as int8, by the tensor's scale and zero point; unchanged if it has none."""
    scale, zero = tensor["quantization"]
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8) if scale else values


def _to_float(values: Array, tensor: dict[str, Any]) -> Array:
    """Return int8 as floats, by the tensor's scale and zero point; unchanged if it has none."""
    scale, zero = tensor["quantization"]
    return (scale * (values.astype(np.float32) - zero)).astype(np.float32) if scale else values
