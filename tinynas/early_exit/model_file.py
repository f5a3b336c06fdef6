"""Files of networks with early exits, and loading of any model file."""

from collections.abc import Mapping
from math import inf
from pathlib import Path

from torch import Tensor

from ..models.hub import download_model
from ..models.model_file import (
    check_weights,
    describe,
    kind_of,
    read_model,
    read_weights,
    rebuild,
    save_weights,
    texts_in,
)
from ..models.network import Network, example_input
from ..utils.errors import InputError, require
from ..utils.io import from_json, to_json
from ..utils.paths import is_on_hub
from ..utils.schema import check_list
from .model import EarlyExitModel, build_cascade
from .network import EarlyExits
from .rules import make_rule
from .sidenet import SideNet
from .thresholds import for_each_exit

_KIND = "tinynas-exits"


def save_early_exits(path: Path, model: EarlyExitModel) -> None:
    """Write a safetensors file: all weights, and as JSON in the metadata what is needed to rebuild the network."""
    heads = model.exits.heads
    metadata = {
        "models": to_json([describe(entry) for entry in model.models]),
        "taps": to_json(list(model.exits.taps)),
        "hidden": to_json(heads[0].hidden.out_features if heads else 0),
        "rule": to_json(model.exits.rule.name),
        "thresholds": to_json(list(model.exits.thresholds)),
    }
    save_weights(path, _KIND, metadata, _tensors(model))


def read_early_exits(path: Path) -> EarlyExitModel:
    """Read what `save_early_exits` wrote.

    Raises:
        FileError: The file is corrupt, newer than this version reads, or of another kind.
    """
    expected = "network with early exits"
    return read_weights(path, _KIND, _rebuild, expected=expected, advice="recreate it with tinynas sidenet")


def has_early_exits(path: Path) -> bool:
    """Return whether a model file holds a network with early exits. Raises FileError if it cannot be read."""
    return kind_of(path) == _KIND


def load(path: str | Path) -> Network | EarlyExits:
    """Load a trained network.

    Args:
        path: A `model.safetensors`, as `tinynas retrain` writes it, or a `sidenet.safetensors`, as `tinynas sidenet`
            does; or "hf:USER/REPO" or "hf:USER/REPO@REVISION", a model that `tinynas push` has uploaded.

    Returns:
        The network in eval mode, on the CPU. It takes images (N, in_channels, H, W), normalised as in
        training. A classifier returns logits (N, classes); a detector (N, P, 4 + classes) for its P positions; a
        network with early exits returns the logits (N, classes) and the index of the exit (N,) of each image.

    Raises:
        FileError: The file is missing, corrupt, newer than this version reads, or not a tinynas model; or the Hub has
            no such model, or cannot be reached.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from tinynas import build, load, load_arch
        >>> from tinynas.data.base import IMAGENET
        >>> from tinynas.models.model_file import Model, save_model
        >>> net = build(load_arch("mobilenet-v2-tiny"))
        >>> classes = tuple(f"class {number}" for number in range(net.arch.classes))
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.safetensors"
        ...     save_model(path, Model(net=net, data="imagenet", classes=classes, normalise=IMAGENET))
        ...     loaded = load(path)
        >>> images = torch.zeros(2, 3, 144, 144)
        >>> torch.equal(loaded(images), net.eval()(images))
        True
    """
    path = download_model(str(path)) if is_on_hub(str(path)) else Path(path)
    return read_early_exits(path).exits if has_early_exits(path) else read_model(path).net


def _rebuild(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> EarlyExitModel:
    """Return the network from what `save_early_exits` wrote.

    Raises:
        InputError: A value is impossible, or a tensor is missing, superfluous, or of another type or shape.
    """
    models = []
    for number, description in enumerate(from_json(metadata["models"])):
        models.append(rebuild(description, _without_prefix(f"models.{number}.", tensors)))
    taps = texts_in(metadata["taps"])
    exits: EarlyExits
    if taps:
        (mainnet,) = models
        exits = _sidenet(mainnet.net, taps, from_json(metadata["hidden"]), tensors)
    else:
        tiny, big = models
        if tiny.classes != big.classes:
            raise InputError("the two networks of a cascade have different classes")
        exits = build_cascade(tiny, big)
    model = EarlyExitModel(models=tuple(models), exits=exits)
    exits.rule = make_rule(from_json(metadata.get("rule", '"confidence"')), len(exits.exits), len(models[0].classes))
    exits.thresholds = _thresholds_in(metadata)
    for_each_exit(exits.thresholds, len(exits.exits) - 1)  # as many as there are exits, or one
    check_weights(tensors, _tensors(model))
    temperatures = tensors["temperatures"]
    if not (temperatures.isfinite() & (temperatures > 0)).all():
        raise InputError(f"temperatures must be positive and finite, but are {temperatures.tolist()}")
    exits.temperatures.copy_(temperatures)
    exits.rule.load_state_dict(_without_prefix("rule.", tensors))
    return model


def _thresholds_in(metadata: Mapping[str, str]) -> tuple[float, ...]:
    """Return the thresholds; earlier versions wrote a single one. Raises InputError if one is impossible."""
    if "thresholds" not in metadata:
        thresholds = [from_json(metadata["threshold"])]
    else:
        thresholds = check_list(from_json(metadata["thresholds"]), "thresholds")
    for threshold in thresholds:
        require(0 <= threshold < inf, "0 <= threshold < inf", threshold=threshold)
    return tuple(thresholds)


def _sidenet(net: Network, taps: tuple[str, ...], hidden: int, tensors: Mapping[str, Tensor]) -> SideNet:
    """Return the SideNet with its trained heads.

    Raises:
        InputError: The heads' hidden layers have other sizes than the tensors, or a tap is not one of its modules.
    """
    for number in range(len(taps)):  # before tensors of that size are built
        width = len(tensors[f"heads.{number}.hidden.weight"])
        require(hidden == width, "hidden is the width of every head", hidden=hidden, width=width)
    exits = SideNet(net, taps, hidden, inputs=example_input(net.arch))
    for number, head in enumerate(exits.heads):
        head.load_state_dict(_without_prefix(f"heads.{number}.", tensors))
    return exits


def _tensors(model: EarlyExitModel) -> dict[str, Tensor]:
    """Return all tensors of a network with early exits, by their names in its file."""
    tensors = {"temperatures": model.exits.temperatures}
    tensors |= _with_prefix("rule.", model.exits.rule.state_dict())
    for number, entry in enumerate(model.models):
        tensors |= _with_prefix(f"models.{number}.", entry.net.state_dict())
    for number, head in enumerate(model.exits.heads):
        tensors |= _with_prefix(f"heads.{number}.", head.state_dict())
    return tensors


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
