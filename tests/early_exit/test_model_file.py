import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from helpers import TINY, flipped, images_for, model_of, result_or_error, same_model, sidenet_of
from tinynas.early_exit.model import EarlyExitModel, build_cascade
from tinynas.early_exit.model_file import read_early_exits, save_early_exits
from tinynas.early_exit.thresholds import NEVER_EXIT
from tinynas.models.model_file import digest, read_model, save_model
from tinynas.utils.errors import FileError


@pytest.mark.parametrize("kind", ["sidenet", "cascade"])
def test_save_early_exits_and_read_early_exits_round_trip(space, tmp_path, kind):
    arch = replace(space.min(), resolution=12)
    big = model_of(arch)
    if kind == "sidenet":
        model = EarlyExitModel(models=(big,), exits=sidenet_of(arch, ["stages.0", "stages.1"]))
    else:
        tiny = model_of(space.min())
        model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big))
    model.exits.temperatures.uniform_(0.5, 2)
    model.exits.thresholds = (0.7,)  # of all exits: it stays a single one
    save_early_exits(tmp_path / "sidenet.safetensors", model)
    again = read_early_exits(tmp_path / "sidenet.safetensors")
    images = images_for(arch, 9)
    for threshold in (0, 0.6, NEVER_EXIT):
        assert torch.equal(
            again.exits(images, threshold=threshold).logits, model.exits(images, threshold=threshold).logits
        )
    assert (again.exits.thresholds, again.names) == (model.exits.thresholds, model.names)
    assert torch.equal(again.exits.temperatures, model.exits.temperatures)
    save_model(tmp_path / "model.safetensors", big)
    with pytest.raises(
        FileError, match="is of the kind 'tinynas', not a network with early exits; recreate it with tinynas sidenet"
    ):
        read_early_exits(tmp_path / "model.safetensors")
    with pytest.raises(FileError, match="is of the kind 'tinynas-exits', not a tinynas model"):
        read_model(tmp_path / "sidenet.safetensors")
    raw = bytearray((tmp_path / "sidenet.safetensors").read_bytes())
    raw[-3] ^= 1
    (tmp_path / "sidenet.safetensors").write_bytes(raw)
    with pytest.raises(FileError, match="is corrupt, or not a network with early exits"):
        read_early_exits(tmp_path / "sidenet.safetensors")


def tiny_sidenet(threshold=0.7):
    """A SideNet with an exit in the middle of the smallest network."""
    exits = sidenet_of(TINY)
    exits.temperatures.copy_(torch.tensor([0.5, 2.0]))
    exits.thresholds = (threshold,)
    return EarlyExitModel(models=(model_of(TINY),), exits=exits)


def same_exits(model, other):
    """Whether two networks with early exits are equal to the bit."""
    heads = [head.state_dict() for head in (*model.exits.heads, *other.exits.heads)]
    return (
        (model.exits.thresholds, list(model.exits.taps)) == (other.exits.thresholds, list(other.exits.taps))
        and all(same_model(entry, again) for entry, again in zip(model.models, other.models, strict=True))
        and torch.equal(model.exits.temperatures, other.exits.temperatures)
        and all(torch.equal(tensor, heads[-1][name]) for name, tensor in heads[0].items())
    )


def test_early_exits_with_a_flipped_bit_are_an_error_or_the_same(tmp_path):
    path, model = tmp_path / "sidenet.safetensors", tiny_sidenet()
    save_early_exits(path, model)
    raw = path.read_bytes()
    errors, bits = 0, range(0, 8 * len(raw), 11)
    for bit in bits:
        path.write_bytes(flipped(raw, bit))
        read = result_or_error(read_early_exits, path)
        errors += isinstance(read, FileError)
        assert isinstance(read, FileError) or same_exits(read, model), f"bit {bit}"
    assert errors > 0.99 * len(bits)


def save_format_1(path, source, tensors, changes):
    """Write what earlier versions wrote, whose digest covers nothing but the tensors' bytes."""
    save_early_exits(source, tiny_sidenet())
    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())
    del metadata["digest"], metadata["rule"]
    metadata["threshold"] = str(json.loads(metadata.pop("thresholds"))[0])
    tensors = load(source.read_bytes()) | tensors
    path.write_bytes(save(tensors, metadata | {"format": "tinynas-exits 1", "sha256": digest(tensors)} | changes))


def test_read_early_exits_reads_files_of_format_1(tmp_path):
    path = tmp_path / "old.safetensors"
    save_format_1(path, tmp_path / "new.safetensors", {}, {})
    assert same_exits(read_early_exits(path), tiny_sidenet())


@pytest.mark.parametrize(
    ("tensors", "changes", "problem"),
    [
        ({}, {"threshold": "-0.5"}, r"`0 <= threshold < inf` must hold, but got \(threshold=-0\.5\)"),
        ({}, {"threshold": "1e999"}, "`0 <= threshold < inf` must hold"),
        ({}, {"threshold": "NaN"}, "or not a network with early exits"),
        ({}, {"taps": '["stages.7"]'}, r"stages\.7"),
        ({}, {"taps": '["stages.0", "head"]'}, "or not a network with early exits"),
        ({}, {"taps": '"stages.0"'}, "a list of names must be a list"),
        ({}, {"hidden": "1000000000"}, r"hidden is the width of every head.*hidden=1000000000, width=5"),
        ({}, {"models": "[]"}, "or not a network with early exits"),
        ({"temperatures": torch.tensor([1.0, 0.0])}, {}, r"must be positive and finite, but are \[1\.0, 0\.0\]"),
        ({"temperatures": torch.tensor([1.0, torch.inf])}, {}, r"must be positive and finite, but are \[1\.0, inf\]"),
        (
            {"temperatures": torch.ones(3)},
            {},
            r"'temperatures' is float32 \(3,\), where",
        ),
        ({"models.1.x": torch.ones(3)}, {}, r"the tensor 'models\.1\.x' has no place in the network"),
    ],
)
def test_read_early_exits_checks_files_of_format_1(tmp_path, tensors, changes, problem):
    path = tmp_path / "old.safetensors"
    save_format_1(path, tmp_path / "new.safetensors", tensors, changes)
    with pytest.raises(FileError, match=rf"old\.safetensors is corrupt.*{problem}.*; recreate it with tinynas sidenet"):
        read_early_exits(path)
