"""Whether blocks of the user's own say the same of themselves in `lower`, `module` and `channel_groups`."""

from collections.abc import Iterator

import torch
from torch import nn

from ..arch.arch import Arch
from ..arch.block_kinds import SHIPPED
from ..arch.blocks import Block
from ..arch.channels import ChannelGroup
from ..arch.layer_cost import FeatureMap
from ..arch.lowering import lower_block, map_spec
from ..arch.operators import LoweredNetwork
from ..arch.own_code import errors_of_block
from ..deploy.lowered_run import layer_weights, run_lowered
from ..models.network import block_module, fold_in_place
from ..utils.errors import InputError

_NAME = "block"  # of the block in a network of nothing else
_TOLERANCE = 1e-3  # of the largest output


def check_blocks(arch: Arch) -> None:
    """Check the blocks of an arch that are not of the shipped kinds, before anything is trained.

    Raises:
        InputError: A block's operators and its module differ in a layer, in the output's shape or values, or its
            channel groups name tensors that the module lacks; or one of them raises an exception.
    """
    feature_map = FeatureMap.of(arch.in_channels, arch.resolution).after(arch.stem.out, arch.stem.stride)
    checked = set()
    for stage in arch.stages:
        for block in stage:
            if block.kind not in SHIPPED and (block, feature_map) not in checked:
                with torch.random.fork_rng([]):
                    _check(block, feature_map)
                checked.add((block, feature_map))
            feature_map = feature_map.after(block.out, block.stride)


def _check(block: Block, feature_map: FeatureMap) -> None:
    lowered = lower_block(block, map_spec(feature_map), _NAME, turned=False)
    net = nn.ModuleDict({_NAME: block_module(block, feature_map.channels)}).eval()
    for problem in _problems(block, lowered, net, feature_map):
        name = type(block).__name__
        raise InputError(f"the block {block.kind!r} contradicts itself: {problem}; mend its class, {name}")


def _problems(block: Block, lowered: LoweredNetwork, net: nn.ModuleDict, feature_map: FeatureMap) -> Iterator[str]:
    """Yield what the parts of a block's class disagree about, the first of it first."""
    names = dict(net.named_modules())
    for operator in lowered.operators:
        if operator.layer and operator.layer not in names:
            yield f"`lower` has the layer {_own(operator.layer)}, which the module lacks"
    tensors = net.state_dict()
    for name in _grouped(block):
        if name not in tensors:
            yield f"`channel_groups` names {_own(name)}, which the module lacks"
    x = torch.randn(2, feature_map.channels, feature_map.height, feature_map.width)
    with torch.no_grad(), errors_of_block(type(block), "forward"):
        expected = net[_NAME](x)
    _, height, width, channels = lowered.outputs[0].shape
    declared = tuple(feature_map.after(block.out, block.stride))
    returned = {"`lower`": (channels, height, width), "the module": tuple(expected.shape[1:])}
    for source, shape in returned.items():
        if shape != declared:
            yield f"for {tuple(feature_map)} {source} returns {shape}, but by `out` and `stride` it is {declared}"
    if lowered.is_tflite:
        yield from _different_values(lowered, net, x, expected)


def _different_values(
    lowered: LoweredNetwork, net: nn.ModuleDict, x: torch.Tensor, expected: torch.Tensor
) -> Iterator[str]:
    fold_in_place(net)
    weights = layer_weights(lowered, net)
    for operator in lowered.operators:
        if operator.layer and weights[operator.name].weight.numel() != operator.num_weights:
            number = weights[operator.name].weight.numel()
            yield f"{_own(operator.layer)} has {operator.num_weights} weights in `lower`, and {number} in the module"
    with torch.no_grad():
        actual = run_lowered(lowered, weights, x)[lowered.outputs[0].name]
    difference = float((actual - expected).abs().max())
    if difference > _TOLERANCE * float(expected.abs().max()):
        yield f"the outputs of `lower` and of the module differ, by up to {difference:.3g}"


def _grouped(block: Block) -> Iterator[str]:
    """Yield the names of all tensors in the block's channel groups."""
    inputs, outputs = ChannelGroup(), ChannelGroup()
    with errors_of_block(type(block), "channel_groups"):
        groups = list(block.channel_groups(_NAME, inputs, inputs if block.residual else outputs))
    for group in (inputs, outputs, *groups):
        for name, _ in group.writers + group.readers:
            yield name


def _own(name: str) -> str:
    """Return the name of a layer or tensor within the block."""
    return name.removeprefix(f"{_NAME}.")
