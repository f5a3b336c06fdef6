"""The scripts for SLURM as they are, on this machine: a stand-in for srun starts the tasks, other settings make them small.

What SLURM itself does with the #SBATCH lines is not tested.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from common.postgres import PostgresServer, missing_postgres

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

RETRAININGS = """\
best
wider --netaug --seed 1
"""


@dataclass(frozen=True)
class Cluster:
    """A folder with the scripts and small settings, and how jobs run there."""

    folder: Path
    environment: dict[str, str]

    @property
    def run(self):
        return self.folder / "runs" / "small"

    def submit(self, script, **variables):
        """Start a job."""
        environment = self.environment | {name: str(value) for name, value in variables.items()}
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


@pytest.fixture(params=["journal", "proxy"])
def storage(request, tmp_path):
    """The storage of the settings, the port of the proxy, and the environment that has the password."""
    if request.param == "journal":
        yield tmp_path / "study.journal", "", {}
        return
    pytest.importorskip("grpc", reason="the extra distributed is not installed")
    if missing_postgres():
        yield f"sqlite:///{tmp_path}/study.db", free_port(), {}
        return
    with PostgresServer() as server:
        url = server.url.replace(f":{server.password}@", "@")
        yield url, free_port(), {"PGPASSWORD": server.password}


@pytest.fixture
def cluster(storage, tmp_path):
    url, port, password = storage
    folder = shutil.copytree(SCRIPTS, tmp_path / "jobs")
    (folder / "settings.sh").write_text(SETTINGS.format(storage=url, port=port, trials=TRIALS))
    (folder / "retrainings.txt").write_text(RETRAININGS)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return Cluster(folder, {**os.environ, **password, "PATH": path, "OMP_NUM_THREADS": "1"})


def trials_of(storage):
    """The trials of the storage's only study."""
    url, _, password = storage
    with pytest.MonkeyPatch.context() as patch:
        for name, value in password.items():
            patch.setenv(name, value)
        opened = open_storage(str(url))
        (study,) = opened.get_all_studies()
        trials = opened.get_all_trials(study._study_id)
        if hasattr(opened, "engine"):
            opened.engine.dispose()
    return trials


@pytest.mark.slow
def test_jobs_train_a_supernet_search_it_and_retrain_networks(cluster, storage):
    ended(cluster.submit("supernet.sh", SLURM_GPUS_ON_NODE=2))
    log = (cluster.run / "log.jsonl").read_text()
    assert log.count("\n") == 1
    assert len(trials_of(storage)) == 1

    ended(cluster.submit("workers.sh", SLURM_NTASKS=2))
    assert (cluster.run / "log.jsonl").read_text() == log
    trials = trials_of(storage)
    assert [trial.state for trial in trials] == [optuna.trial.TrialState.COMPLETE] * TRIALS
    assert len({tuple(sorted(trial.params.items())) for trial in trials}) == TRIALS
    assert json.loads((cluster.run / "front.json").read_text())["evaluations"] == TRIALS

    jobs = [cluster.submit("retrain.sh", SLURM_ARRAY_TASK_ID=task) for task in (1, 2)]
    for job in jobs:
        ended(job)
    metrics = {path.parent.name: json.loads(path.read_text()) for path in cluster.run.glob("retrain/*/metrics.json")}
    assert {name: (values["netaug"], values["seed"]) for name, values in metrics.items()} == {
        "best": (False, 0),
        "wider": (True, 1),
    }
