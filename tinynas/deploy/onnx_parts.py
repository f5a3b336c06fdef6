"""A network in parts, each of them an ONNX model: run on images, timed, quantized."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor

from .latency import median_seconds
from .onnx import create_session, quantize_int8


class PartRun(NamedTuple):
    """A part's run on one image: its inputs by name, and its logits (1, classes)."""

    inputs: dict[str, np.ndarray]
    logits: np.ndarray


class OnnxParts:
    """ONNX models that run one after another, on one image at a time.

    Each takes the activations that the one before carries over. A model that returns nothing but logits is followed by
    one that takes the image.

    Args:
        protos: The models.
        int8: Whether their weights and activations are int8.
    """

    name, kind = "the files", "ONNX"

    def __init__(self, protos: Sequence[onnx.ModelProto], *, int8: bool) -> None:
        self.protos, self.int8 = list(protos), int8
        self.sessions = [create_session(proto.SerializeToString()) for proto in protos]

    @property
    def file_names(self) -> list[str]:
        """Names of the files, in the order in which they run."""
        suffix = ".int8.onnx" if self.int8 else ".onnx"
        return [f"part{number}{suffix}" for number in range(1, len(self.protos) + 1)]

    @property
    def num_bytes(self) -> int:
        """Size of all files, without metadata."""
        return sum(proto.ByteSize() for proto in self.protos)

    def contents(self, metadata: Sequence[Mapping[str, str]]) -> list[bytes]:
        """Return the files' bytes, with the metadata of each part in its file."""
        contents = []
        for proto, properties in zip(self.protos, metadata, strict=True):
            onnx.helper.set_model_props(proto, dict(properties))
            contents.append(proto.SerializeToString())
        return contents

    def run(self, images: Tensor) -> Tensor:
        """Run all parts on images (N, C, H, W); return the logits of every part, (N, parts, classes)."""
        rows = []
        for image in images.numpy():
            rows.append(np.stack([run.logits for run in self.run_image(image[None])], 1))
        return torch.from_numpy(np.concatenate(rows))

    def run_image(self, image: np.ndarray) -> list[PartRun]:
        """Run all parts on one image (1, C, H, W)."""
        carried, runs = [image], []
        for session in self.sessions:
            names = [argument.name for argument in session.get_inputs()]
            inputs = dict(zip(names, carried, strict=True))
            outputs = session.run(None, inputs)
            runs.append(PartRun(inputs, outputs[0]))
            carried = outputs[1:] or [image]
        return runs

    def latencies(self, image: Tensor) -> list[float]:
        """Return the median seconds until the logits of each part, on one thread."""
        seconds = []
        for session, run in zip(self.sessions, self.run_image(image.numpy()), strict=True):
            seconds.append(median_seconds(partial(session.run, None, run.inputs)))
        return list(accumulate(seconds))

    def quantize(self, calibration: Tensor) -> "OnnxParts":
        """Return the parts in int8, their ranges set by what the fp32 parts take for images (N, C, H, W)."""
        feeds: list[list[dict[str, np.ndarray]]] = [[] for _ in self.protos]
        for image in calibration.numpy():
            for run, collected in zip(self.run_image(image[None]), feeds, strict=True):
                collected.append(run.inputs)
        quantized = []
        for proto, collected in zip(self.protos, feeds, strict=True):
            quantized.append(quantize_int8(proto, iter(collected)))
        return OnnxParts(quantized, int8=True)
