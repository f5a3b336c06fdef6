"""Weights of other libraries' networks as people save them: wrapped in checkpoints, with prefixes before the names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..utils.errors import FileError

_WRAPPERS = (  # keys of training checkpoints, the likeliest first
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "model_ema",
    "state_dict_ema",
    "ema",
)
_COMPILED = "_orig_mod."  # torch.compile puts it before the names of a compiled module
_COUNTER = "num_batches_tracked"  # of batch norm; old files lack it
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")  # colours, in some of torch's messages
_REFUSED_CLASS = re.compile(r"GLOBAL (\S+)")
_NAMES_SHOWN = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict, or the first one in a training checkpoint; a `.safetensors` file has only tensors.

    Raises:
        FileError: The file is missing or corrupt, or has no tensors by name.
    """
    if not path.exists():
        raise FileError(f"there is no file {path}; save the network's state_dict() in it, or name another file")
    try:
        document = _load(path)
    except Exception as error:  # corrupt bytes make torch raise almost anything
        raise FileError(
            f"{path} is not a file of weights: {reason_of(error)}; save the network's state_dict() in it"
        ) from None
    state = _first_state_dict(document)
    if state is None:
        raise FileError(f"{path} is not a state dict, tensors by name; save the network's state_dict() in it")
    return state


def with_names_of(expected: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under the names that a network has, without what wrappers put before them.

    Wrappers are DataParallel ("module."), torch.compile ("_orig_mod."), and modules that hold the network, such as
    Lightning's ("model."). What such a module holds beside the network is left out.

    Args:
        expected: The network's names.
        state: The weights by name.
    """
    names = list(expected)
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in state.items()}
    best, most = "", 0
    for prefix in _prefixes(names[0], plain):
        matches = sum(prefix + name in plain for name in names)
        if matches > most:
            best, most = prefix, matches
    return {name.removeprefix(best): tensor for name, tensor in plain.items() if name.startswith(best)}


def load_weights(net: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Load the weights into a network.

    Raises:
        FileError: Tensors are missing, have no place in the network, or have other shapes.
    """
    expected = net.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in expected]
    resized = []
    for name, tensor in state.items():
        if name in expected and tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            resized.append(f"{name} {shapes}")
    problems = []
    for names, problem in ((missing, "missing"), (unexpected, "unexpected"), (resized, "of another shape")):
        if names:
            problems.append(f"{len(names)} {problem} ({_first(names)})")
    if problems:
        raise FileError(
            f"the weights in {source} are not those of this {type(net).__name__}: of its {len(expected)} tensors and "
            f"the file's {len(state)}, {', '.join(problems)}; name the network that they belong to"
        )
    net.load_state_dict(state, strict=False)  # but for the counters of batch norm, nothing is missing


def classifier_weight(net: nn.Module, classes: int) -> str:
    """Return the name of the weight of the last linear layer or convolution with an output for each class, or ""."""
    last = ""
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and len(module.weight) == classes:
            last = f"{name}.weight".removeprefix(".")
    return last


def reason_of(error: Exception) -> str:
    """Return in one line why torch could not load a file."""
    message = _TERMINAL_CODES.sub("", str(error))
    refused = _REFUSED_CLASS.search(message)
    if isinstance(error, UnpicklingError):  # its message recommends to load the file unsafely
        if refused:
            return f"UnpicklingError: it holds Python objects, of the class {refused[1]}, beside tensors"
        return "UnpicklingError: torch.save has not written it"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = lines[0] if lines else "no reason"
    if reason.endswith(":"):
        reason = " ".join(lines)
    return f"{type(error).__name__}: {reason}"


def _load(path: Path) -> object:
    """Return what a file of torch.save or safetensors holds; nothing that is executed is read."""
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True, map_location="cpu")


def _first_state_dict(document: object) -> dict[str, Tensor] | None:
    """Return the document if it is a state dict, else the first one in it; None if there is none."""
    if not isinstance(document, Mapping) or not document:
        return None
    if all(isinstance(name, str) and isinstance(value, Tensor) for name, value in document.items()):
        return dict(document)
    wrappers = [key for key in _WRAPPERS if key in document]
    others = [key for key in document if key not in wrappers]
    for key in wrappers + others:
        state = _first_state_dict(document[key])
        if state is not None:
            return state
    return None


def _prefixes(name: str, state: Iterable[str]) -> list[str]:
    """Return what stands before a name in those of a state dict that end with it; "" if it is there as it is."""
    prefixes = []
    for key in state:
        if key == name or key.endswith(f".{name}"):
            prefixes.append(key.removesuffix(name))
    return prefixes


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, ..."
