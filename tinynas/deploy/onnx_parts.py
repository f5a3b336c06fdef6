"""A network in parts, each of them an ONNX model: run on images, timed, quantized."""

from collections.abc import Iterable, Mapping, Sequence
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
    """A part's run: its inputs by name, and its logits (N, classes)."""

    inputs: dict[str, np.ndarray]
    logits: np.ndarray


class OnnxParts:
    """ONNX models that run one after another, on one image at a time unless they take more.

    Each takes the activations that the one before carries over. A model that returns nothing but logits is followed by
    one that takes the network's inputs, such as the image.

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
            rows.append(np.stack([run.logits for run in self.run_all([image[None]])], 1))
        return torch.from_numpy(np.concatenate(rows))

    def run_all(self, inputs: Sequence[np.ndarray]) -> list[PartRun]:
        """Run all parts on the network's inputs, such as one image (1, C, H, W), and on what is carried over."""
        carried, runs = list(inputs), []
        for session in self.sessions:
            names = [argument.name for argument in session.get_inputs()]
            by_name = dict(zip(names, carried, strict=True))
            outputs = session.run(None, by_name)
            runs.append(PartRun(by_name, outputs[0]))
            carried = outputs[1:] or list(inputs)
        return runs

    def latencies(self, image: Tensor) -> list[float]:
        """Return the median seconds until the logits of each part, on one thread."""
        seconds = []
        for session, run in zip(self.sessions, self.run_all([image.numpy()]), strict=True):
            seconds.append(median_seconds(partial(session.run, None, run.inputs)))
        return list(accumulate(seconds))

    def quantize(self, calibration: Tensor) -> "OnnxParts":
        """Return the parts in int8, their ranges set by what the fp32 parts take for images (N, C, H, W)."""
        return self.quantize_by([image[None]] for image in calibration.numpy())

    def quantize_by(self, batches: Iterable[Sequence[np.ndarray]]) -> "OnnxParts":
        """Return the parts in int8, their ranges set by what the fp32 parts take for batches of inputs."""
        feeds: list[list[dict[str, np.ndarray]]] = [[] for _ in self.protos]
        for inputs in batches:
            for run, collected in zip(self.run_all(inputs), feeds, strict=True):
                collected.append(run.inputs)
        quantized = []
        for proto, collected in zip(self.protos, feeds, strict=True):
            quantized.append(quantize_int8(proto, iter(collected)))
        return OnnxParts(quantized, int8=True)
