import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from helpers import Interrupting


def test_retrain_command_needs_no_flags_but_netaug_and_teacher(searched, watched, tinynas, monkeypatch):
    monkeypatch.chdir(searched.parent.parent)
    code, _, err = tinynas("retrain", str(searched), "--netaug", "--teacher", "supernet")
    assert code == 0, err
    metrics = json.loads((searched / "retrain" / "netaug-teacher" / "metrics.json").read_text())
    assert (metrics["epochs"], metrics["netaug"], metrics["teacher"]) == (20, True, "supernet")


def test_retrain_command_resumes_to_the_same_bits(watched, space, tinynas, tmp_path, monkeypatch):
    """Ctrl-C in the middle of an epoch; the checkpoint is that of the epoch before."""
    arch = tmp_path / "tiny.yaml"
    arch.write_text(replace(space.min(), resolution=12).to_yaml())
    words = ["retrain", arch, "--netaug", "--epochs", "3", "--batch-size", "16"]
    code, _, err = tinynas(*words, "--name", "whole")
    assert code == 0, err
    with monkeypatch.context() as patch:
        patch.setattr("tinynas.cli.screen.Screen.advance", Interrupting(after=9).advance)
        code, _, err = tinynas(*words, "--name", "cut")
    assert code == 130
    assert "add --resume to continue" in err
    (whole,), (cut,) = (list(tmp_path.glob(f"runs/*/retrain/{name}")) for name in ("whole", "cut"))
    assert not (cut / "metrics.json").exists()
    code, _, err = tinynas("retrain", "--resume")
    assert code == 0, err
    expected, resumed = load_file(whole / "model.safetensors"), load_file(cut / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())

    (cut / "model.safetensors").unlink()  # a finished retraining that has lost its model is resumed too
    code, _, err = tinynas("retrain", "--resume")
    assert code == 0, err
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


TINY = (
    "resolution: 16\nstem: {out: 4}\nstages:\n"
    "- - {out: 8, kernel: 3, stride: 2, mid: 8}\n  - {out: 8, kernel: 3, mid: 16, residual: true}\n"
)


@pytest.mark.slow
def test_retrain_commands_started_together_share_no_folder(tmp_path):
    """Two new ones train in folders of their own; of two that resume the same one, one refuses."""
    command = [sys.executable, "-m", "tinynas.cli", "retrain"]
    (tmp_path / "tiny.yaml").write_text(TINY)
    start = [*command, "tiny.yaml", "--epochs", "400", "--batch-size", "512", "--name", "x"]
    processes = [subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    for number, process in enumerate(processes):
        wait_for_log(tmp_path, 1, process, runs=number + 1)
    for process in processes:
        process.kill()
        process.wait()
    runs = sorted((tmp_path / "runs").iterdir())
    assert runs[1].name == f"{runs[0].name}-2"

    before = (runs[0] / "retrain" / "x" / "log.jsonl").read_text().count("\n")
    resume = [*command, runs[0], "--name", "x", "--resume"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(resume, cwd=tmp_path, **pipes) for _ in range(2)]
    while processes[0].poll() is None and processes[1].poll() is None:
        time.sleep(0.05)
    processes.sort(key=lambda process: process.poll() is None)
    refused, trains = processes
    assert refused.returncode == 1
    message = f"retrain/x is being trained by tinynas retrain (process {trains.pid} on "
    assert message in refused.communicate()[1]
    wait_for_log(tmp_path, before + 2, trains)
    trains.kill()
    trains.communicate()


@pytest.mark.slow
def test_retrain_command_killed_with_9_resumes_to_the_same_bits(tmp_path):
    """The real thing: a process is killed twice at arbitrary moments, resumed, and compared to one that was not."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tinynas.cli", "retrain"]
    arch = tmp_path / "tiny.yaml"
    arch.write_text(TINY)
    start = [*command, str(arch), "--netaug", "--epochs", "12", "--batch-size", "512", "--name", "x"]
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    subprocess.run(start, cwd=tmp_path / "whole", env=environment, check=True)
    words = start
    for checkpoints in (1, 4):
        process = subprocess.Popen(words, cwd=tmp_path / "cut", env=environment)
        wait_for_log(tmp_path / "cut", checkpoints, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not list((tmp_path / "cut").glob("runs/*/retrain/x/metrics.json"))
        words = [*command, "--resume"]
    subprocess.run(words, cwd=tmp_path / "cut", env=environment, check=True)
    (whole,), (cut,) = ((tmp_path / name).glob("runs/*/retrain/x") for name in ("whole", "cut"))
    expected, resumed = load_file(whole / "model.safetensors"), load_file(cut / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())
    epochs = [line.split('"epoch": ')[1].split(",")[0] for line in (cut / "log.jsonl").read_text().splitlines()]
    assert epochs == [str(i) for i in range(1, 13)]


def wait_for_log(folder, lines, process, runs=1):
    """Wait until the retraining x of so many runs has logged so many epochs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        logs = [log.read_text().count("\n") for log in folder.glob("runs/*/retrain/x/log.jsonl")]
        if sum(count >= lines for count in logs) >= runs:
            return
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    raise AssertionError("no epoch in two minutes")


def test_retrain_command_reads_a_retrainings_config(searched, watched, tinynas, fails):
    first, second = searched / "retrain" / "first", searched / "retrain" / "netaug"
    training = ["--epochs", "1", "--batch-size", "48", "--dropout", "0.1"]
    code, _, err = tinynas("retrain", searched, "--name", "first", *training)
    assert code == 0, err
    code, _, err = tinynas("retrain", searched, "--config", first / "config.yaml", "--netaug")
    assert code == 0, err
    before, after = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (first, second))
    assert before.pop("netaug") is None
    assert after.pop("netaug")["num_augmented"] == 1
    assert after == before
    assert "config.yaml 'space'" in fails("retrain", searched, "--config", searched / "config.yaml")


@pytest.mark.slow
def test_front_is_retrained_by_workers_to_the_bits_of_one_process(tinynas, fails, tmp_path):
    code, _, err = tinynas(
        "search", "--space", "micro", "--flops", "300K", "--epochs", "1", "--trials", "9", "--run", "r"
    )
    assert code == 0, err
    words = ["retrain", "r", "--front", "2", "--both", "--epochs", "1", "--seeds", "2"]
    code, out, err = tinynas(*words, "--workers", "2", "--json")
    assert code == 0, err
    document = json.loads(out)
    plain, netaug = (item for item in document["series"] if item["split"] == "test")
    assert [len(plain["points"]), len(netaug["points"])] == [2, 2]
    assert {point["seeds"] for point in plain["points"] + netaug["points"]} == {2}
    assert [item["seeds"] for item in document["differences"]] == [2, 2]
    assert (tmp_path / document["picture"]).exists()
    code, _, err = tinynas(*words, "--name", "alone")
    assert code == 0, err
    models = sorted(tmp_path.glob("r/retrain/front-*/model.safetensors"))
    assert len(models) == 8
    for model in models:
        alone = model.parent.with_name(model.parent.name.replace("front-", "alone-", 1)) / model.name
        assert load_file(alone).keys() == load_file(model).keys()
        assert all(torch.equal(tensor, load_file(model)[name]) for name, tensor in load_file(alone).items())
    assert "2 here; choose another --name" in fails(*words[:-3], "2", "--workers", "2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--both"], "are for several networks; add --front N"),
        (
            ["--front", "2", "--task", "detect"],
            "--front retrains networks of a run, each by the same settings; remove --task",
        ),
        (["--front", "2", "--dry-run"], "remove --dry-run"),
        (["--front", "2", "--netaug"], "netaug is a way of training here"),
    ],
)
def test_options_that_do_not_go_with_a_front_are_refused(searched, fails, words, message):
    assert message in fails("retrain", searched, *words)
