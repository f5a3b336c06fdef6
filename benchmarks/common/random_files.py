"""Int8 TFLite files of networks with random weights, and photographs to run them on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tinynas import Arch, build, load_arch, load_space
from tinynas.arch.lowering import lower
from tinynas.arch.operators import LoweredNetwork, Operator
from tinynas.arch.zoo import shipped_networks, shipped_spaces
from tinynas.deploy.calibration import quantize_by
from tinynas.deploy.histograms import collect_histograms
from tinynas.deploy.lowered_run import LayerWeights, layer_weights
from tinynas.deploy.quantization import Quantization
from tinynas.models.batchnorm import recalibrate
from tinynas.models.network import fold
from tinynas.utils.io import read, write

from .paths import SCRATCH, slug

SEED = 0  # of the archs of a space, and of the weights of every network
SAMPLED = 30  # archs of each space
PUBLISHED = "published"  # the group of the shipped networks
KERNELS = ("reference", "cmsis-nn-dsp")  # that files are planned for
CALIBRATION_IMAGES, TEST_IMAGES = 4, 5
_SQUARE = 400  # pixels along a side of what is cut out of a photograph, which has 427x640
_SHIFT = 24  # pixels between squares


def groups() -> list[str]:
    """Return the names of the shipped spaces, and PUBLISHED."""
    names = list(shipped_spaces())
    names.append(PUBLISHED)
    return names


def archs_of(group: str) -> dict[str, Arch]:
    """Return random archs of a space, or the published networks, by the names of their cells."""
    if group == PUBLISHED:
        return {name: load_arch(name) for name in shipped_networks()}
    space, rng = load_space(group), np.random.default_rng(SEED)
    return {f"{group} {number:02}": space.sample(rng) for number in range(SAMPLED)}


@dataclass(frozen=True, kw_only=True)
class RandomNetwork:
    """A network with random weights, in int8.

    Attributes:
        network: The lowered network.
        weights: Its weights.
        quantizations: Quantization of every tensor.
    """

    network: LoweredNetwork
    weights: Mapping[str, LayerWeights]
    quantizations: Mapping[str, Quantization]

    def file(self, kernels: str = "reference") -> bytes:
        """Return its file, whose memory is planned for these kernels."""
        from tinynas.deploy.tflite_writer import write_tflite

        return write_tflite(self.network, self.weights, self.quantizations, kernels=kernels)

    def operator_file(self, operator: Operator) -> bytes:
        """Return the file of a network of a single of its operators."""
        from tinynas.deploy.tflite_writer import write_tflite

        alone = LoweredNetwork(inputs=operator.inputs, operators=(operator,), outputs=(operator.output,))
        return write_tflite(alone, self.weights, self.quantizations)


def int8_network(arch: Arch) -> RandomNetwork:
    """Return the network of an arch with random weights; ranges are the smallest and the largest values of images."""
    network, images = lower(arch), photographs(arch)[:CALIBRATION_IMAGES]
    weights = layer_weights(network, fold(_network(arch, images)))
    quantizations = quantize_by("min-max", network, collect_histograms(network, weights, images))
    return RandomNetwork(network=network, weights=weights, quantizations=quantizations)


def int8_file(name: str, arch: Arch, kernels: str = "reference") -> bytes:
    """Return the int8 file of a network with random weights, written if it has not been.

    Args:
        name: Name of the network.
        arch: The network.
        kernels: The kernels that its memory is planned for.
    """
    path = _path(name, kernels)
    if not path.exists():
        save_files(name, int8_network(arch))
    return read(path)


def save_files(name: str, network: RandomNetwork) -> None:
    """Write the files of a network, planned for each of KERNELS, for `int8_file`."""
    for kernels in KERNELS:
        write(_path(name, kernels), network.file(kernels))


def _path(name: str, kernels: str) -> Path:
    return SCRATCH / "target" / f"{slug(name)}.{kernels}.tflite"


def evaluation_photographs(arch: Arch) -> Tensor:
    """Return images (N, C, H, W) that the ranges of a network were not set by."""
    return photographs(arch)[CALIBRATION_IMAGES:]


def photographs(arch: Arch) -> Tensor:
    """Return normalised squares of scikit-learn's two photographs, (N, C, H, W) as a network takes them."""
    squares, size = [], (arch.resolution, arch.resolution)
    pictures = load_sample_images().images
    for number in range(CALIBRATION_IMAGES + TEST_IMAGES):
        pixels = torch.from_numpy(pictures[number % len(pictures)].copy()).permute(2, 0, 1)[None] / 255
        left = _SHIFT * number
        square = pixels[:, :, :_SQUARE, left : left + _SQUARE]
        squares.append(interpolate(square, size, mode="bilinear", antialias=True))
    normalised = (torch.cat(squares) - 0.45) / 0.25
    return normalised[:, : arch.in_channels].contiguous()


@torch.no_grad()
def _network(arch: Arch, images: Tensor) -> nn.Module:
    """Return a network with random weights, scales and biases, whose batch-norm statistics are those of images."""
    torch.manual_seed(SEED)
    net = build(arch)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            nn.init.uniform_(module.bias, -0.2, 0.2)
    recalibrate(net, [images])
    return net
