"""Model files: a trained network with what is needed to use it, as safetensors with metadata."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..arch.arch import Arch
from ..data.base import Normalisation
from ..data.identity import DataIdentity
from ..utils.errors import FileError, InputError, TinyNASError, file_error, require
from ..utils.io import from_json, json_digest, read, to_json, write
from ..utils.schema import check_list, check_value
from .network import Network, build

T = TypeVar("T")
SCORE_THRESHOLD = 0.3  # default of detectors, if no better one is known
_FORMAT = 2  # version of the metadata
_OLD_FORMAT = 1  # has a digest of the tensors' bytes only, under another key: no damage turns format 2 into it
_DIGEST, _OLD_DIGEST = "digest", "sha256"  # keys of the metadata
_EXPORTED = (".tflite", ".onnx")  # suffixes
_KIND = "tinynas"
_SIZE = 8  # bytes of a safetensors file with the size of its header, and to a multiple of which the header is padded


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network with what is needed to use it.

    Attributes:
        net: The network, in eval mode.
        data: Name of the data set it was trained on.
        classes: Names of the classes, in the order of the outputs.
        normalise: Mean and standard deviation per channel that the input images are normalised by.
        crop: Fraction of an image's shorter side that the network sees, as in `Data`.
        identity: Which images and labels the data set had; None if that is not known.
        score_threshold: Of a detector: what the score of a box that is shown must exceed. Retraining chooses the one
            with the best F1 on search-val.

    Raises:
        InputError: There is not a distinct name for each class of the network, the normalisation has other channels
            than the network, or `crop` or `score_threshold` is out of its range.
    """

    net: Network
    data: str
    classes: tuple[str, ...]
    normalise: Normalisation
    crop: float = 1.0
    identity: DataIdentity | None = None
    score_threshold: float = SCORE_THRESHOLD

    def __post_init__(self) -> None:
        arch = self.net.arch
        if len(self.classes) != arch.classes:
            raise InputError(
                f"a model needs the names of its network's {arch.classes} classes, but has {len(self.classes)} names"
            )
        if len(set(self.classes)) != arch.classes:
            raise InputError("the names of a model's classes must differ, but two are the same")
        if len(self.normalise.mean) != arch.in_channels:
            raise InputError(
                f"a model needs the mean of each of its network's {arch.in_channels} input channels, but has "
                f"{len(self.normalise.mean)} means"
            )
        require(0 < self.crop <= 1, "0 < crop <= 1", crop=self.crop)
        require(0 <= self.score_threshold <= 1, "0 <= score_threshold <= 1", score_threshold=self.score_threshold)


def save_model(path: Path, model: Model) -> None:
    """Write a safetensors file: the weights, and as JSON in the metadata arch, classes and preprocessing."""
    save_weights(path, _KIND, describe(model), model.net.state_dict())


def read_model(path: Path) -> Model:
    """Read what `save_model` wrote, in eval mode.

    Raises:
        FileError: The file is corrupt, newer than this version reads, of another kind, or of blocks that are not
            registered.
    """
    return read_weights(
        path, _KIND, rebuild, expected="tinynas model", advice="restore the file, or retrain the network"
    )


def save_weights(path: Path, kind: str, about: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file whose metadata holds its kind, a description, and a digest of these and the tensors."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": f"{kind} {_FORMAT}", **about}
    metadata[_DIGEST] = _file_digest(metadata, weights)
    write(path, _with_sorted_metadata(save_tensors(weights, metadata)))


def _with_sorted_metadata(raw: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library writes them in a random one."""
    size = int.from_bytes(raw[:_SIZE], "little")
    header = from_json(raw[_SIZE : _SIZE + size].decode())
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = to_json(header).encode()
    text += b" " * (-len(text) % _SIZE)
    return len(text).to_bytes(_SIZE, "little") + text + raw[_SIZE + size :]


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
        make: Makes the result from the metadata and the tensors; any error it raises, but that a kind of block is not
            registered, means that the file is corrupt.
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
        if actual != kind or not _is_intact(metadata, tensors, int(version)):
            raise ValueError
        return make(metadata, tensors)
    except FileError:
        raise
    except TinyNASError as error:
        raise file_error(path, "is corrupt", error, advice) from None
    except Exception:  # corrupt bytes make safetensors and torch raise almost anything
        if path.suffix in _EXPORTED:
            raise FileError(
                f"{path} is an exported file, which no command reads; name the model.safetensors that it was made from"
            ) from None
        raise FileError(f"{path} is corrupt, or not a {expected}; {advice}") from None


def kind_of(path: Path) -> str:
    """Return the kind that a model file names in its metadata, or "". Raises FileError if it cannot be read."""
    try:
        return str(_metadata(read(path)).get("format", "")).partition(" ")[0]
    except (ValueError, AttributeError):
        return ""


def _metadata(raw: bytes) -> Mapping[str, str]:
    size = int.from_bytes(raw[:_SIZE], "little")
    metadata: Mapping[str, str] = from_json(raw[_SIZE : _SIZE + size].decode()).get("__metadata__", {})
    return metadata


def _is_intact(metadata: Mapping[str, str], tensors: Mapping[str, Tensor], version: int) -> bool:
    """Return whether the digest in a file's metadata is the one of its content."""
    if version == _OLD_FORMAT:
        return metadata[_OLD_DIGEST] == digest(tensors)
    content = dict(metadata)
    return version == _FORMAT and content.pop(_DIGEST) == _file_digest(content, tensors)


def describe(model: Model) -> dict[str, str]:
    """Return everything of a model but its weights, as metadata."""
    description = {
        "arch": to_json(model.net.arch.to_dict()),
        "data": model.data,
        "classes": to_json(model.classes),
        "normalisation": to_json({"mean": model.normalise.mean, "std": model.normalise.std}),
        "crop": to_json(model.crop),
    }
    if model.identity is not None:
        description["identity"] = to_json(model.identity.to_dict())
    if model.net.arch.task == "detect":
        description["score_threshold"] = to_json(model.score_threshold)
    return description


def rebuild(description: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Model:
    """Return the model, in eval mode, from what `describe` returned and its weights.

    Raises:
        InputError: A value is impossible, or the weights are not those of the arch.
    """
    arch = Arch.from_dict(from_json(description["arch"]))
    with torch.device("meta"):  # takes no memory, whatever sizes a corrupt file names
        check_weights(tensors, Network(arch).state_dict())
    net = build(arch)
    net.load_state_dict(tensors)
    normalisation = from_json(description["normalisation"])
    identity = from_json(description.get("identity", "null"))
    return Model(
        net=net.eval(),
        data=description["data"],
        classes=texts_in(description["classes"]),
        normalise=Normalisation(mean=tuple(normalisation["mean"]), std=tuple(normalisation["std"])),
        crop=float(from_json(description.get("crop", "1.0"))),
        identity=None if identity is None else DataIdentity.from_dict(identity),
        score_threshold=float(from_json(description.get("score_threshold", to_json(SCORE_THRESHOLD)))),
    )


def check_weights(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise InputError unless the tensors have the names, shapes and types of the expected ones."""
    differing = sorted(tensors.keys() ^ expected.keys())
    for name in differing:
        problem = "is missing" if name in expected else "has no place in the network"
        raise InputError(f"the tensor {name!r} {problem}")
    for name, tensor in expected.items():
        actual, needed = _type_and_shape(tensors[name]), _type_and_shape(tensor)
        if actual != needed:
            raise InputError(f"the tensor {name!r} is {actual}, where the network has {needed}")


def texts_in(metadata: str) -> tuple[str, ...]:
    """Return the texts of a JSON list. Raises InputError if it is no list, or has other values."""
    texts = tuple(check_list(from_json(metadata), "a list of names"))
    for text in texts:
        check_value(text, str, "a name")
    return texts


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the tensors' bytes, in the order of their names."""
    return sha256(b"".join(tensors[name].cpu().numpy().tobytes() for name in sorted(tensors))).hexdigest()


def _file_digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of all metadata but the digest, and of the tensors' names, types, shapes and bytes."""
    total = sha256(json_digest(metadata).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(to_json([name, _type_and_shape(tensor)]).encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _type_and_shape(tensor: Tensor) -> str:
    """Return the type and shape of a tensor as text: "float32 (8, 1, 3, 3)"."""
    return f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")
