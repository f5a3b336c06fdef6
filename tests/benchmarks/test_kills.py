import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from helpers import SMALL, run_search
from tinynas import Budget, load_space

TINYNAS = [sys.executable, "-m", "tinynas.cli"]
TRAINING = ["--batch-size", "128"]
KILLS = 5


@pytest.fixture
def kills(common):
    from common import kills

    return kills


@pytest.fixture
def run_with_kills(kills):
    return partial(kills.run_with_kills, kills=KILLS, seconds=0.5, rng=np.random.default_rng())


@pytest.fixture
def two_folders(tmp_path):
    """Folders for an uninterrupted command and for the same one killed, with a search space in each."""
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
        (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return folders


@pytest.mark.slow
def test_search_killed_at_random_moments_ends_with_the_same_bits(kills, run_with_kills, two_folders):
    whole, killed = two_folders
    search = [*TINYNAS, "search", "--run", "run", "--space", "small.yaml", "--flops", "60K", "--trials", "6"]
    search += [*TRAINING, "--epochs", "40"]
    subprocess.run(search, cwd=whole, env=kills.ONE_THREAD, check=True)
    resume = [*TINYNAS, "search", "--run", "run", "--resume"]
    progress = kills.written("run/supernet.pt")
    count = run_with_kills(search, resume, killed, progress, "run/best.yaml")
    assert count >= 3
    assert kills.damaged_files(killed) == []
    assert kills.same_weights(whole / "run" / "supernet.pt", killed / "run" / "supernet.pt")
    fronts = [json.loads((folder / "run" / "front.json").read_text())["front"] for folder in two_folders]
    assert fronts[0] == fronts[1]
    logged = [json.loads(line)["epoch"] for line in (killed / "run" / "log.jsonl").read_text().splitlines()]
    assert logged == list(range(1, 41))


@pytest.mark.slow
def test_retraining_killed_at_random_moments_ends_with_the_same_bits(kills, run_with_kills, two_folders):
    whole, killed = two_folders
    for folder in two_folders:
        network = {
            "resolution": 16,
            "stem": {"out": 8},
            "stages": [[{"out": 8, "kernel": 3, "stride": 2, "mid": 16}, {"out": 8, "kernel": 3, "mid": 16}]],
        }
        (folder / "tiny.yaml").write_text(yaml.safe_dump(network))
    retrain = [*TINYNAS, "retrain", "tiny.yaml", "--netaug", "--dropout", "0.1", *TRAINING, "--epochs", "40"]
    subprocess.run(retrain, cwd=whole, env=kills.ONE_THREAD, check=True)
    resume = [*TINYNAS, "retrain", "--resume"]
    progress = kills.written("runs/*/retrain/netaug/checkpoint.pt")
    count = run_with_kills(retrain, resume, killed, progress, "runs/*/retrain/netaug/metrics.json")
    assert count >= 3
    assert kills.damaged_files(killed) == []
    models = []
    for folder in two_folders:
        models.append(sorted(folder.glob("runs/*/retrain/netaug/model.safetensors"))[-1])
    assert kills.same_weights(*models)


def test_damaged_files_are_those_that_end_too_early(kills, tmp_path):
    whole = {
        "a.json": '{"a": 1}',
        "b.yaml": "a: 1\n",
        "c.jsonl": '{"a": 1}\n{"a": 2}\n',
        "d.txt": "",
        ".hidden.json": "{",
    }
    for name, content in whole.items():
        (tmp_path / name).write_text(content)
    save_file({"weight": torch.ones(3)}, tmp_path / "e.safetensors")
    (tmp_path / "c.jsonl").write_text('{"a": 1}\n{"a"')
    assert kills.damaged_files(tmp_path) == []
    for name in ("a.json", "b.yaml", "e.safetensors"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 4])
    (tmp_path / "c.jsonl").write_text('{"a"\n{"a": 2}\n')
    (tmp_path / "f.pt").write_bytes(b"PK")
    assert kills.damaged_files(tmp_path) == ["a.json", "b.yaml", "c.jsonl", "e.safetensors", "f.pt"]


def test_same_weights_compares_bits(kills, tmp_path):
    weights = {"weight": torch.tensor([1.0, 2.0])}
    save_file(weights, tmp_path / "a.safetensors")
    save_file(weights, tmp_path / "b.safetensors")
    assert kills.same_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    for changed in ({"weight": torch.tensor([1.0, 2.0000002])}, {"weight": weights["weight"], "bias": torch.ones(1)}):
        save_file(changed, tmp_path / "b.safetensors")
        assert not kills.same_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")


def test_evaluations_are_counted_and_trials_that_were_begun_are_not(kills, tmp_path):
    assert not kills.evaluations(tmp_path)
    (tmp_path / "run").mkdir()
    search = partial(
        run_search, load_space("micro-v1"), Budget(macs=1_000_000), journal=tmp_path / "run" / "study.journal"
    )
    search(evaluate=lambda arch: 1.0, trials=3)
    assert kills.evaluations(tmp_path) == 3

    def interrupt(arch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(evaluate=interrupt, trials=4)
    assert kills.evaluations(tmp_path) == 3
