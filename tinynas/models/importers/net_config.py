"""Networks by the config that the packages ofa and mcunet write of them, with an entry for each layer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...utils.errors import FileError, InputError, errors_in
from ...utils.io import read_text
from ...utils.schema import check_list, check_mapping, read_yaml
from .foreign_network import ForeignNetwork, Preprocessing, arch_of_blocks
from .named_layers import (
    BlockNames,
    LayerName,
    block_layers,
    check_no_others,
    layers_named,
    leading_parts,
    weights_named,
)

DIVISOR = 8  # of expanded and squeezed channels
SE_REDUCTION = 4
BLOCK: BlockNames = {
    "expand": [("inverted_bottleneck.conv", "inverted_bottleneck.bn")],
    "depthwise": [("depth_conv.conv", "depth_conv.bn")],
    "se": [("depth_conv.se.fc.reduce", ""), ("depth_conv.se.fc.expand", "")],
    "project": [("point_linear.conv", "point_linear.bn")],
}
EPS = {"MobileNetV3": 1e-5, "ProxylessNASNets": 1e-3}  # of batch norm by the kind of network, where a config has none
_ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "h_swish": "hswish"}
_RENAMED = (  # names of earlier versions, and of the layers of supernets
    (".mobile_inverted_conv.", ".conv."),
    (".bn.bn.", ".bn."),
    (".conv.conv.weight", ".conv.weight"),
    (".linear.linear.", ".linear."),
)
_PLAIN_LAYER = {"dilation": 1, "groups": 1, "has_shuffle": False, "use_se": False, "ops_order": "weight_bn_act"}
_NORMS_LACKING = {"gn_channel_per_group": "group norm", "ws_eps": "weight standardisation"}


def read_config(path: Path) -> dict[str, Any]:
    """Read a mapping from a JSON or YAML file.

    Raises:
        FileError: The file cannot be read, is neither, or is no mapping.
    """
    text = read_text(path)
    try:
        document = json.loads(text)
    except ValueError:
        document = read_yaml(text, str(path))
    if not isinstance(document, Mapping):
        raise FileError(f"{path} is not a mapping of keys to values; name a file that ofa or mcunet has written")
    return dict(document)


def current_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of ofa or mcunet under the names that a plain network has in the present version of ofa."""
    renamed = {}
    for name, tensor in state.items():
        for old, new in _RENAMED:
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def divisible(channels: float) -> int:
    """Return the multiple of 8 that is nearest to a number of channels, and not below nine tenths of it.

    The rounding of MobileNets, which ofa and mcunet use (Sandler et al., 2018).
    """
    rounded = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * channels else rounded


def network_of_config(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    resolution: Any,
    preprocessing: Preprocessing,
    config_file: Path,
    weights_file: Path,
    is_supernet: bool = False,
) -> ForeignNetwork:
    """Return the network of a config.

    Args:
        config: As ofa and mcunet write it.
        state: Its weights, under their current names.
        resolution: Size of its images in pixels.
        preprocessing: Of its images.
        config_file: The file that the config comes from.
        weights_file: The file that the weights come from.
        is_supernet: Whether the layers may be larger than the network's, which are their first channels.

    Raises:
        InputError: The network has a part that tinynas does not have.
        FileError: The config is incomplete, or the weights are those of another network.
    """
    with errors_in(str(config_file)):
        try:
            plain, names = _plain_arch(config)
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(
                f"{config_file} is not the config of a network of ofa or mcunet: {type(error).__name__} {error}; save "
                "the network's `config` in it as JSON"
            ) from None
    state = weights_named(state, names, weights_file)
    if not is_supernet:
        check_no_others(state, names, weights_file)
    layers = layers_named(state, names, _epsilon(config))
    with errors_in(str(weights_file)):
        in_channels = layers[0].weight.shape[1]
        arch = arch_of_blocks(resolution=resolution, in_channels=in_channels, classes=len(layers[-1].weight), **plain)
        if is_supernet:
            layers = leading_parts(layers, arch)
    return ForeignNetwork(arch=arch, layers=layers, preprocessing=preprocessing)


def _plain_arch(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[LayerName]]:
    """Return stem, blocks and head of a config as plain data, and the names of all layers."""
    kind = config.get("name")
    if kind not in EPS:
        known = " and ".join(EPS)
        raise InputError(f"a network of the kind {kind!r} cannot be imported, only {known} of ofa and mcunet")
    first = config["first_conv"]
    stem = {"out": first["out_channels"]} | _convolution(first, "first_conv")
    names: list[LayerName] = [("first_conv.conv", "first_conv.bn")]
    blocks: list[dict[str, Any]] = []
    channels = stem["out"]
    for number, entry in enumerate(check_list(config["blocks"], "blocks")):
        layer = entry["conv"] if "conv" in entry else entry["mobile_inverted_conv"]
        if layer is None or layer["name"] == "ZeroLayer":
            continue  # the block returns its input
        block = _plain_block(layer, entry["shortcut"], channels, f"blocks.{number}")
        names += block_layers(BLOCK, f"blocks.{number}.conv", mid=block["mid"], se=block["se"])
        blocks.append(block)
        channels = block["out"]
    head, head_names = _plain_head(config)
    return {"stem": stem, "blocks": blocks, "head": head}, names + head_names


def _plain_block(layer: Mapping[str, Any], shortcut: Any, channels: int, where: str) -> dict[str, Any]:
    """Return an inverted residual as plain data. Raises InputError for a block of another kind."""
    if layer["name"] not in ("MBConvLayer", "MBInvertedConvLayer") or layer.get("groups") is not None:
        groups = layer.get("groups")
        raise InputError(f"{where} is a {layer['name']} of {groups or 1} groups, which networks of tinynas do not have")
    if shortcut is not None and shortcut["name"] not in ("IdentityLayer", "ZeroLayer"):
        raise InputError(f"the shortcut of {where} is a {shortcut['name']}, where tinynas has an identity")
    mid = layer.get("mid_channels")
    if mid is None:
        mid = round(channels * layer["expand_ratio"])
    return {
        "out": layer["out_channels"],
        "kernel": layer["kernel_size"],
        "stride": layer["stride"],
        "mid": 0 if layer["expand_ratio"] == 1 else mid,
        "se": divisible(mid // SE_REDUCTION) if layer.get("use_se") else 0,
        "act": _activation(layer["act_func"], where),
        "residual": shortcut is not None and shortcut["name"] == "IdentityLayer",
    }


def _plain_head(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[LayerName]]:
    """Return the head of a config as plain data, and the names of its layers."""
    layers = {"conv": "feature_mix_layer"}
    if config["name"] == "MobileNetV3":
        layers = {"conv": "final_expand_layer", "hidden": "feature_mix_layer"}
    head: dict[str, Any] = {}
    names: list[LayerName] = []
    for part, name in layers.items():
        layer = config[name]
        if layer is None:
            continue
        plain = _convolution(layer, name)
        if (plain["kernel"], plain["stride"]) != (1, 1) or head.get("act", plain["act"]) != plain["act"]:
            raise InputError(f"{name} must be a 1x1 convolution with the head's activation, but is {dict(layer)}")
        head |= {part: layer["out_channels"], "act": plain["act"]}
        names.append((f"{name}.conv", f"{name}.bn" if layer.get("use_bn", True) else ""))
    classifier = check_mapping(config["classifier"], "classifier")
    if classifier["name"] != "LinearLayer" or classifier.get("use_bn") or classifier.get("act_func"):
        raise InputError(f"the classifier must be a linear layer alone, but is {dict(classifier)}")
    names.append(("classifier.linear", ""))
    return head, names


def _convolution(layer: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return kernel, stride and activation of a convolution with batch norm. Raises InputError for another layer."""
    for key, value in _PLAIN_LAYER.items():
        if layer.get(key, value) != value:
            raise InputError(f"{where} has {key} {layer[key]!r}, where tinynas has {value!r}")
    return {
        "kernel": layer["kernel_size"],
        "stride": layer["stride"],
        "act": _activation(layer["act_func"], where),
    }


def _activation(name: Any, where: str) -> str:
    """Return tinynas' name of an activation. Raises InputError if it has none."""
    if name not in _ACTIVATIONS:
        raise InputError(f"{where} has the activation {name!r}; tinynas has {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _epsilon(config: Mapping[str, Any]) -> float:
    """Return what a network's batch norms add to the variance. Raises InputError if it has other norms."""
    norm = config.get("bn") or {}
    for key, norms in _NORMS_LACKING.items():
        if norm.get(key) is not None:
            raise InputError(f"the network has {norms} ({key} {norm[key]}), which tinynas does not have")
    return float(norm.get("eps", EPS[config["name"]]))
