"""Data-parallel training with gloo, several processes on this machine."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import data_parallel
import numpy as np
import pytest
import torch
from PIL import Image

from tinynas.utils import distributed
from tinynas.utils.errors import InputError

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

PROGRAM = Path(__file__).parent.parent / "data_parallel.py"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images to train on in class folders."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for part, count in (("train", 10), ("val", 1)):
        for label in ("cat", "dog"):
            (folder / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (30 + i, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{i}.png")
    return folder


def environments(count):
    """The environment of each of the processes, as torchrun sets it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    common = os.environ | address | {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(count)}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def processes(request, files, tmp_path_factory):
    """What processes compute that torchrun has started, by rank; and what one process computes."""
    folder = tmp_path_factory.mktemp("processes")
    processes = []
    for environment in environments(request.param):
        processes.append(subprocess.Popen([sys.executable, PROGRAM, files, folder], env=environment))
    assert [process.wait(timeout=300) for process in processes] == [0] * request.param
    results = []
    for rank in range(request.param):
        results.append(torch.load(folder / f"rank{rank}.pt", weights_only=True))
    return results, data_parallel.results(files)


@pytest.mark.parametrize("kind", ["sandwich", "netaug", "detect", "detect, soft"])
def test_distributed_loss_and_gradients_of_shards_are_those_of_the_whole_batch(processes, kind):
    results, alone = processes
    expected = alone["steps"][kind]
    assert expected["images"] == 12
    assert max(gradient.abs().max() for gradient in expected["gradients"]) > 0.01
    if kind.startswith("detect"):
        assert len({result["steps"][kind]["labels"] for result in results}) > 1  # so the mean of means is another loss
    for result in results:
        averaged = result["steps"][kind]
        assert averaged["images"] == 12 // len(results)
        assert averaged["loss"] == pytest.approx(expected["loss"], rel=1e-12)
        for whole, mean in zip(expected["gradients"], averaged["gradients"], strict=True):
            assert torch.allclose(whole, mean, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("augmentation", ["none", "standard", "strong"])
@pytest.mark.parametrize("kind", ["memory", "files", "boxes"])
def test_distributed_batches_are_the_images_of_one_process_augmented_alike(processes, kind, augmentation):
    results, alone = processes
    expected = alone["batches"][f"{kind}, {augmentation}"]
    assert len({tuple(batch["indices"].tolist()) for batch in expected}) == len(expected)
    for number, batch in enumerate(expected):
        assert len(batch["images"]) == 12
        shards = [result["batches"][f"{kind}, {augmentation}"][number] for result in results]
        for name in ("images", "indices"):
            joined = torch.stack([shard[name] for shard in shards], 1).flatten(0, 1)
            assert torch.equal(joined, batch[name])
        rows = []
        for rank, shard in enumerate(shards):
            for position, *label in rows_of(shard["labels"]):
                rows.append((len(shards) * position + rank, *label))
        assert sorted(rows) == sorted(rows_of(batch["labels"]))


def rows_of(labels):
    """The position of the image in the batch and the label, or class and box, of every label."""
    if labels.ndim == 1:
        return list(enumerate(labels.tolist()))
    return [(int(position), *label) for position, *label in labels.tolist()]


def test_distributed_dropout_drops_what_one_process_drops(processes):
    results, alone = processes
    assert 0.3 < (alone["dropout"] == 0).float().mean() < 0.7
    joined = torch.stack([result["dropout"] for result in results], 1).flatten(0, 1)
    assert torch.equal(joined, alone["dropout"])


def test_distributed_evaluation_measures_what_one_process_measures(processes):
    results, alone = processes
    assert len({len(scores["by_class"]) for scores in alone["scores"]}) == 1
    for result in results:
        assert result["scores"] == alone["scores"]


def test_distributed_training_without_a_shared_folder_resumes_from_any_step(processes):
    """Every process has a folder of its own, and only that of rank 0 has checkpoints."""
    results, _ = processes
    weights = results[0]["resumed"][0]
    for rank, result in enumerate(results):
        assert result["files"] == ([f"{stopped}.pt" for stopped in range(4)] if rank == 0 else [])
        for resumed in result["resumed"].values():
            assert all(torch.equal(resumed[name], weights[name]) for name in weights)


@pytest.mark.parametrize("augmentation", ["none", "standard"])
def test_distributed_teacher_is_evaluated_once_for_all_trainings(processes, augmentation):
    """Each process evaluates a part of the images. That of rank 0 writes and reads the files, for all."""
    results, alone = processes
    computed, read = (f"{augmentation}, {attempt}" for attempt in ("computed", "read"))
    expected = alone["taught"][computed]
    images = 30 if augmentation == "none" else 2 * 24
    assert expected["evaluated"] == sum(result["taught"][computed]["evaluated"] for result in results) == images
    for rank, result in enumerate(results):
        assert result["taught"]["files"] == (3 if rank == 0 else 0)
        assert result["taught"][read]["evaluated"] == 0
        batches = [result["taught"][attempt]["outputs"] for attempt in (computed, read)]
        for outputs, again in zip(batches[0], batches[1], strict=True):
            assert torch.equal(again, outputs)
    for number, outputs in enumerate(expected["outputs"]):
        shards = [result["taught"][read]["outputs"][number] for result in results]
        torch.testing.assert_close(torch.stack(shards, 1).flatten(0, 1), outputs)


def joined(tensors):
    return torch.cat([tensor.flatten().double() for tensor in tensors])


@pytest.mark.parametrize("kind", ["sandwich", "netaug", "detect"])
@pytest.mark.parametrize("name", ["gradients", "statistics"])
def test_distributed_synchronised_norms_see_the_whole_batch(processes, kind, name):
    """In double precision to 1e-12; in fp32 with a rounding error about as large as that of a single process."""
    results, alone = processes
    in_double, in_fp32 = (f"{kind}, synchronised, {dtype}" for dtype in (torch.float64, torch.float32))
    exact = joined(alone["steps"][in_double][name])
    rounding = (joined(alone["steps"][in_fp32][name]) - exact).norm()
    for result in results:
        error = (joined(result["steps"][in_double][name]) - exact).norm()
        in_rounding = (joined(result["steps"][in_fp32][name]) - exact).norm()
        assert error <= 1e-12 * exact.norm()
        assert in_rounding <= 3 * rounding + 1e-6 * exact.norm()
        assert result["steps"][in_double]["loss"] == pytest.approx(alone["steps"][in_double]["loss"], rel=1e-12)


@pytest.fixture
def two_gpus(monkeypatch):
    """PyTorch says that there are two GPUs; which one is set."""
    numbers = []
    monkeypatch.setattr(distributed, "_chosen", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: numbers.append(device.index))
    return numbers


@pytest.mark.parametrize(("name", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_gpu_is_chosen_by_name(two_gpus, name, device):
    distributed.choose_device(name)
    assert distributed.device() == torch.device(device)
    assert two_gpus == [torch.device(device).index]


def test_the_cpu_is_chosen_beside_a_gpu(two_gpus):
    distributed.choose_device("cpu")
    assert distributed.device() == torch.device("cpu")
    assert two_gpus == []


def test_processes_of_torchrun_have_a_gpu_each_or_share_them(two_gpus, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    for rank, device in enumerate(["cuda:0", "cuda:1", "cuda:0"]):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert distributed.device() == torch.device(device)
    with pytest.raises(InputError, match="--device cuda:1: torchrun's processes have a GPU each"):
        distributed.choose_device("cuda:1")
    with pytest.raises(InputError, match="--device mps: only CPUs and GPUs of CUDA train with several processes"):
        distributed.choose_device("mps")


@pytest.mark.parametrize("name", ["cuda:2", "cuda:02", "cuda:-1", "cuda:", "gpu", "mps", "xpu", ""])
def test_a_device_that_is_missing_is_an_error_and_changes_nothing(two_gpus, monkeypatch, name):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"^--device {name}: .*; choose another, or leave it out$"):
        distributed.choose_device(name)
    assert distributed.device() == torch.device("cuda:0")


def test_distributed_shards_divide_a_batch_or_refuse_it(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    shards = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shards.append(list(range(6))[distributed.shard(6)])
    assert shards == [[0, 2, 4], [1, 3, 5]]
    message = "the batch size must be a multiple of the number of processes: 33 images, 2 processes"
    with pytest.raises(InputError, match=message):
        distributed.shard(33)


@pytest.mark.slow
def test_distributed_search_and_retrain_run_under_torchrun(tmp_path):
    words = ["-m", "tinynas.cli"]
    search = [*words, "search", "--space", "micro", "--flops", "200K", "--epochs", "1", "--trials", "40", "--json"]
    done = subprocess.run([*TORCHRUN, *search], cwd=tmp_path, check=True, capture_output=True, text=True)
    front = json.loads(done.stdout)  # one document: only the first process speaks
    assert front["evaluations"] == 40
    (study,) = (tmp_path / front["run"]).glob("*.journal")
    assert len(set(re.findall(r'"worker": ?{"id": ?"(\w+)"', study.read_text()))) == 2, "both processes search"
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


@pytest.fixture
def commands(tmp_path):
    """Starts a command in two processes with a folder each; those that are left are killed at the end."""
    processes = []

    def start(*words):
        for rank, environment in enumerate(environments(2)):
            folder = tmp_path / f"rank{rank}"
            folder.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "tinynas.cli", *words]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            processes.append(subprocess.Popen(command, cwd=folder, env=environment, **pipes))
        return processes[-2:]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


SEARCH = ["search", "--space", "micro", "--flops", "200K", "--trials", "2", "--batch-size", "24"]


@pytest.mark.slow
def test_processes_without_a_shared_folder_search_and_retrain(commands, tmp_path):
    outs = []
    for words in (
        [*SEARCH, "--epochs", "1", "--sync-bn"],
        ["retrain", "--netaug", "--teacher", "supernet", "--epochs", "1"],
    ):
        for process in commands(*words):
            out, err = process.communicate(timeout=300)
            assert (process.returncode, err) == (0, "")
            outs.append(out)
    assert "batch norm sees all 24 images of a batch, over 2 processes" in outs[0]
    assert "networks are run by PyTorch: the kernels' batch norm sees the images of one process" in outs[0]
    few = "batch norm sees 16 images, the part of a batch of 32 in each of 2 processes"
    assert few in outs[2]
    assert outs[1] == outs[3] == ""
    assert list((tmp_path / "rank1").rglob("*")) == []
    assert len(list((tmp_path / "rank0").rglob("model.safetensors"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_others_with_one_line(commands, killed):
    processes = commands(*SEARCH, "--epochs", "500")
    for line in processes[0].stdout:
        if line.startswith("supernet 1/"):
            break
    processes[killed].kill()
    _, err = processes[1 - killed].communicate(timeout=120)
    assert processes[1 - killed].returncode == 1
    assert err.startswith("tinynas: another process of the training has ended or is out of reach (")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_all_with_its_message(commands):
    for process in commands("search", "--resume"):
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert err == "tinynas: no */config.yaml in runs; `tinynas search --flops 50M` creates a run\n"
