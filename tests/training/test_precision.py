import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml

from helpers import TRAINING_RECIPE, FailingObjective, train_supernet, zero_rate_step
from tinynas import Supernet, load, load_space
from tinynas.training import loop as training_module
from tinynas.training.precision import MixedPrecision
from tinynas.utils.errors import InputError


def test_precision_bf16_trains(tmp_path):
    """In a process of its own, in which oneDNN uses no instruction that an emulated CPU may lack."""
    arch = tmp_path / "tiny.yaml"
    arch.write_text(yaml.safe_dump(load_space("micro").min().to_dict()))
    command = [sys.executable, "-m", "tinynas.cli", "retrain", arch, "--epochs", "1", "--precision", "bf16", "--json"]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    metrics = json.loads(done.stdout)
    assert metrics["train_accuracy"] > 20
    assert all(tensor.dtype != torch.bfloat16 for tensor in load(tmp_path / metrics["model"]).state_dict().values())


CPU = torch.device("cpu")


def test_precision_fp16_needs_a_gpu(space, data, tmp_path):
    with pytest.raises(InputError, match="precision fp16 needs a GPU"):
        train_supernet(space, data, tmp_path / "c.pt", recipe=replace(TRAINING_RECIPE, precision="fp16"))


def test_precision_fp16_scales_losses_and_not_gradients(space, data):
    """What a GPU would do: the scaler's part of a step, with its scale, here in full precision."""
    supernet = Supernet(space)
    batch = next(iter(data.training_batches(16, (12,), seed=0, epoch=0)))
    optimizer, gradients, scales = training_module.make_optimizer(supernet, TRAINING_RECIPE), [], []
    for enabled in (False, True):
        scaler = torch.amp.GradScaler("cpu", enabled=enabled, init_scale=1024.0)
        precision = replace(MixedPrecision.for_device("fp32", CPU), scaler=scaler)
        _, skipped = zero_rate_step(supernet, FailingObjective(space, set()), batch, optimizer, precision)
        assert not skipped
        gradients.append([p.grad.clone() for p in supernet.parameters()])
    assert all(torch.allclose(plain, scaled, rtol=1e-4, atol=1e-7) for plain, scaled in zip(*gradients, strict=True))
    scales.append(scaler.get_scale())
    _, skipped = zero_rate_step(supernet, FailingObjective(space, {0}), batch, optimizer, precision)
    assert skipped
    assert scaler.get_scale() == scales[0] / 2, "a step that overflowed halves the scale"
