"""Quantization-aware training (QAT): fine-tuning of a network whose weights and activations are rounded to int8."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..arch.operators import LoweredNetwork
from .calibration import Int8Network, output_error
from .int8_simulation import run_int8
from .lowered_run import LayerWeights, run_lowered

_LR = 3e-5  # of Adam, at the start
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """Images that a network is fine-tuned on.

    Attributes:
        batches: Every batch (N, C, H, W) of all epochs, which are read once.
        steps: Number of batches.
    """

    batches: Iterable[Tensor]
    steps: int


def fine_tune(network: LoweredNetwork, int8: Int8Network, training: TrainingImages, images: Tensor) -> Int8Network:
    """Train the weights of an int8 network until its outputs are closer to those of the network in fp32.

    The network with folded norms learns to return what it returned in fp32; labels are not needed. Weights are rounded
    per channel and activations to their ranges, which stay as they are. The learning rate falls along a cosine.

    Args:
        network: The network.
        int8: Its calibrated weights and ranges.
        training: Training images.
        images: Calibration images (N, C, H, W), which the error is measured on.

    Returns:
        The fine-tuned network, or `int8` if that has less error.
    """
    weights = _train(network, int8, training)
    error = output_error(network, int8.weights, weights, int8.quantizations, images)
    return replace(int8, weights=weights, error=error) if error < int8.error else int8


def _train(network: LoweredNetwork, int8: Int8Network, training: TrainingImages) -> dict[str, LayerWeights]:
    """Return fine-tuned weights."""
    tuned: dict[str, LayerWeights] = {}
    parameters = []
    for name, layer in int8.weights.items():
        tuned[name] = LayerWeights(weight=nn.Parameter(layer.weight.clone()), bias=nn.Parameter(layer.bias.clone()))
        parameters += [tuned[name].weight, tuned[name].bias]
    optimizer = torch.optim.Adam(parameters, lr=_LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    for images in training.batches:
        with torch.no_grad():
            expected = run_lowered(network, int8.weights, images)
        values = run_int8(network, tuned, int8.quantizations, images)
        optimizer.zero_grad()
        _output_loss(network, values, expected).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    for name, layer in tuned.items():
        tuned[name] = LayerWeights(weight=layer.weight.detach(), bias=layer.bias.detach())
    return tuned


def _output_loss(network: LoweredNetwork, values: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Tensor:
    """Return the squared error of the outputs relative to their squares, summed over outputs."""
    losses = []
    for tensor in network.outputs:
        reference = expected[tensor.name]
        noise = (values[tensor.name] - reference).square().mean()
        losses.append(noise / reference.square().mean().clamp_min(_TINY))
    return torch.stack(losses).sum()
