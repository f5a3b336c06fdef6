"""The arch and the weights of a network that another library has built, read from its modules.

Modules are read as steps in the order in which they are registered, which is the order of computation: convolutions
with the norm and the activation behind them, and squeeze-excite. Whatever is something else is refused by name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...arch.arch import SAME, SYMMETRIC
from ...utils.errors import InputError
from ...utils.sizes import Size, pair, size_of
from .foreign_network import ForeignNetwork, Preprocessing, arch_of_blocks
from .layers import ForeignLayer

_ACTIVATIONS = {  # by the class, in lower case
    "relu": "relu",
    "relu6": "relu6",
    "hardswish": "hswish",
    "hardsigmoid": "hsigmoid",
}
_IGNORED = ("Identity", "Dropout", "DropPath", "StochasticDepth", "AdaptiveAvgPool2d", "Flatten")
_SQUEEZE_EXCITE = ("SqueezeExcite", "SqueezeExcitation", "SEModule")
_SHORTCUTS = ("has_skip", "use_res_connect", "apply_residual")  # attributes of blocks that say whether they have one
_INVERTED = (
    ["pointwise", "depthwise", "pointwise"],
    ["pointwise", "depthwise", "gate", "pointwise"],
    ["depthwise", "pointwise"],
    ["depthwise", "gate", "pointwise"],
)


@dataclass
class Step:
    """A convolution or a linear layer with what follows it, or the gate of a squeeze-excite: its two convolutions."""

    name: str
    layers: list[nn.Conv2d | nn.Linear]
    norm: nn.BatchNorm2d | None = None
    act: str = ""

    @property
    def kind(self) -> str:
        """What it is: "gate", "pointwise", "depthwise" or "dense"."""
        layer = self.layers[0]
        if len(self.layers) > 1:
            return "gate"
        if isinstance(layer, nn.Linear) or layer.kernel_size == (1, 1):
            return "pointwise"
        return "dense" if layer.groups == 1 else "depthwise"

    @property
    def channels(self) -> int:
        """Output channels; of a gate, those of its first convolution."""
        return len(self.layers[0].weight)

    @property
    def conv(self) -> nn.Conv2d:
        """Its convolution."""
        layer = self.layers[0]
        if not isinstance(layer, nn.Conv2d):
            raise InputError(f"{self.name} is a linear layer, where a convolution is expected")
        return layer

    def foreign_layers(self) -> Iterator[ForeignLayer]:
        """Yield its layers with their weights."""
        for layer in self.layers:
            norm, eps = {}, 0.0
            if self.norm is not None:
                norm = {name: tensor for name, tensor in self.norm.state_dict().items() if tensor.ndim}
                eps = self.norm.eps
            yield ForeignLayer(name=self.name, weight=layer.weight, bias=layer.bias, norm=norm, eps=eps)


def _steps_named(module: nn.Module, names: Sequence[str]) -> list[Step]:
    """Return the steps of a network's modules of these names."""
    steps: list[Step] = []
    for name in names:
        _add_steps(module.get_submodule(name), name, steps)
    return steps


def _add_steps(module: nn.Module, name: str, steps: list[Step]) -> None:
    """Append the steps of a module. Raises InputError if it has a part that tinynas does not have."""
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d | nn.Linear):
        steps.append(Step(name, [module]))
    elif isinstance(module, nn.BatchNorm2d) and steps and steps[-1].norm is None and not steps[-1].act:
        steps[-1].norm = module
        for child_name, child in module.named_children():  # timm's norms hold the activation
            _add_steps(child, f"{name}.{child_name}", steps)
    elif kind.lower() in _ACTIVATIONS and steps and not steps[-1].act:
        steps[-1].act = _ACTIVATIONS[kind.lower()]
    elif kind in _SQUEEZE_EXCITE:
        steps.append(_gate(module, name))
    elif kind.startswith(_IGNORED):
        return
    elif next(module.children(), None) is not None and not list(module.parameters(recurse=False)):
        for child_name, child in module.named_children():
            _add_steps(child, f"{name}.{child_name}", steps)
    else:
        raise InputError(f"{name} is a {kind}, which networks of tinynas do not have")


def _gate(module: nn.Module, name: str) -> Step:
    """Return the step of a squeeze-excite, which must have a ReLU and a hard sigmoid."""
    layers: list[nn.Conv2d | nn.Linear] = []
    acts = []
    for child in module.children():
        if isinstance(child, nn.Conv2d):
            layers.append(child)
        elif not type(child).__name__.startswith(_IGNORED):
            acts.append(type(child).__name__)
    known = [_ACTIVATIONS.get(act.lower()) for act in acts]
    if len(layers) != 2 or known != ["relu", "hsigmoid"]:
        raise InputError(
            f"the squeeze-excite {name} has {' and '.join(acts)}; tinynas has that of MobileNetV3, with ReLU and "
            "Hardsigmoid"
        )
    return Step(name, layers)


def block_of(steps: Sequence[Step], name: str, *, shortcut: bool) -> dict[str, Any]:
    """Return the block of some steps as plain data.

    Args:
        steps: At least one, in their order.
        name: Of the block, for the error message.
        shortcut: Whether the block adds its input to its output.

    Raises:
        InputError: It is of no kind that tinynas has.
    """
    kinds, acts = [step.kind for step in steps], [step.act for step in steps if step.kind != "gate"]
    spatial = next((step for step in steps if step.kind in ("depthwise", "dense")), steps[0])
    block: dict[str, Any] = {
        "out": steps[-1].channels,
        "kernel": size_of(spatial.conv.kernel_size),
        "stride": size_of(spatial.conv.stride),
        "act": acts[0],
        "residual": shortcut,
    }
    if kinds in _INVERTED and len(set(acts[:-1])) == 1 and not acts[-1]:
        return block | _inner_channels(steps)
    if kinds == ["depthwise", "pointwise"] and len(set(acts)) == 1 and not shortcut:
        del block["residual"]
        return block | {"kind": "ds-conv"}
    if kinds == ["depthwise", "pointwise", "pointwise"] and not acts[0] and not acts[2]:
        return block | {"kind": "convnext", "mid": steps[1].channels, "act": acts[1]}
    if kinds == ["dense", "pointwise"] and not acts[1]:
        return block | {"kind": "fused-mbconv", "mid": steps[0].channels}
    if kinds in (["dense"], ["pointwise"]):
        return block | {"kind": "fused-mbconv"}
    parts = ", ".join(f"{step.kind} {step.act}".strip() for step in steps)
    ending = ", with a shortcut" if shortcut else ""
    raise InputError(f"{name} is a block of the layers {parts}{ending}; tinynas has no such block")


def _inner_channels(steps: Sequence[Step]) -> dict[str, int]:
    """Return the expanded and the squeezed channels of an inverted residual, 0 for none."""
    channels = {"mid": 0, "se": 0}
    for step in steps[:-1]:
        if step.kind == "pointwise":
            channels["mid"] = step.channels
        elif step.kind == "gate":
            channels["se"] = step.channels
    return channels


def has_shortcut(module: nn.Module) -> bool:
    """Return whether a block adds its input to its output."""
    return any(getattr(module, name, False) is True for name in _SHORTCUTS)


def network_of(
    module: nn.Module,
    *,
    resolution: Size,
    stem: Sequence[str],
    blocks: Iterable[Sequence[str]],
    conv: Sequence[str],
    hidden: Sequence[str],
    classifier: str,
    preprocessing: Preprocessing,
) -> ForeignNetwork:
    """Return the network of a module, whose parts are named.

    Args:
        module: The network, with its weights.
        resolution: Size of its images in pixels.
        stem: Names of the modules of the first convolution.
        blocks: Names of the modules of every block.
        conv: Names of the modules of a convolution behind the blocks, in front of the pooling.
        hidden: Names of the modules of a hidden layer behind the pooling.
        classifier: Name of the classifier.
        preprocessing: Of its images.

    Raises:
        InputError: It has a part that tinynas does not have.
    """
    (first,) = _steps_named(module, stem)
    plain_blocks, steps = [], [first]
    for names in blocks:
        block_steps = _steps_named(module, names)
        shortcut = any(has_shortcut(module.get_submodule(name)) for name in names)
        plain_blocks.append(block_of(block_steps, names[0], shortcut=shortcut))
        steps += block_steps
    last_conv, hidden_layer = _steps_named(module, conv), _steps_named(module, hidden)
    output = Step(classifier, [_linear(module.get_submodule(classifier), classifier)])
    tail = last_conv + hidden_layer
    head: dict[str, Any] = {"conv": 0, "hidden": 0, "act": _common_act(tail, first.act)}
    for key, parts in (("conv", last_conv), ("hidden", hidden_layer)):
        for step in parts:
            head[key] = step.channels
    steps += [*tail, output]
    kernel, stride = size_of(first.conv.kernel_size), size_of(first.conv.stride)
    arch = arch_of_blocks(
        resolution=resolution,
        stem={"out": first.conv.out_channels, "kernel": kernel, "stride": stride, "act": first.act},
        blocks=plain_blocks,
        head=head,
        in_channels=first.conv.in_channels,
        classes=len(output.layers[0].weight),
        padding=_padding(steps),
    )
    layers = [layer for step in steps for layer in step.foreign_layers()]
    return ForeignNetwork(arch=arch, layers=layers, preprocessing=preprocessing, module=module)


def _linear(module: nn.Module, name: str) -> nn.Linear:
    if not isinstance(module, nn.Linear):
        raise InputError(f"{name} is a {type(module).__name__}, where a linear classifier is expected")
    return module


def _common_act(steps: Sequence[Step], default: str) -> str:
    """Return the activation of a head's steps. Raises InputError if they differ."""
    acts = {step.act for step in steps}
    if len(acts) > 1 or acts == {""}:
        raise InputError(f"the layers of the head have the activations {sorted(acts)}; tinynas has one for all of them")
    return next(iter(acts), default)


def _padding(steps: Iterable[Step]) -> str:
    """Return where the zeros around feature maps are. Raises InputError if tinynas does not place zeros there."""
    paddings: dict[str, str] = {}
    for step in steps:
        conv = step.layers[0]
        if not isinstance(conv, nn.Conv2d):
            continue
        if pair(size_of(conv.dilation)) != (1, 1) or conv.groups not in (1, conv.in_channels):
            raise InputError(
                f"{step.name} has dilation {conv.dilation} and {conv.groups} groups, which tinynas does not have"
            )
        half = tuple(side // 2 for side in conv.kernel_size)
        if type(conv).__name__ == "Conv2dSame":  # of timm: pads as TensorFlow does
            paddings[SAME] = step.name
        elif conv.padding != half:
            raise InputError(f"{step.name} pads by {conv.padding}, where tinynas pads by half the kernel, {half}")
        elif max(conv.stride) > 1:
            paddings[SYMMETRIC] = step.name
    if len(paddings) > 1:
        raise InputError(f"{' and '.join(paddings.values())} pad in different ways, and tinynas in one way a network")
    return next(iter(paddings), SYMMETRIC)


def weights_by_order(state: Mapping[str, Any], module: nn.Module) -> dict[str, Any] | None:
    """Return weights that have other names than a module's, under its names, if number, order and shapes agree."""
    names = [name for name in module.state_dict() if not name.endswith("num_batches_tracked")]
    tensors = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    if len(names) != len(tensors):
        return None
    renamed = dict(zip(names, tensors, strict=True))
    expected = module.state_dict()
    return renamed if all(renamed[name].shape == expected[name].shape for name in names) else None
