"""The cost of an arch on an Ethos-U, by Vela, without trained weights; a cache keeps what was compiled."""

import logging
from dataclasses import asdict
from hashlib import sha256

import torch

from ..arch.arch import Arch
from ..arch.lowering import lower
from ..arch.operators import CONVOLUTIONS, LoweredNetwork, Operator
from ..utils.errors import FileError
from ..utils.io import json_digest, read_json, write_json
from ..utils.paths import cache_folder
from .lowered_run import LayerWeights
from .quantization import Quantization
from .vela import ACCELERATORS, VelaEstimate, check_vela, compile_file, vela_version

logger = logging.getLogger(__name__)
_RECTIFIED = Quantization(scale=6 / 255, zero_point=-128)  # values from 0 to 6
_SYMMETRIC = Quantization(scale=8 / 255, zero_point=0)  # values from -4 to 4


class EthosU:
    """Costs of archs on an Ethos-U as `MeasuredCosts`, estimated by Vela; every arch is compiled once.

    Estimates are kept in the cache folder, for all processes of the user. They are those of random weights: Vela
    compresses weights, so trained ones give a few tenths of a percent more or less.

    Args:
        accelerator: One of `tinynas.deploy.vela.ACCELERATORS`.
        sram: Bytes of SRAM that Vela tries to stay within; None for the fastest schedule.

    Attributes:
        compiled: Number of archs that this object compiled; the estimates of others were cached.

    Raises:
        InputError: The extra `ethos` is not installed.
    """

    def __init__(self, accelerator: str, *, sram: int | None = None) -> None:
        check_vela()
        self.accelerator, self.sram = accelerator, sram
        self.compiled = 0
        self._estimates: dict[Arch, VelaEstimate] = {}

    @property
    def digest(self) -> str:
        """SHA-256 of what the estimates depend on besides the arch."""
        return json_digest([asdict(ACCELERATORS[self.accelerator]), self.accelerator, self.sram, vela_version()])

    def measure(self, arch: Arch) -> dict[str, float]:
        """Return seconds, bytes of SRAM and bytes of the compiled file. Raises FileError if Vela fails."""
        estimate = self.estimate(arch)
        return {"latency": estimate.seconds, "peak_sram_vela": estimate.sram, "file_vela": estimate.file}

    def estimate(self, arch: Arch) -> VelaEstimate:
        """Return all that Vela estimates of an arch. Raises FileError if Vela fails."""
        if arch not in self._estimates:
            self._estimates[arch] = self._cached_estimate(random_file(lower(arch)))
        return self._estimates[arch]

    def _cached_estimate(self, content: bytes) -> VelaEstimate:
        """Return the estimate for a file, whose content stands for the arch and for how the file is written."""
        key = json_digest([self.digest, sha256(content).hexdigest()])
        path = cache_folder() / "vela" / f"{key[:32]}.json"
        try:
            return VelaEstimate.from_dict(read_json(path))
        except FileError:  # not compiled yet, or damaged
            estimate = compile_file(content, self.accelerator, sram=self.sram).estimate
        self.compiled += 1
        try:
            write_json(path, asdict(estimate))
        except FileError:
            logger.info("cannot write %s: the network will be compiled again next time", path)
        return estimate


def random_file(network: LoweredNetwork) -> bytes:
    """Return an int8 file of a network with random weights and usual scales, always the same for the same network."""
    from .tflite_writer import write_tflite

    generator = torch.Generator().manual_seed(0)
    weights = {}
    quantizations = {tensor.name: _SYMMETRIC for tensor in network.inputs}
    for operator in network.operators:
        if operator.layer:
            weights[operator.name] = _random_weights(operator, generator)
        if operator.kind == "RESIZE_NEAREST_NEIGHBOR":  # copies values, and so keeps their scale
            quantizations[operator.name] = quantizations[operator.inputs[0].name]
        else:
            quantizations[operator.name] = _RECTIFIED if operator.activation else _SYMMETRIC
    return write_tflite(network, weights, quantizations)


def _random_weights(operator: Operator, generator: torch.Generator) -> LayerWeights:
    """Return normal weights that keep the variance behind relu (He et al., 2015), and biases of 0."""
    channels, (rows, columns) = operator.output.channels, operator.kernel
    fan_in = operator.num_weights // channels
    shape = [channels, fan_in]
    if operator.kind in CONVOLUTIONS:
        shape = [channels, fan_in // (rows * columns), rows, columns]
    weight = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    return LayerWeights(weight=weight, bias=torch.zeros(channels))
