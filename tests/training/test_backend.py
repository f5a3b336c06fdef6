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
