"""Data-parallel training with torchrun's launcher and gloo, two processes on this machine."""

import json
import subprocess
import sys

import pytest
import torch

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

GRADIENTS = """
import sys, torch
from torch.nn.functional import cross_entropy
from tinynas import Supernet, augment, load_space
from tinynas.tasks.losses import taught
from tinynas.training.objectives import netaug, sandwich
from tinynas.utils.distributed import rank, share, start
from tinynas.data.base import Batch
from tinynas.training.precision import Arithmetic
from tinynas.training.loop import _optimizer
from tinynas.training.recipe import Recipe
import numpy as np

torch.set_num_threads(1)
start()
torch.manual_seed(0)
space = load_space("micro")
objective = sandwich(space)
if sys.argv[2] == "netaug":
    target, shares = space.min(), torch.randn(1, 10, dtype=torch.float64)
    space = augment(target)
    objective = netaug(target, space, taught(lambda batch: shares * batch.images.mean((1, 2, 3))[:, None]))
supernet = Supernet(space)
with torch.no_grad():
    for parameter in supernet.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
supernet.double().eval()
images, labels = torch.randn(8, 1, 28, 28, dtype=torch.float64), torch.arange(8)
mine = share(torch.arange(8))
batch = Batch(images[mine], labels[mine], mine, 0)
losses = objective(supernet, batch, np.random.default_rng(0))
optimizer = _optimizer(supernet, Recipe())
gradient = Arithmetic("fp32", torch.device("cpu")).backward(supernet, optimizer, losses, max_grad_norm=0.0)
if rank() == 0:
    torch.save({"loss": gradient.loss, "gradients": [p.grad for p in supernet.parameters()]}, sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["sandwich", "netaug"])
def test_two_processes_with_half_a_batch_have_the_gradients_of_one_with_the_whole(tmp_path, kind):
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    subprocess.run([sys.executable, script, tmp_path / "one.pt", kind], check=True)
    subprocess.run([*TORCHRUN, script, tmp_path / "two.pt", kind], check=True)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-12)
    assert max(gradient.abs().max() for gradient in one["gradients"]) > 0.01
    for alone, averaged in zip(one["gradients"], two["gradients"], strict=True):
        assert torch.allclose(alone, averaged, rtol=1e-9, atol=1e-12)


def test_search_and_retrain_under_torchrun(tmp_path):
    words = ["-m", "tinynas.cli"]
    search = [*words, "search", "--space", "micro", "--flops", "200K", "--epochs", "1", "--trials", "3", "--json"]
    done = subprocess.run([*TORCHRUN, *search], cwd=tmp_path, check=True, capture_output=True, text=True)
    front = json.loads(done.stdout)  # one document: only the first process speaks
    assert front["evaluations"] == 3
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [front["run"].split("/")[-1]]
    retrain = [*words, "retrain", "--netaug", "--epochs", "1", "--json"]
    done = subprocess.run([*TORCHRUN, *retrain], cwd=tmp_path, check=True, capture_output=True, text=True)
    metrics = json.loads(done.stdout)
    assert metrics["netaug"]
    log = (tmp_path / front["run"] / "retrain" / "netaug" / "log.jsonl").read_text()
    assert log.count("\n") == 1


def test_a_batch_that_cannot_be_shared_is_told(tmp_path):
    search = ["-m", "tinynas.cli", "search", "--space", "micro", "--epochs", "1", "--batch-size", "33"]
    done = subprocess.run([*TORCHRUN, *search], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "`the batch size is a multiple of the processes` must hold, but got (batch=33, processes=2)" in done.stderr
