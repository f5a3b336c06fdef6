"""Subnets of the supernets of once-for-all (Cai et al., 2020, sections 3.2 and 3.3): their configs and their tensors.

A subnet shares the first channels of every layer, in the order in which the supernet has them. Its depthwise kernels
are the centres of larger ones, which a learned matrix multiplies from each size to the next smaller one.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...utils.errors import InputError, unknown
from ...utils.schema import check_value
from .net_config import divisible

_CHOICES = ("ks", "e", "d", "r", "image_size", "w", "wid")
_STAGES = 5  # of as many blocks each; OFAProxylessNASNets has another block behind them
_STRIDES = {"MobileNetV3": (2, 2, 2, 1, 2), "ProxylessNASNets": (2, 2, 2, 1, 2, 1)}
_ACTS = {
    "MobileNetV3": ("relu", "relu", "h_swish", "h_swish", "h_swish"),
    "ProxylessNASNets": ("relu6", "relu6", "relu6", "relu6", "relu6", "relu6"),
}
_STEM_ACT = {"MobileNetV3": "h_swish", "ProxylessNASNets": "relu6"}
_FIRST_ACT = {"MobileNetV3": "relu", "ProxylessNASNets": "relu6"}


def subnet_of(state: Mapping[str, Tensor], choices: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config of a subnet, and the supernet's tensors of its blocks, with the subnet's depthwise kernels.

    Args:
        state: The supernet's tensors, under the names of a plain network.
        choices: `ks` and `e` of every block but the first, `d` of every stage; each a list, or a number for all.

    Raises:
        InputError: The supernet does not have the subnet.
    """
    _check_choices(choices)
    kind = "MobileNetV3" if "final_expand_layer.conv.weight" in state else "ProxylessNASNets"
    stages = _stages_of(state, kind)
    number_of_blocks = sum(len(stage) for stage in stages)
    kernels = _listed(choices.get("ks"), number_of_blocks, "ks", int)
    expansions = _listed(choices.get("e"), number_of_blocks, "e", float)
    depths = _listed(choices.get("d"), len(stages), "d", int)
    blocks = [_first_block(state, kind)]
    tensors = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.")}
    _add_block(tensors, state, 0, 0)
    for number, stage in enumerate(stages):
        depth = len(stage) if depths[number] is None else depths[number]
        if depth < 1:
            raise InputError(f"d of stage {number} is {depth}; a stage has a block at least")
        for place, block in enumerate(stage[:depth]):
            stride = _STRIDES[kind][number] if place == 0 else 1
            channels = blocks[-1]["conv"]["out_channels"]
            entry = _block(state, block, kernels[block - 1], expansions[block - 1], channels=channels, stride=stride)
            entry["conv"]["act_func"] = _ACTS[kind][number]
            _add_block(tensors, state, block, len(blocks))
            depthwise = f"blocks.{len(blocks)}.conv.depth_conv.conv.weight"
            tensors[depthwise] = kernel_of(state, f"blocks.{block}.conv.depth_conv.conv", entry["conv"]["kernel_size"])
            blocks.append(entry)
    return _ends(state, kind) | {"blocks": blocks}, tensors


def kernel_of(state: Mapping[str, Tensor], depthwise: str, size: int) -> Tensor:
    """Return depthwise kernels of a size in pixels, (channels, 1, size, size), as a supernet derives them.

    Supernets without matrices take the centre as it is.

    Raises:
        InputError: The supernet has no kernels of this size.
    """
    kernels = state[f"{depthwise}.weight"].double()
    matrices: dict[int, tuple[int, Tensor]] = {}  # the next smaller size and the matrix by the larger size
    for name, tensor in state.items():
        if name.startswith(f"{depthwise}.") and name.endswith("_matrix"):
            larger, _, smaller = name.removeprefix(f"{depthwise}.").removesuffix("_matrix").partition("to")
            matrices[int(larger)] = int(smaller), tensor.double()
    if not matrices:
        return _centre(kernels, size, depthwise)
    while kernels.shape[-1] > size and kernels.shape[-1] in matrices:
        smaller_size, matrix = matrices[kernels.shape[-1]]
        centre = _centre(kernels, smaller_size, depthwise)
        kernels = (centre.flatten(1) @ matrix.T).view(centre.shape)
    if kernels.shape[-1] != size:
        raise _no_kernel(size, depthwise, state[f"{depthwise}.weight"].shape[-1])
    return kernels


def _centre(kernels: Tensor, size: int, depthwise: str) -> Tensor:
    largest = kernels.shape[-1]
    if not 0 < size <= largest or size % 2 != largest % 2:
        raise _no_kernel(size, depthwise, largest)
    start = (largest - size) // 2
    return kernels[..., start : start + size, start : start + size]


def _no_kernel(size: Any, depthwise: str, largest: int) -> InputError:
    return InputError(f"the supernet has no kernels of size {size} in {depthwise}, of which the largest is {largest}")


def _check_choices(choices: Mapping[str, Any]) -> None:
    """Raise InputError for choices that supernets of these two kinds do not have."""
    if "blocks" in choices:
        raise InputError(
            "this is the config of an extracted network, but the weights are those of a supernet; pass the subnet's "
            "ks, e and d, or the weights of the extracted network"
        )
    for key in choices:
        if key not in _CHOICES:
            raise unknown("choice of a subnet", key, _CHOICES)
    for key in ("w", "wid"):  # an index
        if choices.get(key) not in (None, 0):
            raise InputError(f"{key} is {choices[key]}, but the supernets that can be imported have one width")


def _stages_of(state: Mapping[str, Tensor], kind: str) -> list[list[int]]:
    """Return the numbers of the blocks of each stage. Raises InputError if the stages are not equally deep."""
    blocks = 0
    while f"blocks.{blocks}.conv.depth_conv.conv.weight" in state:
        blocks += 1
    last = len(_STRIDES[kind]) - _STAGES  # stages of one block
    depth = (blocks - 1 - last) // _STAGES
    if depth < 1 or 1 + _STAGES * depth + last != blocks:
        raise InputError(f"the supernet has {blocks} blocks, which are not five stages of equal depth as ofa's have")
    stages = [list(range(1 + stage * depth, 1 + (stage + 1) * depth)) for stage in range(_STAGES)]
    stages += [[blocks - 1]] * last
    for stage in stages:
        widths = [len(state[f"blocks.{block}.conv.point_linear.conv.weight"]) for block in stage]
        if len(set(widths)) > 1:
            raise InputError(
                f"the blocks {stage} of the supernet have the widths {widths}, where a stage of ofa has one"
            )
    return stages


def _listed(values: Any, number: int, name: str, kind: type) -> list[Any]:
    """Return a choice for each block or stage: None for the largest. Raises InputError for another number of them."""
    if not isinstance(values, list):
        values = [values] * number
    if len(values) != number:
        raise InputError(f"{name} has {len(values)} values, but the supernet has {number} of what they choose")
    listed: list[Any] = values
    for value in listed:
        if value is not None:
            check_value(value, kind, f"a value of {name}")
    return listed


def _first_block(state: Mapping[str, Tensor], kind: str) -> dict[str, Any]:
    """Return the config of the first block, which has no choices."""
    depthwise = state["blocks.0.conv.depth_conv.conv.weight"]
    out = len(state["blocks.0.conv.point_linear.conv.weight"])
    conv = _mb_conv(out, depthwise.shape[-1], 1, expand_ratio=1, mid=len(depthwise), use_se=False)
    conv["act_func"] = _FIRST_ACT[kind]
    is_residual = kind == "MobileNetV3" and len(depthwise) == out
    return {"conv": conv, "shortcut": {"name": "IdentityLayer"} if is_residual else None}


def _block(
    state: Mapping[str, Tensor], number: int, kernel: Any, expansion: Any, *, channels: int, stride: int
) -> dict[str, Any]:
    """Return the config of a block with its choices, but for the activation."""
    name = f"blocks.{number}.conv"
    depthwise, project = state[f"{name}.depth_conv.conv.weight"], state[f"{name}.point_linear.conv.weight"]
    largest, out = len(depthwise), len(project)
    mid = largest if expansion is None else divisible(round(channels * expansion))
    if f"{name}.inverted_bottleneck.conv.weight" not in state or not 0 < mid <= largest:
        raise InputError(
            f"e of block {number} is {expansion}, of {channels} channels; the supernet expands to {largest}"
        )
    use_se = f"{name}.depth_conv.se.fc.reduce.weight" in state
    kernel = depthwise.shape[-1] if kernel is None else kernel
    conv = _mb_conv(out, kernel, stride, expand_ratio=mid / channels, mid=mid, use_se=use_se)
    is_residual = stride == 1 and out == channels
    return {"conv": conv, "shortcut": {"name": "IdentityLayer"} if is_residual else None}


def _mb_conv(out: int, kernel: int, stride: int, *, expand_ratio: float, mid: int, use_se: bool) -> dict[str, Any]:
    return {
        "name": "MBConvLayer",
        "out_channels": out,
        "kernel_size": kernel,
        "stride": stride,
        "expand_ratio": expand_ratio,
        "mid_channels": mid,
        "use_se": use_se,
    }


def _ends(state: Mapping[str, Tensor], kind: str) -> dict[str, Any]:
    """Return the config of the layers in front of the blocks and behind them."""
    act = _STEM_ACT[kind]
    config: dict[str, Any] = {"name": kind, "feature_mix_layer": None, "classifier": {"name": "LinearLayer"}}
    for name in ("first_conv", "final_expand_layer", "feature_mix_layer"):
        weight = state.get(f"{name}.conv.weight")
        if weight is not None:
            config[name] = {
                "out_channels": len(weight),
                "kernel_size": weight.shape[-1],
                "stride": 2 if name == "first_conv" else 1,
                "act_func": act,
                "use_bn": f"{name}.bn.weight" in state,
            }
    return config


def _add_block(tensors: dict[str, Tensor], state: Mapping[str, Tensor], block: int, number: int) -> None:
    """Add the tensors of a supernet's block, as those of a subnet's block of a number."""
    prefix = f"blocks.{block}."
    for name, tensor in state.items():
        if name.startswith(prefix):
            tensors[f"blocks.{number}.{name.removeprefix(prefix)}"] = tensor
