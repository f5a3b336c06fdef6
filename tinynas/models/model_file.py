"""A delivered model: its file, and the data it is for."""

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
_FORMAT = 1  # of the metadata of files of weights


@dataclass(frozen=True, kw_only=True)
class Model:
    """A delivered network with what is needed to use it, and the name of the data set it was trained on."""

    net: Network
    data: str
    classes: tuple[str, ...]
    normalise: Normalisation
    crop: float = 1.0  # as in Data


def save_model(path: Path, model: Model) -> None:
    """Write safetensors: the weights; arch, class names and what images are made of as JSON in the metadata."""
    save_weights(path, "tinynas", describe(model), model.net.state_dict())


def read_model(path: Path) -> Model:
    """What `save_model` wrote, in eval mode. Raises FileError if it is damaged, newer, or something else."""
    return read_weights(path, "tinynas", "tinynas model; restore it, or retrain", rebuild)


def save_weights(path: Path, kind: str, about: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors with metadata: what the file is, what it is about, and the tensors' digest."""
    kept = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": f"{kind} {_FORMAT}", **about, "sha256": digest(kept)}
    write(path, save_tensors(kept, metadata))


def read_weights(path: Path, kind: str, wanted: str, make: Callable[[Mapping[str, str], Mapping[str, Tensor]], T]) -> T:
    """What `make` makes of the metadata and the tensors that `save_weights` wrote. Raises FileError."""
    raw = read(path)
    try:
        metadata = _metadata(raw)
        found, _, version = metadata.get("format", "").partition(" ")
        if found == kind and int(version) > _FORMAT:
            raise FileError(f"{path} has format {version}, newer than this tinynas reads ({_FORMAT}); update tinynas")
        if found != kind and found.startswith("tinynas"):
            raise FileError(f"{path} is of the kind {found!r}, and no {wanted}")
        tensors = load_tensors(raw)
        if found != kind or digest(tensors) != metadata["sha256"]:
            raise ValueError
        return make(metadata, tensors)
    except FileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, TinyNASError):
        raise FileError(f"{path} is damaged or no {wanted}") from None


def kind_of(path: Path) -> str:
    """What a file of weights says it is, or nothing. Raises FileError."""
    try:
        return str(_metadata(read(path)).get("format", "")).partition(" ")[0]
    except (ValueError, AttributeError):
        return ""


def _metadata(raw: bytes) -> Mapping[str, str]:
    size = int.from_bytes(raw[:8], "little")
    metadata: Mapping[str, str] = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
    return metadata


def describe(model: Model) -> dict[str, str]:
    """All of a model but its weights."""
    return {
        "arch": json.dumps(model.net.arch.to_dict()),
        "data": model.data,
        "classes": json.dumps(model.classes),
        "normalisation": json.dumps({"mean": model.normalise.mean, "std": model.normalise.std}),
        "crop": json.dumps(model.crop),
    }


def rebuild(described: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Model:
    """The model, in eval mode, of what `describe` says and its weights."""
    net = build(Arch.from_dict(json.loads(described["arch"])))
    net.load_state_dict(tensors)
    normalisation = {k: tuple(v) for k, v in json.loads(described["normalisation"]).items()}
    return Model(
        net=net.eval(),
        data=described["data"],
        classes=tuple(json.loads(described["classes"])),
        normalise=Normalisation(**normalisation),
        crop=float(json.loads(described.get("crop", "1"))),
    )


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes, in the order of their names."""
    return sha256(b"".join(tensors[name].cpu().numpy().tobytes() for name in sorted(tensors))).hexdigest()
