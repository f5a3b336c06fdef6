"""TensorFlow Lite: a delivered network as a file for LiteRT and its kin for microcontrollers, in fp32 and in int8.

Needs the extra `tflite`: litert-torch converts, ai-edge-quantizer quantises, ai-edge-litert interprets.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.model_file import Model
from ..models.network import fold
from ..utils.errors import InputError
from .onnx import Deployed, in_batches

Array = np.ndarray[Any, np.dtype[Any]]


def to_tflite(model: Model, *, calibration: list[Tensor] | None = None) -> list[Deployed]:
    """The model in fp32 and, with images (N, C, H, W) to set its ranges by, in int8 (weights per channel).

    Norms are folded. The files take one image, (1, H, W, C); the int8 file takes and gives int8, by the scales and zero
    points it holds. Raises InputError if the extra is not installed.
    """
    if not find_spec("litert_torch"):
        raise InputError("a .tflite file needs LiteRT: pip install 'tinynas[tflite]'")
    with TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.tflite"
        _convert(model, path)
        contents = {"model.tflite": path.read_bytes()}
        if calibration:
            contents["model.int8.tflite"] = _quantised(path, torch.cat(calibration))
        return [
            Deployed(kind="TFLite", name=name, content=content, run=_runner(content), int8="int8" in name)
            for name, content in contents.items()
        ]


def _convert(model: Model, path: Path) -> None:
    import litert_torch

    arch = model.net.arch
    net = litert_torch.to_channel_last_io(fold(model.net).cpu(), args=[0]).eval()
    image = torch.zeros(1, arch.resolution, arch.resolution, arch.in_channels)
    litert_torch.convert(net, (image,)).export(str(path))


def _quantised(path: Path, images: Tensor) -> bytes:
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.calibrator import CalibrationInterpreter, CalibrationMode

    quantise = quantizer.Quantizer(str(path))
    quantise.load_quantization_recipe(recipe.static_wi8_ai8())
    name, signature = next(iter(_interpreter(path.read_bytes()).get_signature_list().items()))
    (argument,) = signature["inputs"]
    mode = CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    watched = CalibrationInterpreter(str(path), mode, _extremes)
    run = watched.get_signature_runner(name)
    for image in images:
        run(**{argument: _channels_last(image[None].numpy())})
    return bytes(quantise.quantize(watched.get_calibration_results()).quantized_model)


def _extremes(seen: dict[str, Array], new: dict[str, Array]) -> dict[str, Array]:
    """The range of a tensor over all images; the quantizer's own moving average clips, and costs more accuracy."""
    if not seen:
        return new
    return {"min": np.minimum(seen["min"], new["min"]), "max": np.maximum(seen["max"], new["max"])}


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _runner(content: bytes) -> Callable[[Tensor], Tensor]:
    """A file's network: images (N, C, H, W) -> logits (N, classes)."""
    interpreter = _interpreter(content)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: Array) -> Array:
        interpreter.set_tensor(given["index"], _quantise(_channels_last(image), given))
        interpreter.invoke()
        return _dequantise(interpreter.get_tensor(made["index"]), made)

    return in_batches(run, 1)


def _channels_last(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _quantise(values: Array, tensor: dict[str, Any]) -> Array:
    """Floats as the tensor holds them: themselves, or int8 by its scale and zero point."""
    scale, zero = tensor["quantization"]
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8) if scale else values


def _dequantise(values: Array, tensor: dict[str, Any]) -> Array:
    scale, zero = tensor["quantization"]
    return (scale * (values.astype(np.float32) - zero)).astype(np.float32) if scale else values


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter tells every step of its own, partly from C++."""
    sys.stderr.flush()
    words, stderr = io.StringIO(), os.dup(2)
    with warnings.catch_warnings(), contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        warnings.simplefilter("ignore")
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
