"""ONNX: a delivered network as a file that onnxruntime runs, in fp32 and in int8."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor

from .delivered import Model
from .detection import WithSuppression
from .errors import InputError, require
from .nets import fold

_OLDEST_OPSET = 18  # that torch writes
_QUIET = 3  # onnxruntime's log level: errors


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A file made of a model, and what it does."""

    kind: str  # "ONNX"
    name: str
    content: bytes
    run: Callable[[Tensor], Tensor]  # images (N, C, H, W) -> the network's outputs, on one thread
    int8: bool = False


def to_onnx(
    model: Model, *, calibration: list[Tensor] | None = None, batch: int | None = 1, opset: int | None = None
) -> list[Deployed]:
    """The model in fp32 and, with images (N, C, H, W) to set its ranges by, in int8 (QDQ, weights per channel).

    Norms are folded; class names and preprocessing are in the metadata. The files take `batch` images at a time, or
    any number if that is None. Raises InputError for an operator set that torch, ONNX or onnxruntime does not know.
    """
    arch = model.net.arch
    images = torch.zeros(batch or 2, arch.in_channels, arch.resolution, arch.resolution)
    shapes = None if batch else {"images": {0: torch.export.Dim.DYNAMIC}}
    outputs = ["logits" if arch.task == "classify" else "predictions"]
    proto = _exported(model, fold(model.net).cpu(), images, outputs, opset, shapes)
    contents = {"model.onnx": proto.SerializeToString()}
    if calibration:
        contents["model.int8.onnx"] = _quantised(proto, calibration, batch).SerializeToString()
    return [
        Deployed(kind="ONNX", name=name, content=content, run=runner(content, batch), int8="int8" in name)
        for name, content in contents.items()
    ]


def to_onnx_boxes(model: Model, *, opset: int | None = None) -> Deployed:
    """A detector in fp32 that gives boxes (K, 4) in 0..1 of one image's sides, scores (K,) and classes (K,).

    Decoding and suppression are in the file. Its `run` gives them beside one another, (K, 6).
    """
    arch = model.net.arch
    image = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    net = WithSuppression(fold(model.net).cpu(), arch).eval()
    proto = _exported(model, net, image, ["boxes", "scores", "classes"], opset, None)
    content = proto.SerializeToString()
    session = _session(content)

    def run(one: Tensor) -> Tensor:
        boxes, scores, classes = session.run(None, {"images": one.numpy()})
        return torch.from_numpy(np.concatenate([boxes, scores[:, None], classes[:, None]], 1).astype(np.float32))

    return Deployed(kind="ONNX, boxes,", name="model.boxes.onnx", content=content, run=run)


def preprocessing(model: Model) -> dict[str, object]:
    """How an image becomes the network's input.

    Converted to `mode` (PIL's name), its shorter side resized to `resize` pixels, a square of `crop` pixels cut out of
    the middle (or, with `stretch`, both sides resized to `resize`), values divided by 255, less `mean`, over `std`.
    """
    arch = model.net.arch
    return {
        "mode": "L" if arch.in_channels == 1 else "RGB",
        "resize": round(arch.resolution / model.crop),
        "crop": arch.resolution,
        "stretch": arch.task == "detect",
        "mean": list(model.normalise.mean),
        "std": list(model.normalise.std),
    }


def _exported(
    model: Model, net: torch.nn.Module, images: Tensor, outputs: list[str], opset: int | None, shapes: Any
) -> onnx.ModelProto:
    newest = onnx.defs.onnx_opset_version()
    require(opset is None or _OLDEST_OPSET <= opset <= newest, f"{_OLDEST_OPSET} <= opset <= {newest}", opset=opset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            (images,),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=shapes,
        )
    proto: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    _strip(proto)
    about = {
        "format": "tinynas 1",
        "data": model.data,
        "classes": json.dumps(model.classes),
        "preprocessing": json.dumps(preprocessing(model)),
    }
    onnx.helper.set_model_props(proto, about)
    return proto


def _strip(proto: onnx.ModelProto) -> None:
    """Leave out what tells how the graph was made: without it a tiny network's file has a third of the size."""
    for node in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    proto.graph.ClearField("metadata_props")
    proto.ClearField("doc_string")


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Batches of images for onnxruntime's calibration."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self.batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self.batches, None)
        return None if images is None else {"images": images.numpy()}


def _quantised(proto: onnx.ModelProto, calibration: list[Tensor], batch: int | None) -> onnx.ModelProto:
    images = torch.cat(calibration)
    size = batch or len(images)
    whole = (images[i : i + size] for i in range(0, len(images) - size + 1, size))
    logging.disable(logging.WARNING)  # advice for networks that are not folded
    try:
        with TemporaryDirectory() as folder:
            quantize_static(
                proto,
                Path(folder) / "model.onnx",
                _Images(whole),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
            quantised = onnx.load(Path(folder) / "model.onnx")
    finally:
        logging.disable(logging.NOTSET)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(proto.metadata_props)
    return quantised


def runner(content: bytes, batch: int | None) -> Callable[[Tensor], Tensor]:
    """An ONNX file's network on one thread: images (N, C, H, W) -> its outputs. Raises InputError."""
    session = _session(content)
    return in_batches(lambda images: session.run(None, {"images": images})[0], batch)


def _session(content: bytes) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, _QUIET
    try:
        return InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes, one for each status
        reason = str(error).splitlines()[0][-200:]
        raise InputError(f"onnxruntime {onnxruntime.__version__} does not run this file: {reason}") from None


def in_batches(run: Callable[[np.ndarray], np.ndarray], batch: int | None) -> Callable[[Tensor], Tensor]:
    """A function of exactly `batch` images made one of any number, by filling up the last batch with zeros."""

    def whole(images: Tensor) -> Tensor:
        size = batch or len(images)
        missing = -len(images) % size
        filled = torch.cat([images, images.new_zeros(missing, *images.shape[1:])]) if missing else images
        logits = [torch.from_numpy(run(part.numpy())) for part in torch.split(filled, size)]
        return torch.cat(logits)[: len(images)]

    return whole
