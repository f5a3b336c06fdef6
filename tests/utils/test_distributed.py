"""Data-parallel training with gloo, two processes on this machine."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from tinynas.utils import distributed
from tinynas.utils.errors import InputError

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

GRADIENTS = """
import sys, torch
from tinynas import Supernet, augment, load_space
from tinynas.tasks.losses import TeacherLoss
from tinynas.training.objectives import NetAugObjective, SandwichObjective
from tinynas.utils.distributed import init_distributed, rank, shard
from tinynas.data.base import Batch
from tinynas.training.precision import MixedPrecision
from tinynas.training.loop import make_optimizer, train_step
from tinynas.training.recipe import Recipe
import numpy as np

def step(kind):
    torch.manual_seed(0)
    space = load_space("micro")
    objective = SandwichObjective(space)
    if kind == "netaug":
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
    return {"images": len(mine), "loss": result.loss, "gradients": [p.grad for p in supernet.parameters()]}

torch.set_num_threads(1)
alone = {kind: step(kind) for kind in ("sandwich", "netaug")}
init_distributed()
together = {kind: step(kind) for kind in ("sandwich", "netaug")}
torch.save({"alone": alone, "together": together}, f"{sys.argv[1]}/rank{rank()}.pt")
"""


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """The results of a step with a whole batch, and of two processes with half of it each, as torchrun starts them."""
    folder = tmp_path_factory.mktemp("gradients")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    processes = []
    for rank in range(2):
        environment = {**os.environ, **address, "TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "RANK": str(rank)}
        processes.append(subprocess.Popen([sys.executable, "-c", GRADIENTS, folder], env=environment))
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("kind", ["sandwich", "netaug"])
def test_distributed_gradients_of_two_half_batches_are_those_of_the_whole(gradients, kind):
    expected = gradients[0]["alone"][kind]
    assert expected["images"] == 8
    assert max(gradient.abs().max() for gradient in expected["gradients"]) > 0.01
    for results in gradients:
        averaged = results["together"][kind]
        assert averaged["images"] == 4
        assert averaged["loss"] == pytest.approx(expected["loss"], rel=1e-12)
        for whole, mean in zip(expected["gradients"], averaged["gradients"], strict=True):
            assert torch.allclose(whole, mean, rtol=1e-9, atol=1e-12)


def test_distributed_shards_divide_a_batch_or_refuse_it(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    shards = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shards.append(distributed.shard(torch.arange(6)).tolist())
    assert shards == [[0, 2, 4], [1, 3, 5]]
    message = "the batch size must be a multiple of the number of processes: 33 images, 2 processes"
    with pytest.raises(InputError, match=message):
        distributed.shard(torch.arange(33))


@pytest.mark.slow
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


@pytest.mark.slow
def test_distributed_search_refuses_a_batch_that_cannot_be_sharded(tmp_path):
    search = ["-m", "tinynas.cli", "search", "--space", "micro", "--epochs", "1", "--batch-size", "33"]
    done = subprocess.run([*TORCHRUN, *search], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "the batch size must be a multiple of the number of processes: 33 images, 2 processes" in done.stderr
