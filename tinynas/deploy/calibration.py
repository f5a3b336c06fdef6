"""Calibration: int8 ranges of activations, by the criterion whose int8 outputs are the most accurate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..arch.operators import LoweredNetwork
from .histograms import CRITERIA, Histogram, Range, collect_histograms, min_max
from .int8_simulation import run_int8
from .lowered_run import LayerWeights, run_lowered
from .quantization import Quantization, quantization

_BATCH = 8  # images whose activations are in memory at the same time
_LEAST_SIGNAL = 1e-30  # of outputs that are all 0


@dataclass(frozen=True, kw_only=True)
class Int8Network:
    """What an int8 file is written from.

    Attributes:
        weights: Weights of the layers by operator, which the file holds rounded.
        quantizations: Quantization of every tensor of activations by name.
        criterion: The criterion that chose the ranges, a key of `CRITERIA`.
        error: Error of the outputs on the calibration images, see `output_error`.
    """

    weights: Mapping[str, LayerWeights]
    quantizations: Mapping[str, Quantization]
    criterion: str
    error: float


def calibrate(network: LoweredNetwork, weights: Mapping[str, LayerWeights], images: Tensor) -> Int8Network:
    """Choose the int8 ranges of a network's activations.

    Each criterion chooses a range for every tensor from its values on the images. The criterion whose int8 outputs
    have the least error is used for the whole network.

    Args:
        network: The network.
        weights: Its weights, as `layer_weights` returns them.
        images: Calibration images (N, C, H, W).

    Raises:
        InputError: Values overflow.
    """
    histograms = collect_histograms(network, weights, images)
    candidates = []
    for criterion in CRITERIA:
        quantizations = quantize_by(criterion, network, histograms)
        error = output_error(network, weights, weights, quantizations, images)
        candidates.append(Int8Network(weights=weights, quantizations=quantizations, criterion=criterion, error=error))
    return min(candidates, key=_error)


def quantize_by(
    criterion: str, network: LoweredNetwork, histograms: Mapping[str, Histogram]
) -> dict[str, Quantization]:
    """Return the quantization of every tensor by name, its range chosen by a criterion.

    The network's inputs and outputs are never clipped: pixel values have no outliers, and the largest outputs are the
    predictions.

    Args:
        criterion: A key of `CRITERIA`.
        network: The network.
        histograms: Histogram of every tensor by name.
    """
    ends = {tensor.name for tensor in network.inputs + network.outputs}
    ranges: dict[str, Range] = {}
    for name, histogram in histograms.items():
        ranges[name] = min_max(histogram) if name in ends else CRITERIA[criterion](histogram)
    quantizations = {tensor.name: quantization(ranges[tensor.name]) for tensor in network.inputs}
    for operator in network.operators:
        if operator.kind == "RESIZE_NEAREST_NEIGHBOR":  # copies values, and so keeps their scale
            quantizations[operator.name] = quantizations[operator.inputs[0].name]
        else:
            quantizations[operator.name] = quantization(ranges[operator.name])
    return quantizations


@torch.no_grad()
def output_error(
    network: LoweredNetwork,
    weights: Mapping[str, LayerWeights],
    int8_weights: Mapping[str, LayerWeights],
    quantizations: Mapping[str, Quantization],
    images: Tensor,
) -> float:
    """Return the root mean square difference of int8 outputs from fp32, relative to the root mean square in fp32.

    The errors of several outputs are averaged.

    Args:
        network: The network.
        weights: Its weights in fp32.
        int8_weights: Those that are rounded for int8: the same, or fine-tuned ones.
        quantizations: Quantization of every tensor of activations.
        images: Images (N, C, H, W).
    """
    noise, signal = np.zeros(len(network.outputs)), np.zeros(len(network.outputs))
    for batch in torch.split(images, _BATCH):
        expected = run_lowered(network, weights, batch)
        values = run_int8(network, int8_weights, quantizations, batch)
        for position, tensor in enumerate(network.outputs):
            reference = expected[tensor.name].double()
            noise[position] += (values[tensor.name] - reference).square().sum().item()
            signal[position] += reference.square().sum().item()
    return float(np.sqrt(noise / np.maximum(signal, _LEAST_SIGNAL)).mean())


def _error(candidate: Int8Network) -> float:
    return candidate.error
