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
from tinynas.tasks.losses import TeacherLoss
from tinynas.training.objectives import NetAugObjective, SandwichObjective
from tinynas.utils.distributed import init_distributed, rank, shard
from tinynas.data.base import Batch
from tinynas.training.precision import MixedPrecision
from tinynas.training.loop import make_optimizer, train_step
from tinynas.training.recipe import Recipe
import numpy as np

torch.set_num_threads(1)
init_distributed()
torch.manual_seed(0)
space = load_space("micro")
objective = SandwichObjective(space)
if sys.argv[2] == "netaug":
    target, shares = space.min(), torch.randn(1, 10, dtype=torch.float64)
    space = augment(target)
    teacher = lambda batch: shares * batch.images.mean((1, 2, 3))[:, None]
    objective = NetAugObjective(target, space, TeacherLoss(teacher))
supernet = Supernet(space)
with torch.no_grad():
    for parameter in supernet.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
supernet.double().eval()
images, labels = torch.randn(8, 1, 28, 28, dtype=torch.float64), torch.arange(8)
mine = shard(torch.arange(8))
batch = Batch(images[mine], labels[mine], mine, 0)
optimizer = make_optimizer(supernet, Recipe())
precision, rng = MixedPrecision.for_device("fp32", torch.device("cpu")), np.random.default_rng(0)
result = train_step(supernet, objective, batch, rng, optimizer, precision, lr=0.0, max_grad_norm=0.0)
if rank() == 0:
    torch.save({"loss": result.loss, "gradients": [p.grad for p in supernet.parameters()]}, sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["sandwich", "netaug"])
def test_distributed_gradients_of_two_half_batches_are_those_of_the_whole(tmp_path, kind):
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    subprocess.run([sys.executable, script, tmp_path / "one.pt", kind], check=True)
    subprocess.run([*TORCHRUN, script, tmp_path / "two.pt", kind], check=True)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-12)
    assert max(gradient.abs().max() for gradient in one["gradients"]) > 0.01
    for alone, averaged in zip(one["gradients"], two["gradients"], strict=True):
        assert torch.allclose(alone, averaged, rtol=1e-9, atol=1e-12)


def test_distributed_search_and_retrain_run_under_torchrun(tmp_path):
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


def test_distributed_search_refuses_a_batch_that_cannot_be_sharded(tmp_path):
    search = ["-m", "tinynas.cli", "search", "--space", "micro", "--epochs", "1", "--batch-size", "33"]
    done = subprocess.run([*TORCHRUN, *search], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "the batch size must be a multiple of the number of processes: 33 images, 2 processes" in done.stderr
