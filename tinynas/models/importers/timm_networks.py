"""Networks of timm whose blocks tinynas has: MobileNetV1 to V3, EfficientNet-Lite, MnasNet, FBNet, MobileOne, ..."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ...data.base import Normalisation
from ...utils.errors import FileError, InputError, suggestion
from ...utils.sizes import Size
from ...utils.text import first_line
from ..foreign_weights import load_weights, read_weights, reason_of, with_names_of
from .foreign_network import ForeignNetwork, Preprocessing
from .modules import network_of, weights_by_order

_WHY_NOT = {  # by the class of the network, what its blocks have that those of tinynas do not
    "ResNet": "max pooling behind its stem",
    "VisionTransformer": "a class token, learned positions, and attention heads of another size",
    "ConvNeXt": "layer norm, where tinynas has batch norm, which is folded",
}
_MOBILEONE_BLOCK = "MobileOneBlock"


def import_timm(name: str, file: Path | None, *, resolution: Size | None = None) -> ForeignNetwork:
    """Return a network of timm.

    Args:
        name: Its name there, such as "tf_efficientnet_lite0".
        file: Its weights, under timm's names or, unless it is of safetensors, others in timm's order;
            None: timm downloads them.
        resolution: Size of its images in pixels; None: that of its evaluation.

    Raises:
        InputError: timm is not installed or has no such network, or the network has a part that tinynas does not have.
        FileError: The file is missing, corrupt, or of another network, or the download failed.
    """
    state = read_weights(file) if file else None
    module = _create(name, state)
    if state is not None:
        assert file is not None
        _load(module, state, file)
    module = fold_branches(module)
    parts = parts_of(module, name)
    config: Any = module.pretrained_cfg
    preprocessing = Preprocessing(
        normalise=Normalisation(mean=tuple(config["mean"]), std=tuple(config["std"])),
        crop=config["crop_pct"],
        interpolation=config["interpolation"],
    )
    resolution = resolution or config["input_size"][-1]
    return network_of(module, resolution=resolution, preprocessing=preprocessing, **parts)


def _create(name: str, state: Mapping[str, Any] | None) -> nn.Module:
    """Build a network of timm, with as many classes as there are rows in the last matrix of the weights."""
    try:
        import timm
    except ImportError:
        raise InputError("networks of timm need the package timm: pip install 'tinynas[import]'") from None
    if name.partition(".")[0] not in timm.list_models():
        raise InputError(f"unknown network of timm {name!r}; {suggestion(name, timm.list_models())}")
    classes: dict[str, Any] = {}
    matrices = [tensor for tensor in (state or {}).values() if tensor.ndim == 2]
    if matrices:
        classes["num_classes"] = len(matrices[-1])
    try:
        module: nn.Module = timm.create_model(name, pretrained=state is None, **classes)
    except Exception as error:  # no connection, or an unknown set of weights
        raise FileError(
            f"timm cannot load the weights of {name}: {first_line(reason_of(error))}; download them elsewhere, and "
            f"pass the file as timm:{name}:FILE"
        ) from None
    return module.eval()


def _load(module: nn.Module, state: Mapping[str, Any], file: Path) -> None:
    """Load weights under the network's names, with or without a wrapper's prefix, or in its order.

    A safetensors file does not keep the order that its tensors had.
    """
    expected = module.state_dict()
    named = with_names_of(expected, state)
    if named.keys().isdisjoint(expected) and file.suffix != ".safetensors":
        named = weights_by_order(state, module) or named
    load_weights(module, named, file)


def fold_branches(module: nn.Module) -> nn.Module:
    """Return a network in which the parallel branches of MobileOne's blocks are a single convolution each."""
    from timm.utils.model import reparameterize_model

    folded: nn.Module = reparameterize_model(module)
    for name, block in list(folded.named_modules()):
        if type(block).__name__ == _MOBILEONE_BLOCK:
            folded.set_submodule(name, nn.Sequential(block.reparam_conv, block.attn, block.act))
    return folded.eval()


def parts_of(module: nn.Module, name: str) -> dict[str, Any]:
    """Return the names of a network's parts, as `network_of` takes them. Raises InputError if it has others."""
    kind = type(module).__name__
    if name.startswith("mobileone"):
        return _parts_of_mobileone(module)
    if kind not in ("EfficientNet", "MobileNetV3"):
        reason = _WHY_NOT.get(kind, "other blocks than tinynas knows")
        raise InputError(f"timm's {name} is a {kind}, which has {reason}; it cannot be imported")
    blocks = []
    for stage_name, stage in module.get_submodule("blocks").named_children():
        for block_name, _ in stage.named_children():
            blocks.append([f"blocks.{stage_name}.{block_name}"])
    head: dict[str, list[str]] = {"conv": ["conv_head", "bn2"], "hidden": []}
    if kind == "MobileNetV3":
        head = {"conv": [], "hidden": ["conv_head", "norm_head", "act2"]}
        if type(module.get_submodule(blocks[-1][0])).__name__ == "ConvBnAct":
            head["conv"] = blocks.pop()
    return {"stem": ["conv_stem", "bn1"], "blocks": blocks, "classifier": "classifier", **head}


def _parts_of_mobileone(module: nn.Module) -> dict[str, Any]:
    """Return the names of the parts of a MobileOne, in which a depthwise and a 1x1 convolution take turns."""
    blocks = []
    for stage_name, stage in module.get_submodule("stages").named_children():
        names = [f"stages.{stage_name}.{number}" for number, _ in stage.named_children()]
        for first in range(0, len(names), 2):
            blocks.append(names[first : first + 2])
    return {"stem": ["stem"], "blocks": blocks, "conv": ["final_conv"], "hidden": [], "classifier": "head.fc"}
