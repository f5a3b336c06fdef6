"""A delivered model: its file, and the data it is for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from .arch import Arch
from .data import Data, Normalisation
from .datasets import load_data
from .errors import FileError, InputError, TinyNASError
from .files import read, write
from .nets import Network, build

_FORMAT = 1  # of model.safetensors' metadata


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
    metadata = {
        "format": f"tinynas {_FORMAT}",
        "arch": json.dumps(model.net.arch.to_dict()),
        "data": model.data,
        "classes": json.dumps(model.classes),
        "normalisation": json.dumps({"mean": model.normalise.mean, "std": model.normalise.std}),
        "crop": json.dumps(model.crop),
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.net.state_dict().items()}
    write(path, save_tensors(tensors, metadata | {"sha256": digest(tensors)}))


def read_model(path: Path) -> Model:
    """What `save_model` wrote, in eval mode. Raises FileError if it is damaged, newer, or something else."""
    raw = read(path)
    try:
        size = int.from_bytes(raw[:8], "little")
        metadata = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
        kind, _, version = metadata.get("format", "").partition(" ")
        if kind == "tinynas" and int(version) > _FORMAT:
            raise FileError(f"{path} has format {version}, newer than this tinynas reads ({_FORMAT}); update tinynas")
        net = build(Arch.from_dict(json.loads(metadata["arch"])))
        tensors = load_tensors(raw)
        if digest(tensors) != metadata["sha256"]:
            raise ValueError
        net.load_state_dict(tensors)
        normalisation = {k: tuple(v) for k, v in json.loads(metadata["normalisation"]).items()}
        return Model(
            net=net.eval(),
            data=metadata["data"],
            classes=tuple(json.loads(metadata["classes"])),
            normalise=Normalisation(**normalisation),
            crop=float(json.loads(metadata.get("crop", "1"))),
        )
    except FileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, TinyNASError):
        raise FileError(f"{path} is damaged or no tinynas model; restore it, or retrain") from None


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes, in the order of their names."""
    return sha256(b"".join(tensors[name].cpu().numpy().tobytes() for name in sorted(tensors))).hexdigest()


def load(path: str | Path) -> Network:
    """The plain network of a delivered model.safetensors, in eval mode. Raises FileError."""
    return read_model(Path(path)).net


def data_of(model: Model, path: Path, name: str | None) -> Data:
    """The data set the model of this file was trained on, or another of the same classes, normalised as it needs it.

    Raises InputError.
    """
    data = replace(load_data(name or model.data), normalise=model.normalise)
    if data.classes != model.classes:
        raise InputError(
            f"{path} knows {len(model.classes)} classes ({_some(model.classes)}), but {name or model.data} has "
            f"{len(data.classes)} ({_some(data.classes)}); give the data set it was trained for"
        )
    return data


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
