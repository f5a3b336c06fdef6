import errno
import os
from dataclasses import replace

import pytest
import torch

from helpers import TRAINING_RECIPE, Stopped, train_supernet
from tinynas import augment
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.training.objectives import NetAugObjective, SandwichObjective
from tinynas.utils.errors import FileError


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 12, 17])
def test_checkpoint_resumes_a_stopped_training_to_the_bit(space, data, tmp_path, monkeypatch, stop_after, sort):
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", 0.0)
    if sort:
        target = replace(space.min(), resolution=12)
        space = augment(target, width=[1, 2], expand=[1, 2])
        objective = NetAugObjective(target, space, CrossEntropyLoss())
    else:
        objective = SandwichObjective(space)
    expected = train_supernet(space, data, tmp_path / "whole.pt", objective=objective, sort=sort)
    with pytest.raises(Stopped):
        train_supernet(space, data, tmp_path / "cut.pt", stop_after=stop_after, objective=objective, sort=sort)
    resumed = train_supernet(space, data, tmp_path / "cut.pt", objective=objective, sort=sort)
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
