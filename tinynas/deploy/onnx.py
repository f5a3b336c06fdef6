"""ONNX: a delivered network as a file that onnxruntime runs, in fp32 and in int8."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from ..models.model_file import Model
from ..models.network import fold
from ..tasks.detection import DetectorWithNMS
from ..utils.errors import InputError, require

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
    proto = exported(fold(model.net).cpu(), {"images": images}, outputs, opset=opset, shapes=shapes)
    onnx.helper.set_model_props(proto, about(model))
    contents = {"model.onnx": proto.SerializeToString()}
    if calibration:
        whole = torch.cat(calibration)
        size = batch or len(whole)
        feeds = ({"images": whole[i : i + size].numpy()} for i in range(0, len(whole) - size + 1, size))
        contents["model.int8.onnx"] = quantised(proto, feeds).SerializeToString()
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
    net = DetectorWithNMS(fold(model.net).cpu(), arch).eval()
    proto = exported(net, {"images": image}, ["boxes", "scores", "classes"], opset=opset)
    onnx.helper.set_model_props(proto, about(model))
    content = proto.SerializeToString()
    session = session_of(content)

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


def about(model: Model) -> dict[str, str]:
    """What an ONNX file of a model says in its metadata."""
    return {
        "format": "tinynas 1",
        "data": model.data,
        "classes": json.dumps(model.classes),
        "preprocessing": json.dumps(preprocessing(model)),
    }


def exported(
    net: torch.nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    opset: int | None = None,
    shapes: Any = None,
) -> onnx.ModelProto:
    """A module with examples of its inputs as ONNX. Raises InputError for an operator set that torch does not write."""
    newest = onnx.defs.onnx_opset_version()
    require(opset is None or _OLDEST_OPSET <= opset <= newest, f"{_OLDEST_OPSET} <= opset <= {newest}", opset=opset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
        )
    proto: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    _strip(proto)
    return proto


def _strip(proto: onnx.ModelProto) -> None:
    """Leave out what tells how the graph was made: without it a tiny network's file has a third of the size."""
    for node in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    proto.graph.ClearField("metadata_props")
    proto.ClearField("doc_string")


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    """Inputs by name for onnxruntime's calibration."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self.feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def quantised(proto: onnx.ModelProto, feeds: Iterator[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """The same in int8 (QDQ, weights per channel), its ranges set by these inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)  # what is quantised has its weights moved to a temporary file
    logging.disable(logging.WARNING)  # advice for networks that are not folded
    try:
        with TemporaryDirectory() as folder:
            quantize_static(
                copy,
                Path(folder) / "model.onnx",
                _Feeds(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
            made = onnx.load(Path(folder) / "model.onnx")
    finally:
        logging.disable(logging.NOTSET)
    del made.metadata_props[:]
    made.metadata_props.extend(proto.metadata_props)
    return made


def runner(content: bytes, batch: int | None) -> Callable[[Tensor], Tensor]:
    """An ONNX file's network on one thread: images (N, C, H, W) -> its outputs. Raises InputError."""
    session = session_of(content)
    return in_batches(lambda images: session.run(None, {"images": images})[0], batch)


def session_of(content: bytes) -> InferenceSession:
    """An ONNX file on one thread. Raises InputError if onnxruntime does not run it."""
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
