"""ONNX: a trained network as a file that onnxruntime runs, in fp32 and in int8."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from ..models.network import example_input, fold
from ..tasks.registry import TASKS
from ..utils.errors import InputError, require
from ..utils.quiet import logging_disabled
from .exported_file import ExportedFile, metadata, run_in_batches

_OLDEST_OPSET = 18  # that torch writes
_ERRORS_ONLY = 3  # a log level of onnxruntime


def to_onnx(
    model: Model, *, calibration: list[Tensor] | None = None, batch: int | None = 1, opset: int | None = None
) -> list[ExportedFile]:
    """Export a model as ONNX in fp32 and, given calibration images, in int8 (QDQ, weights per channel).

    Batch norm is folded into the convolutions; class names and preprocessing are in the metadata.

    Args:
        model: The model.
        calibration: Images (N, C, H, W) that set the ranges of int8; None exports fp32 only.
        batch: Images that the files take at a time; None: any number.
        opset: ONNX operator set; by default torch's.

    Raises:
        InputError: torch does not write the operator set, or onnxruntime does not run it.
    """
    arch = model.net.arch
    shapes = None if batch else {"images": {0: torch.export.Dim.DYNAMIC}}
    inputs = {"images": example_input(arch, batch or 2)}
    proto = export_module(
        fold(model.net).cpu(), inputs, TASKS[arch.task].output_names, opset=opset, dynamic_shapes=shapes
    )
    onnx.helper.set_model_props(proto, metadata(model))
    files = [_exported_file(proto, "model.onnx", batch, int8=False)]
    if calibration:
        quantized = quantize_int8(proto, _batches(torch.cat(calibration), batch))
        files.append(_exported_file(quantized, "model.int8.onnx", batch, int8=True))
    return files


def to_onnx_with_postprocessing(model: Model, *, opset: int | None = None) -> ExportedFile:
    """Export a detector in fp32 with decoding and non-maximum suppression in the file.

    The file takes one image and returns boxes (K, 4), in 0..1 of the image's sides, scores (K,) and classes (K,). `run`
    returns them side by side, (K, 6).
    """
    arch = model.net.arch
    task = TASKS[arch.task]
    net = task.with_postprocessing(fold(model.net).cpu(), arch).eval()
    proto = export_module(net, {"images": example_input(arch)}, task.final_output_names, opset=opset)
    onnx.helper.set_model_props(proto, metadata(model))
    content = proto.SerializeToString()
    return ExportedFile(kind="ONNX, boxes,", name="model.boxes.onnx", content=content, run=_BoxesRunner(content))


def export_module(
    net: torch.nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    opset: int | None = None,
    dynamic_shapes: Any = None,
) -> onnx.ModelProto:
    """Export a module as ONNX.

    Args:
        net: The module.
        inputs: An example of each of its inputs, by the name it gets.
        outputs: Names of its outputs.
        opset: ONNX operator set; by default torch's.
        dynamic_shapes: As `torch.onnx.export` takes them.

    Raises:
        InputError: torch does not write this operator set.
    """
    newest = onnx.defs.onnx_opset_version()
    require(opset is None or _OLDEST_OPSET <= opset <= newest, f"{_OLDEST_OPSET} <= opset <= {newest}", opset=opset)
    with warnings.catch_warnings(), logging_disabled(logging.WARNING):  # such as: a constant is not folded
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
        )
    proto: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    _strip_debug_info(proto)
    return proto


def quantize_int8(proto: onnx.ModelProto, feeds: Iterator[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Return the model in int8 (QDQ, weights per channel), its ranges set by these inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)  # onnxruntime moves the weights of its input to a temporary file
    with logging_disabled(logging.WARNING), TemporaryDirectory() as folder:  # it advises to fold networks first
        path = Path(folder) / "model.onnx"
        quantize_static(
            copy,
            path,
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        quantized = onnx.load(path)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(proto.metadata_props)
    return quantized


def create_session(content: bytes) -> InferenceSession:
    """Load an ONNX file into onnxruntime, on one thread.

    Raises:
        InputError: onnxruntime does not run the file.
    """
    options = SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, _ERRORS_ONLY
    try:
        return InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception class for each status, without a common one
        reason = str(error).splitlines()[0][-200:]
        raise InputError(f"onnxruntime {onnxruntime.__version__} does not run this file: {reason}") from None


class _Runner:
    """Runs an ONNX file on any number of images."""

    def __init__(self, content: bytes, batch: int | None) -> None:
        self.session, self.batch = create_session(content), batch

    def __call__(self, images: Tensor) -> Tensor:
        return run_in_batches(self._run_batch, images, self.batch)

    def _run_batch(self, images: np.ndarray) -> np.ndarray:
        (outputs,) = self.session.run(None, {"images": images})
        return np.asarray(outputs)


class _BoxesRunner:
    """Runs an ONNX file that returns boxes, scores and classes on one image."""

    def __init__(self, content: bytes) -> None:
        self.session = create_session(content)

    def __call__(self, image: Tensor) -> Tensor:
        boxes, scores, classes = self.session.run(None, {"images": image.numpy()})
        rows = np.concatenate([boxes, scores[:, None], classes[:, None]], 1)
        return torch.from_numpy(rows.astype(np.float32))


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    """Inputs by name for onnxruntime's calibration."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self.feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next inputs, or None at the end."""
        return next(self.feeds, None)


def _exported_file(proto: onnx.ModelProto, name: str, batch: int | None, *, int8: bool) -> ExportedFile:
    content = proto.SerializeToString()
    return ExportedFile(kind="ONNX", name=name, content=content, run=_Runner(content, batch), int8=int8)


def _batches(images: Tensor, batch: int | None) -> Iterator[dict[str, np.ndarray]]:
    """Yield the images in full batches; the rest is left out."""
    size = batch or len(images)
    for start in range(0, len(images) - size + 1, size):
        yield {"images": images[start : start + size].numpy()}


def _strip_debug_info(proto: onnx.ModelProto) -> None:
    """Remove the record of how the graph was traced, which is two thirds of a tiny network's file."""
    graph = proto.graph
    for entries in (graph.node, graph.value_info, graph.input, graph.output):
        for entry in entries:
            entry.ClearField("metadata_props")
            entry.ClearField("doc_string")
    graph.ClearField("metadata_props")
    proto.ClearField("doc_string")
