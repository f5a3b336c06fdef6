"""Files of networks with early exits, and loading of any model file."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..models.model_file import describe, kind_of, read_model, read_weights, rebuild, save_weights
from ..models.network import Network, example_input
from .model import EarlyExitModel, build_cascade
from .network import EarlyExits
from .sidenet import SideNet

_KIND = "tinynas-exits"


def save_early_exits(path: Path, model: EarlyExitModel) -> None:
    """Write a safetensors file: all weights, and as JSON in the metadata what is needed to rebuild the network."""
    heads = model.exits.heads
    metadata = {
        "models": json.dumps([describe(entry) for entry in model.models]),
        "taps": json.dumps(list(model.exits.taps)),
        "hidden": json.dumps(heads[0].hidden.out_features if heads else 0),
        "threshold": json.dumps(model.threshold),
    }
    tensors = {"temperatures": model.exits.temperatures}
    for number, entry in enumerate(model.models):
        tensors |= _with_prefix(f"models.{number}.", entry.net.state_dict())
    for number, head in enumerate(heads):
        tensors |= _with_prefix(f"heads.{number}.", head.state_dict())
    save_weights(path, _KIND, metadata, tensors)


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
            does.

    Returns:
        The network in eval mode, on the CPU. It takes images (N, in_channels, resolution, resolution), normalised as in
        training. A classifier returns logits (N, classes); a detector (N, P, 5 + classes) for its P anchors; a network
        with early exits returns the logits (N, classes) and the index of the exit (N,) of each image.

    Raises:
        FileError: The file is missing, corrupt, newer than this version reads, or not a tinynas model.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from tinynas import build, load, load_arch
        >>> from tinynas.data.base import IMAGENET
        >>> from tinynas.models.model_file import Model, save_model
        >>> net = build(load_arch("mobilenet-v2-tiny"))
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.safetensors"
        ...     save_model(path, Model(net=net, data="imagenet", classes=(), normalise=IMAGENET))
        ...     loaded = load(path)
        >>> images = torch.zeros(2, 3, 144, 144)
        >>> torch.equal(loaded(images), net.eval()(images))
        True
    """
    return read_early_exits(Path(path)).exits if has_early_exits(Path(path)) else read_model(Path(path)).net


def _rebuild(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> EarlyExitModel:
    models = []
    for number, description in enumerate(json.loads(metadata["models"])):
        models.append(rebuild(description, _without_prefix(f"models.{number}.", tensors)))
    taps = json.loads(metadata["taps"])
    exits: EarlyExits
    if taps:
        net, hidden = models[0].net, json.loads(metadata["hidden"])
        exits = SideNet(net, taps, hidden, inputs=example_input(net.arch))
        for number, head in enumerate(exits.heads):
            head.load_state_dict(_without_prefix(f"heads.{number}.", tensors))
    else:
        tiny, big = models
        exits = build_cascade(tiny, big)
    exits.temperatures.copy_(tensors["temperatures"])
    return EarlyExitModel(models=tuple(models), exits=exits, threshold=json.loads(metadata["threshold"]))


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
