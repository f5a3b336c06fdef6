import io
import json
import os
import subprocess
import sys

import pytest

from tinynas.experiment.retrain_folder import RetrainFolder
from tinynas.experiment.run_folder import RunFolder
from tinynas.utils.locks import exclusive_lock


def sizes(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def runs(searched, tinynas, tmp_path):
    """A folder of runs: one with a retrained network, an interrupted retraining, a damaged one, a foreign folder."""
    folder = tmp_path / "several"
    folder.mkdir()
    run = searched.rename(folder / "small")
    code, _, err = tinynas("retrain", run, "--epochs", "1", "--keep", "best", "--name", "plain")
    assert code == 0, err
    (folder / "begun/retrain/plain").mkdir(parents=True)
    (folder / "begun/retrain/plain/config.yaml").write_text("epochs: 3\n")
    (folder / "damaged").mkdir()
    (folder / "damaged/front.json").write_text('{"front": [')
    (folder / "photos").mkdir()
    return folder


def test_runs_lists_what_runs_hold(runs, tinynas):
    code, out, err = tinynas("runs", runs)
    assert (code, err) == (0, "")
    title, columns, *rows = out.splitlines()
    assert title == "Runs: 4"
    assert columns.split()[:4] == ["run", "state", "data", "limits"]
    words = [row.split() for row in rows]
    states = [["begun", "not"], ["damaged", "damaged"], ["photos", "not"], ["small", "retrained"]]
    assert [row[:2] for row in words[:4]] == states
    assert rows[4].startswith(f"damaged: {runs}/damaged/front.json is damaged")
    assert rows[5] == f"next: tinynas report {runs}/small"


def test_runs_prints_json_that_agrees_with_the_files(runs, tinynas):
    code, out, err = tinynas("runs", runs, "--json")
    assert code == 0
    assert "next:" not in err
    begun, damaged, photos, small = json.loads(out)
    front, run = RunFolder(runs / "small").read_front(), RunFolder(runs / "small")
    assert small["accuracy"] == front.best_entry.accuracy
    assert small["macs"] == front.best_entry.cost.macs
    assert small["limits"] == front.budget.describe()
    assert (small["retrained"], small["unfinished"]) == (1, 0)
    assert small["best_retrained"] == run.retraining("plain").read_metrics().accuracy
    assert small["bytes"] == sizes(runs / "small")
    assert (begun["state"], begun["unfinished"]) == ("not finished", 1)
    assert damaged["problem"]
    assert (photos["state"], photos["bytes"]) == ("not a run", 0)


def test_runs_takes_a_single_run_and_an_empty_folder(runs, tinynas, fails, tmp_path):
    assert "Runs: 1" in tinynas("runs", runs / "small")[1]
    assert "there are no runs in" in tinynas("runs", runs / "photos")[1]
    assert "there is no folder runs" in fails("runs")


@pytest.mark.parametrize("words", [["runs"], ["clean", "small", "--dry-run"]], ids=" ".join)
def test_runs_and_clean_import_no_torch(runs, words):
    code = "import sys\nfrom tinynas.cli.app import app\napp(sys.argv[1:], standalone_mode=False)\n"
    code += "assert not {'torch', 'optuna'} & set(sys.modules)"
    folder = [str(runs)] if words == ["runs"] else []
    subprocess.run([sys.executable, "-c", code, *words, *folder], check=True, cwd=runs, stdout=subprocess.DEVNULL)


def test_clean_deletes_checkpoints_and_nothing_else(runs, tinynas):
    run = runs / "small"
    retraining = RetrainFolder(run / "retrain/plain")
    (run / "teacher-outputs/key").mkdir(parents=True)
    (run / "teacher-outputs/key/images.safetensors").write_bytes(bytes(1000))
    (run / "candidates/left").mkdir(parents=True)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    deleted = {retraining.checkpoint, retraining.best_model, run / "teacher-outputs/key/images.safetensors"}
    assert deleted <= before.keys()
    code, out, _ = tinynas("clean", run, "--dry-run", "--json")
    assert code == 0
    planned = json.loads(out)
    assert (planned["deleted"], planned["bytes"]) == (False, sum(len(before[path]) for path in deleted))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    code, out, _ = tinynas("clean", run, "--yes", "--json")
    assert json.loads(out) == planned | {"deleted": True}
    left = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert left == {path: content for path, content in before.items() if path not in deleted}
    assert not (run / "candidates").exists()
    assert json.loads(tinynas("clean", run, "--yes", "--json")[1])["files"] == []


def test_clean_asks_and_refuses_where_nobody_can_be_asked(runs, tinynas, fails, monkeypatch):
    checkpoint = runs / "small/retrain/plain/checkpoint.pt"
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert "add --yes to delete" in fails("clean", runs / "small")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for answer in (False, True):
        monkeypatch.setattr("typer.confirm", lambda text, answer=answer: answer)
        code, _, err = tinynas("clean", runs / "small")
        assert (code, err) == (0, "")
        assert checkpoint.exists() != answer


def test_clean_keeps_what_is_unfinished_or_in_use(runs, tinynas, fails):
    run = runs / "small"
    shared = run / "teacher-outputs"
    shared.mkdir()
    retraining, begun = RetrainFolder(run / "retrain/plain"), RetrainFolder(run / "retrain/begun")
    with exclusive_lock(retraining.lock, "tinynas retrain", pytest.fail):
        out = tinynas("clean", run, "--yes")[1]
    assert "kept: " in out
    assert "in use by tinynas retrain (process" in out
    assert retraining.checkpoint.exists()
    begun.path.mkdir()
    begun.checkpoint.write_bytes(b"weights")
    out = tinynas("clean", run, "--yes", "--supernet")[1]
    assert f"kept: {begun.path}: not finished" in out
    assert begun.checkpoint.exists()
    assert not retraining.checkpoint.exists()
    assert RunFolder(run).supernet.exists()
    assert "photos is no run" in fails("clean", runs / "photos", "--yes")


def test_clean_keeps_the_supernet_of_a_search_that_has_not_finished(runs, tinynas):
    run = RunFolder(runs / "small")
    later = run.front.stat().st_mtime + 10
    os.utime(run.search, (later, later))  # a search has begun since
    out = tinynas("clean", run.path, "--yes", "--supernet")[1]
    assert f"kept: {run.supernet}: the search has not finished" in out
    assert run.supernet.exists()


def test_searches_say_that_clean_has_removed_the_supernet(searched, tinynas, fails):
    run = RunFolder(searched)
    front = run.front.read_bytes()
    assert f"kept: {run.supernet}: searches with other limits use it" in tinynas("clean", searched, "--yes")[1]
    assert tinynas("clean", searched, "--yes", "--supernet")[0] == 0
    assert not run.supernet.exists()
    removed = f"the supernet of {searched} was removed, as `tinynas clean --supernet` does"
    assert f"{removed}; add --resume to train it again" in fails("search", "--run", searched, "--flops", "50K")
    assert removed in fails("retrain", searched, "--init", "supernet")
    code, out, err = tinynas("search", "--run", searched, "--resume")
    assert code == 0, err
    assert f"{removed}; it is trained again" in out
    assert run.front.read_bytes() == front
    assert len(run.log.read_text().splitlines()) == 2  # epochs, each once
