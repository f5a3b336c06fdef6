"""Model files: a trained network with what is needed to use it, as safetensors with metadata."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..arch.arch import Arch
from ..data.base import Normalisation
from ..utils.errors import FileError, TinyNASError
from ..utils.io import read, write
from .network import Network, build

T = TypeVar("T")
_FORMAT = 1  # version of the metadata
_KIND = "tinynas"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network with what is needed to use it.

    Attributes:
        net: The network, in eval mode.
        data: Name of the data set it was trained on.
        classes: Names of the classes, in the order of the outputs.
        normalise: Mean and standard deviation per channel that the input images are normalised by.
        crop: Fraction of an image's shorter side that the network sees, as in `Data`.
    """

    net: Network
    data: str
    classes: tuple[str, ...]
    normalise: Normalisation
    crop: float = 1.0


def save_model(path: Path, model: Model) -> None:
    """Write a safetensors file: the weights, and as JSON in the metadata arch, classes and preprocessing."""
    save_weights(path, _KIND, describe(model), model.net.state_dict())


def read_model(path: Path) -> Model:
    """Read what `save_model` wrote, in eval mode.

    Raises:
        FileError: The file is corrupt, newer than this version reads, or of another kind.
    """
    return read_weights(
        path, _KIND, rebuild, expected="tinynas model", advice="restore the file, or retrain the network"
    )


def save_weights(path: Path, kind: str, about: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file whose metadata holds its kind, a description, and the digest of the tensors."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": f"{kind} {_FORMAT}", **about, "sha256": digest(weights)}
    write(path, save_tensors(weights, metadata))


def read_weights(
    path: Path,
    kind: str,
    make: Callable[[Mapping[str, str], Mapping[str, Tensor]], T],
    *,
    expected: str,
    advice: str,
) -> T:
    """Read what `save_weights` wrote.

    Args:
        path: The file.
        kind: The kind that it must be of.
        make: Makes the result from the metadata and the tensors; any error it raises means that the file is corrupt.
        expected: What the file should hold, for error messages.
        advice: What to do otherwise, for error messages.

    Raises:
        FileError: The file is corrupt, newer than this version reads, or of another kind.
    """
    raw = read(path)
    try:
        metadata = _metadata(raw)
        actual, _, version = metadata.get("format", "").partition(" ")
        if actual == kind and int(version) > _FORMAT:
            raise FileError(f"{path} has format {version}, newer than this tinynas reads ({_FORMAT}); update tinynas")
        if actual != kind and actual.startswith(_KIND):
            raise FileError(f"{path} is of the kind {actual!r}, not a {expected}; {advice}")
        tensors = load_tensors(raw)
        if actual != kind or digest(tensors) != metadata["sha256"]:
            raise ValueError
        return make(metadata, tensors)
    except FileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, TinyNASError):
        raise FileError(f"{path} is corrupt, or not a {expected}; {advice}") from None


def kind_of(path: Path) -> str:
    """Return the kind that a model file names in its metadata, or "". Raises FileError if it cannot be read."""
    try:
        return str(_metadata(read(path)).get("format", "")).partition(" ")[0]
    except (ValueError, AttributeError):
        return ""


def _metadata(raw: bytes) -> Mapping[str, str]:
    size = int.from_bytes(raw[:8], "little")
    metadata: Mapping[str, str] = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
    return metadata


def describe(model: Model) -> dict[str, str]:
    """Return everything of a model but its weights, as metadata."""
    return {
        "arch": json.dumps(model.net.arch.to_dict()),
        "data": model.data,
        "classes": json.dumps(model.classes),
        "normalisation": json.dumps({"mean": model.normalise.mean, "std": model.normalise.std}),
        "crop": json.dumps(model.crop),
    }


def rebuild(description: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Model:
    """Return the model, in eval mode, from what `describe` returned and its weights."""
    net = build(Arch.from_dict(json.loads(description["arch"])))
    net.load_state_dict(tensors)
    normalisation = json.loads(description["normalisation"])
    return Model(
        net=net.eval(),
        data=description["data"],
        classes=tuple(json.loads(description["classes"])),
        normalise=Normalisation(mean=tuple(normalisation["mean"]), std=tuple(normalisation["std"])),
        crop=float(json.loads(description.get("crop", "1"))),
    )


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the tensors' bytes, in the order of their names."""
    return sha256(b"".join(tensors[name].cpu().numpy().tobytes() for name in sorted(tensors))).hexdigest()
