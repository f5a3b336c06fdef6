import subprocess
import sys

import pytest

from helpers import Quiet, overrides
from tinynas import Budget
from tinynas.experiment.exit_plan import ExitPlan
from tinynas.experiment.run_folder import RunFolder
from tinynas.pipelines import folder_locks
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.folder_locks import supernet_lock
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import train_supernet
from tinynas.pipelines.search_planning import plan_search
from tinynas.utils.errors import FileError

HOLDER = """
import sys
from pathlib import Path
from tinynas.utils.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "tinynas test", print):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold():
    """Starts a process that holds a lock until it is killed."""
    holders = []

    def start(path):
        command = [sys.executable, "-c", HOLDER, path]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout.readline() == "locked\n"
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


class KillingReport(Quiet):
    """Kills a process as soon as it is reported that this one waits for it."""

    def __init__(self, holder):
        super().__init__()
        self.holder = holder

    def note(self, text):
        super().note(text)
        if text.startswith("waiting for"):
            self.holder.kill()


def test_retrain_refuses_a_folder_in_which_another_process_trains(searched, watched, hold):
    plan = plan_retraining(str(searched), name="x", overrides=overrides(epochs=1, batch_size=48))
    holder = hold(plan.folder / ".training")
    message = (
        rf"x is being trained by tinynas test \(process {holder.pid} on .*\); wait until that has ended, or choose"
    )
    with pytest.raises(FileError, match=message):
        retrain(plan, report=Quiet())
    assert sorted(path.name for path in plan.folder.iterdir()) == [".training", ".training.json"]
    holder.kill()
    holder.wait()
    assert retrain(plan, report=Quiet()).epochs == 1
    assert not list(plan.folder.glob(".training*"))


def test_supernet_lock_waits_until_the_holder_is_dead(searched, watched, plan, hold):
    holder = hold(searched / ".training")
    report = KillingReport(holder)
    train_supernet(plan, report=report)
    waits = [note for note in report.notes if note.startswith("waiting")]
    assert len(waits) == 1
    assert f"tinynas test (process {holder.pid} on " in waits[0]
    assert waits[0].endswith(f", which trains the supernet of {searched}")


def test_supernet_lock_does_not_wait_under_torchrun(tmp_path, hold, monkeypatch):
    monkeypatch.setattr(folder_locks, "world_size", lambda: 2)
    hold(tmp_path / ".training")
    message = "is being trained by tinynas test .*; wait until that has ended"
    with pytest.raises(FileError, match=message), supernet_lock(RunFolder(tmp_path), Quiet()):
        pytest.fail("two processes have the lock")


def test_second_search_of_a_run_learns_who_trains_its_supernet(tmp_path, hold):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("space: micro\ndata: digits\nrecipe: {epochs: 3}\n")
    holder = hold(run / ".training")
    message = rf"run is being trained by tinynas test \(process {holder.pid} on .*\); add --resume to wait for it"
    with pytest.raises(FileError, match=message):
        plan_search(budget=Budget(macs=300_000), run=run)


def test_early_exits_wait_for_another_process_that_writes_them(early_exits, hold):
    holder = hold(early_exits.exits / ".writing")
    report = KillingReport(holder)
    plan = ExitPlan(model=early_exits.folder / "model.safetensors", out=early_exits.exits, taps=("stages.0",))
    assert make_exits(plan, report=report).folder == early_exits.exits
    assert f"which writes {early_exits.exits}" in "\n".join(report.notes)
    again = make_exits(ExitPlan(model=plan.model, taps=("stages.0",)), report=Quiet())
    assert again.folder.name == "sidenet-2"
    names = {path.name for path in again.folder.iterdir()}
    assert names == {"sidenet.safetensors", "sidenet.json", "sidenet.png", "README.md"}


def test_plans_of_two_processes_reserve_different_folders(searched, watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [plan_retraining(str(searched)).folder.name for _ in range(2)]
    assert names == ["plain", "plain-2"]
    runs = [plan_retraining("mcunet-in3", overrides=overrides(data="other")).run.name[11:] for _ in range(2)]
    assert runs == ["mcunet-in3", "mcunet-in3-2"]


def test_plans_that_fail_reserve_no_folder(searched, watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for network in ("mcunet-in3", str(searched)):
        plan = plan_retraining(network, overrides=overrides(data="other", precision="fp16"))
        assert plan.folder.exists()
        with pytest.raises(Exception, match="fp16 needs a GPU"):
            retrain(plan, report=Quiet())
        assert plan.run.exists() == (network != "mcunet-in3")
        assert not plan.folder.exists()
