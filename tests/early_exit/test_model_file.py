from dataclasses import replace

import pytest
import torch

from helpers import images_for, model_of, sidenet_of
from tinynas.early_exit.model import EarlyExitModel, build_cascade
from tinynas.early_exit.model_file import read_early_exits, save_early_exits
from tinynas.early_exit.thresholds import NEVER_EXIT
from tinynas.models.model_file import read_model, save_model
from tinynas.utils.errors import FileError


@pytest.mark.parametrize("kind", ["sidenet", "cascade"])
def test_save_early_exits_and_read_early_exits_round_trip(space, tmp_path, kind):
    arch = replace(space.min(), resolution=12)
    big = model_of(arch)
    if kind == "sidenet":
        model = EarlyExitModel(models=(big,), exits=sidenet_of(arch, ["stages.0", "stages.1"]), threshold=0.7)
    else:
        tiny = model_of(space.min())
        model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big), threshold=0.7)
    model.exits.temperatures.uniform_(0.5, 2)
    save_early_exits(tmp_path / "sidenet.safetensors", model)
    again = read_early_exits(tmp_path / "sidenet.safetensors")
    images = images_for(arch, 9)
    for threshold in (0, 0.6, NEVER_EXIT):
        assert torch.equal(
            again.exits(images, threshold=threshold).logits, model.exits(images, threshold=threshold).logits
        )
    assert (again.threshold, again.names) == (0.7, model.names)
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
