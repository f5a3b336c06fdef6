import errno
import io
import os
from dataclasses import replace

import pytest
import torch

from helpers import TRAINING_RECIPE, Stopped, flipped, result_or_error, train_supernet
from tinynas import augment
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.training.checkpoint import read_checkpoint
from tinynas.training.checkpoint_digest import add_digest
from tinynas.training.objectives import NetAugObjective, SandwichObjective
from tinynas.utils.errors import FileError


@pytest.fixture(scope="module", params=[("sandwich", "eager"), ("sandwich", "auto"), ("netaug", "auto")])
def uninterrupted(request, space, data, tmp_path_factory):
    """The arguments of a training, sorted where it is NetAug's, and the weights that it ends with."""
    objective, backend = request.param
    how = {"objective": SandwichObjective(space)}
    if objective == "netaug":
        target = replace(space.min(), resolution=12)
        space = augment(target, width=[1, 2], expand=[1, 2])
        how = {"objective": NetAugObjective(target, space, CrossEntropyLoss()), "sort": True}
    how["recipe"] = replace(TRAINING_RECIPE, backend=backend)
    weights = train_supernet(space, data, tmp_path_factory.mktemp("training") / "whole.pt", **how)
    return space, how, {name: tensor.clone() for name, tensor in weights.items()}


@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 12, 17])
def test_checkpoint_resumes_a_stopped_training_to_the_bit(uninterrupted, data, tmp_path, monkeypatch, stop_after):
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", 0.0)
    space, how, expected = uninterrupted
    with pytest.raises(Stopped):
        train_supernet(space, data, tmp_path / "cut.pt", stop_after=stop_after, **how)
    resumed = train_supernet(space, data, tmp_path / "cut.pt", **how)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:3000] + b"\xff" + raw[3001:],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: b"garbage" * 100,
    ],
)
def test_checkpoint_that_is_damaged_is_named(space, data, tmp_path, damage):
    path = tmp_path / "c.pt"
    train_supernet(space, data, path, recipe=replace(TRAINING_RECIPE, epochs=1))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=r"c\.pt is corrupt or of another network; delete it"):
        train_supernet(space, data, path)


def test_checkpoint_of_another_network_is_named(space, data, tmp_path):
    train_supernet(space, data, tmp_path / "c.pt", recipe=replace(TRAINING_RECIPE, epochs=1))
    other = replace(space, classes=7)
    with pytest.raises(FileError, match="another network"):
        train_supernet(other, data, tmp_path / "c.pt")


def test_checkpoint_is_plain_data(space, data, tmp_path):
    train_supernet(space, data, tmp_path / "c.pt", recipe=replace(TRAINING_RECIPE, epochs=1))
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    assert content["step"] == 6


def test_checkpoint_stays_when_the_disk_is_full(space, data, tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    train_supernet(space, data, path, recipe=replace(TRAINING_RECIPE, epochs=1))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"cannot write .*c\.pt: No space left on device; the previous one is kept"):
        train_supernet(space, data, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def saved(content):
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


SMALL_STATE = {"model": {"weight": torch.arange(6.0), "bias": torch.ones(6)}, "step": 3}


def same_state(content, other):
    """Whether two small checkpoints are equal to the bit."""
    return (
        (content.keys(), content["step"]) == (other.keys(), other["step"])
        and content["model"].keys() == other["model"].keys()
        and all(torch.equal(tensor, other["model"][name]) for name, tensor in content["model"].items())
    )


def test_checkpoint_with_a_flipped_bit_is_an_error_or_the_same(tmp_path):
    path = tmp_path / "c.pt"
    raw = add_digest(saved(SMALL_STATE))
    path.write_bytes(raw)
    assert same_state(read_checkpoint(path), SMALL_STATE)
    for bit in range(8 * len(raw)):
        path.write_bytes(flipped(raw, bit))
        read = result_or_error(read_checkpoint, path)
        assert isinstance(read, FileError), f"bit {bit}"


def test_checkpoint_of_earlier_versions_is_read(tmp_path):
    path = tmp_path / "c.pt"
    raw = saved(SMALL_STATE)
    path.write_bytes(raw)
    assert same_state(read_checkpoint(path), SMALL_STATE)
    values = raw.index(SMALL_STATE["model"]["weight"].numpy().tobytes())
    path.write_bytes(flipped(raw, 8 * values + 3))
    with pytest.raises(FileError, match=r"c\.pt is corrupt or of another network; delete it to train from the start"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"weight": torch.ones(2)}, torch.ones(2), [1, 2], {"model": 3}])
def test_read_checkpoint_refuses_other_files_of_torch(tmp_path, content):
    path = tmp_path / "c.pt"
    path.write_bytes(saved(content))
    with pytest.raises(FileError, match="is corrupt or of another network"):
        read_checkpoint(path)


def test_checkpoint_of_a_training_has_a_digest(space, data, tmp_path):
    path = tmp_path / "c.pt"
    train_supernet(space, data, path, recipe=replace(TRAINING_RECIPE, epochs=1))
    raw = path.read_bytes()
    for bit in range(5, 8 * len(raw), len(raw) // 20):
        path.write_bytes(flipped(raw, bit))
        with pytest.raises(FileError, match="is corrupt"):
            read_checkpoint(path)
