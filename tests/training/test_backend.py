"""Which code runs networks: chosen, said, refused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers import TRAINING_RECIPE
from tinynas import Supernet
from tinynas.kernels.shared_library import KernelsUnavailableError
from tinynas.training import backend
from tinynas.training.backend import use_backend
from tinynas.utils.errors import InputError


def chosen(supernet, **settings):
    notes = []
    use_backend(supernet, replace(TRAINING_RECIPE, **settings), note=notes.append)
    notes = [note for note in notes if not note.startswith("compiling")]
    assert len(notes) == 1
    return supernet.fused, notes[0]


def test_auto_takes_the_kernels_on_a_cpu(space):
    supernet = Supernet(space)
    fused, note = chosen(supernet)
    assert fused
    assert note.startswith("networks are run by fused CPU kernels (")
    assert chosen(supernet, backend="fused") == (True, note)
    assert chosen(supernet, backend="eager") == (False, "networks are run by PyTorch")


def test_what_the_kernels_cannot_run_is_left_to_pytorch_or_refused(space):
    supernet = Supernet(space)
    reason = "the kernels compute in fp32, not in bf16"
    assert chosen(supernet, precision="bf16") == (False, f"networks are run by PyTorch: {reason}")
    with pytest.raises(InputError, match=f"^--backend fused: {reason}; (or )?choose --backend auto or eager$"):
        chosen(supernet, precision="bf16", backend="fused")
    supernet.net.stem.act = nn.SiLU()
    reason = "the kernels do not cover the activation SiLU"
    assert chosen(supernet) == (False, f"networks are run by PyTorch: {reason}")


def test_a_gpu_is_left_to_pytorch(space):
    with torch.device("meta"):
        supernet = Supernet(space)
    assert chosen(supernet) == (False, "networks are run by PyTorch")
    with pytest.raises(InputError, match="the kernels run on a CPU, not on meta"):
        chosen(supernet, backend="fused")


def test_without_a_library_the_hint_is_said_once(space, monkeypatch):
    def unavailable():
        raise KernelsUnavailableError("no C compiler was found (cc, gcc, clang); install gcc or clang")

    monkeypatch.setattr(backend, "load_library", unavailable)
    supernet = Supernet(space)
    fused, note = chosen(supernet)
    assert not fused
    assert note == "networks are run by PyTorch: no C compiler was found (cc, gcc, clang); install gcc or clang"


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"batch_size": 64}, "batch norm sees 16 images, the part of a batch of 64 in each of 4 processes"),
        (
            {"batch_size": 32},
            "batch norm sees 8 images, the part of a batch of 32 in each of 4 processes: few, which costs accuracy; "
            "raise --batch-size to 64, or add --sync-bn",
        ),
        ({"batch_size": 32, "sync_bn": True}, "batch norm sees all 32 images of a batch, over 4 processes"),
    ],
)
def test_data_parallel_training_says_what_batch_norm_sees(space, monkeypatch, settings, note):
    monkeypatch.setattr(backend, "world_size", lambda: 4)
    notes, supernet = [], Supernet(space)
    use_backend(supernet, replace(TRAINING_RECIPE, **settings), note=notes.append)
    assert notes[0] == note
    assert supernet.synchronised == supernet.net.stem.norm.synchronised == settings.get("sync_bn", False)
    assert supernet.fused != supernet.synchronised


def test_synchronised_norms_are_those_of_pytorch_in_a_single_process(space):
    supernet = Supernet(space)
    fused, _ = chosen(supernet, sync_bn=True)
    assert fused
    assert not supernet.synchronised
