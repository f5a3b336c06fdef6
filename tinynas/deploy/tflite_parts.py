"""A network with early exits in parts, each of them a TFLite file: written, run on images, timed."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

from ..arch.exit_lowering import split_after_outputs, with_side_heads
from ..arch.lowering import lower
from ..arch.operators import LoweredNetwork
from ..models.network import Network, fold
from .calibration import calibrate
from .latency import median_seconds
from .lowered_run import LayerWeights, layer_weights
from .quantization import Array, Quantization
from .runtimes import LiteRT, check_litert


class TfliteParts:
    """TFLite files that run one after another, on one image at a time.

    Each takes what the one before returns besides its logits. What is carried has the same scale and zero point in both
    int8 files.

    Args:
        network: The lowered network with side heads.
        weights: Its weights.
        quantizations: Quantization of every tensor for int8 files; None for fp32.
        kernels: The kernels that the memory of int8 files is planned for, see `tinynas.arch.arena`.

    Raises:
        InputError: The extra `tflite` is not installed.
    """

    name, kind = "the files", "TFLite"

    def __init__(
        self,
        network: LoweredNetwork,
        weights: Mapping[str, LayerWeights],
        quantizations: Mapping[str, Quantization] | None = None,
        *,
        kernels: str,
    ) -> None:
        check_litert()
        from .tflite_writer import write_tflite

        self.network, self.weights, self.kernels = network, weights, kernels
        self.int8 = quantizations is not None
        self.parts = split_after_outputs(network)
        self.files: list[bytes] = []
        for part in self.parts:
            self.files.append(write_tflite(part, weights, quantizations, kernels=kernels))
        self.runners = [LiteRT(content) for content in self.files]

    @property
    def file_names(self) -> list[str]:
        """Names of the files, in the order in which they run."""
        suffix = ".int8.tflite" if self.int8 else ".tflite"
        return [f"part{number}{suffix}" for number in range(1, len(self.files) + 1)]

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(map(len, self.files))

    def contents(self, metadata: Sequence[Mapping[str, str]]) -> list[bytes]:
        """Return the files' bytes. They hold no metadata, which would take flash on the chip."""
        return self.files

    def run(self, images: Tensor) -> Tensor:
        """Run all parts on images (N, C, H, W); return the logits of every part, (N, parts, classes)."""
        rows = []
        for image in torch.split(images, 1):
            logits = []
            for runner, inputs in zip(self.runners, self._inputs(image), strict=True):
                logits.append(runner.dequantized(runner.run(inputs))[0])
            rows.append(np.stack(logits, 1))
        return torch.from_numpy(np.concatenate(rows))

    def latencies(self, image: Tensor) -> list[float]:
        """Return the median seconds until the logits of each part, on one thread."""
        seconds = []
        for runner, inputs in zip(self.runners, self._inputs(image), strict=True):
            seconds.append(median_seconds(partial(runner.run, inputs)))
        return list(accumulate(seconds))

    def quantize(self, calibration: Tensor) -> "TfliteParts":
        """Return the parts in int8, their ranges set by images (N, C, H, W)."""
        int8 = calibrate(self.network, self.weights, calibration)
        return TfliteParts(self.network, int8.weights, int8.quantizations, kernels=self.kernels)

    def _inputs(self, image: Tensor) -> list[list[Array]]:
        """Return what each part takes for an image (1, C, H, W)."""
        carried, inputs = [self.runners[0].quantized(image)], []
        for runner in self.runners:
            inputs.append(carried)
            carried = runner.run(carried)[1:]
        return inputs


def tflite_parts(
    net: Network, taps: Sequence[str], heads: Sequence[nn.Module], hidden: int, *, kernels: str = "reference"
) -> TfliteParts:
    """Return the fp32 files of a classifier with side heads.

    Args:
        net: The classifier.
        taps: Modules whose outputs the side heads read.
        heads: Side heads with linear layers `hidden` and `classifier`.
        hidden: Features of the hidden layers.
        kernels: The kernels that the memory of int8 files is planned for.

    Raises:
        InputError: A tap has no feature map in a TFLite file, or the extra `tflite` is not installed.
    """
    network = with_side_heads(lower(net.arch), taps, hidden)
    folded = fold(net).cpu()
    folded.add_module("side", nn.ModuleList(heads))
    return TfliteParts(network, layer_weights(network, folded), kernels=kernels)
