"""The scripts for SLURM as they are, on this machine: with a stand-in for srun, and settings that make them small.

What SLURM itself does with the #SBATCH lines is not tested.
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from common.postgres import PostgresServer, missing_postgres
from optuna.trial import TrialState

from helpers import ROOT
from pages import COMMANDS
from tinynas.study.storage import open_storage

SCRIPTS = ROOT / "examples" / "slurm"
TIMEOUT = 300  # seconds
TRIALS = 12

SRUN = """#!/bin/bash
# Starts a command as often as the job has tasks; fails if one of them fails.
while [[ $1 == --* ]]; do shift; done
for ((task = 0; task < SLURM_NTASKS; task++)); do
  RANK=$task SLURM_PROCID=$task "$@" &
  tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || code=$?; done
exit ${code:-0}
"""

SETTINGS = """
RUN=$PWD/runs/small
SUPERNET=(--space micro --epochs 1 --batch-size 64)
SEARCH=(--flops 200K --pareto --sampler random)
TRIALS={trials}
STORAGE={storage}
PROXY_PORT={port}
RETRAINING=(--epochs 1 --batch-size 64)
"""


@dataclass(frozen=True)
class Cluster:
    """A folder with the scripts, and the folder of the stand-in for srun."""

    folder: Path
    programs: Path

    @property
    def run(self):
        return self.folder / "runs" / "small"

    def submit(self, script, **variables):
        """Start a job."""
        path = [str(self.programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = os.environ | {"PATH": os.pathsep.join(path)}
        for name, value in variables.items():
            environment[name] = str(value)
        return subprocess.Popen(
            ["bash", script],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def ended(job):
    """Wait for a job, which must succeed; return what it wrote to stdout and stderr."""
    out, err = job.communicate(timeout=TIMEOUT)
    assert job.returncode == 0, err
    assert "Traceback" not in err
    return out, err


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture
def cluster(tmp_path):
    folder = shutil.copytree(SCRIPTS, tmp_path / "jobs")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    return Cluster(folder, programs)


@pytest.fixture
def storage(cluster, tmp_path, monkeypatch):
    """The storage of small settings: a database behind a proxy, or a journal where gRPC is not installed."""

    def use(url, port):
        (cluster.folder / "settings.sh").write_text(SETTINGS.format(storage=url, port=port, trials=TRIALS))
        (cluster.folder / "retrainings.txt").write_text("best\nwider --netaug --seed 1\n")
        return url

    if importlib.util.find_spec("grpc") is None:
        yield use(f"{tmp_path}/study.journal", "")
    elif missing_postgres():
        yield use(f"sqlite:///{tmp_path}/study.db", free_port())
    else:
        with PostgresServer() as server:
            monkeypatch.setenv("PGPASSWORD", server.password)
            yield use(server.url.replace(f":{server.password}@", "@"), free_port())


def trials_of(url):
    """The trials of the storage's only study."""
    storage = open_storage(url)
    (study,) = storage.get_all_studies()
    trials = storage.get_all_trials(study._study_id)
    if "://" in url:
        storage.engine.dispose()
    return trials


def complete_trials(url):
    """The complete trials. Others are only those that another worker had begun in the same moment."""
    complete = []
    for trial in trials_of(url):
        assert trial.state in (TrialState.COMPLETE, TrialState.FAIL)
        assert "failure" not in trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            complete.append(trial)
    return complete


def metrics_of(run):
    """What the retrainings of a run measured, by their names."""
    return {path.parent.name: json.loads(path.read_text()) for path in run.glob("retrain/*/metrics.json")}


@pytest.mark.slow
def test_jobs_train_a_supernet_search_it_and_retrain_networks(cluster, storage):
    ended(cluster.submit("supernet.sh", SLURM_GPUS_ON_NODE=2))
    log = (cluster.run / "log.jsonl").read_text()
    assert log.count("\n") == 1
    assert len(complete_trials(storage)) == 1

    ended(cluster.submit("workers.sh", SLURM_NTASKS=2))
    assert (cluster.run / "log.jsonl").read_text() == log
    complete = complete_trials(storage)
    assert len({tuple(sorted(trial.params.items())) for trial in complete}) == len(complete) == TRIALS
    assert json.loads((cluster.run / "front.json").read_text())["evaluations"] == TRIALS

    jobs = [cluster.submit("retrain.sh", SLURM_ARRAY_TASK_ID=task) for task in (1, 2)]
    for job in jobs:
        ended(job)
    metrics = metrics_of(cluster.run)
    assert {name: (values["netaug"], values["seed"]) for name, values in metrics.items()} == {
        "best": (False, 0),
        "wider": (True, 1),
    }

    # Submitted again, jobs resume: nothing is trained again.
    (cluster.run / "retrain" / "best" / "metrics.json").unlink()
    jobs = [cluster.submit("supernet.sh"), cluster.submit("retrain.sh", SLURM_ARRAY_TASK_ID=1)]
    for job in jobs:
        ended(job)
    assert (cluster.run / "log.jsonl").read_text() == log
    assert (cluster.run / "retrain" / "best" / "log.jsonl").read_text().count("\n") == 1
    assert metrics_of(cluster.run) == metrics


def test_array_task_without_a_line_is_an_error(cluster):
    job = cluster.submit("retrain.sh", SLURM_ARRAY_TASK_ID=6)
    assert job.communicate(timeout=TIMEOUT) == ("", "retrainings.txt has no line 6; change --array\n")
    assert job.returncode == 1


def setting(name):
    """The words of a setting in the settings that the example comes with."""
    command = f'source ./settings.sh; printf "%s\n" "${{{name}[@]}}"'
    listed = subprocess.run(["bash", "-c", command], cwd=SCRIPTS, check=True, capture_output=True, text=True)
    return listed.stdout.splitlines()


def test_settings_are_options_of_the_commands():
    search = ["--run", *setting("RUN"), *setting("SUPERNET"), *setting("SEARCH"), "--storage", *setting("STORAGE")]
    COMMANDS["search"].make_context("search", [*search, "--trials", *setting("TRIALS")])  # raises a usage error
    lines = (SCRIPTS / "retrainings.txt").read_text().splitlines()
    assert f"#SBATCH --array=1-{len(lines)}\n" in (SCRIPTS / "retrain.sh").read_text()
    for line in lines:
        name, *options = line.split()
        COMMANDS["retrain"].make_context("retrain", ["--name", name, *setting("RETRAINING"), *options])
