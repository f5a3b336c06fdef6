import os

import pytest

from tinynas.experiment.early_exit_folder import EarlyExitFolder
from tinynas.experiment.run_folder import FRONT, RunFolder
from tinynas.experiment.runs import RUNS, find_model, newest_run, unfinished_retrainings
from tinynas.utils.errors import FileError


def touch(path, age: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1000 - age, 1000 - age))


def test_newest_run_is_that_of_the_file_written_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"no \*/front.json in runs"):
        newest_run(FRONT)
    for age, name in enumerate(("c", "a", "b")):
        path = tmp_path / "runs" / name / "front.json"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert newest_run(FRONT).path.name == "c"


def test_unfinished_retrainings_end_with_the_one_begun_last(tmp_path):
    run = RunFolder(tmp_path / "run")
    for age, name in enumerate(("c", "a", "b", "finished")):
        touch(run.retraining(name).config, age)
    touch(run.retraining("finished").metrics, 0)
    assert [retraining.name for retraining in unfinished_retrainings(run, "finished")] == ["finished"], "has no model"
    touch(run.retraining("finished").model, 0)
    run.retraining("empty").path.mkdir()
    assert [retraining.name for retraining in unfinished_retrainings(run)] == ["b", "a", "c"]
    assert [retraining.name for retraining in unfinished_retrainings(run, "a")] == ["a"]
    assert unfinished_retrainings(run, "finished") == []


def test_unfinished_retrainings_are_of_every_run_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("r", "q")):
        touch(RunFolder(RUNS / name).retraining("plain").config, age)
    runs = [retraining.run.name for retraining in unfinished_retrainings()]
    assert runs == ["q", "r"]


def test_find_model_of_a_run_asks_for_a_retraining(tmp_path):
    for name in ("netaug", "plain"):
        RunFolder(tmp_path).retraining(name).path.mkdir(parents=True)
    with pytest.raises(FileError, match=r"is a run; name one of its retrainings, .*/retrain/netaug or plain$"):
        find_model(tmp_path)


def test_find_model_prefers_the_early_exits_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"no \*/retrain/\*/model\.safetensors in runs"):
        find_model(None)
    older, newer = (RunFolder(RUNS / "r").retraining(name) for name in ("older", "newer"))
    touch(older.model, 1)
    touch(newer.model, 0)
    exits = EarlyExitFolder(newer.path / "sidenet")
    touch(exits.model, 0)
    assert find_model(None) == newer.model
    assert find_model(older.path) == older.model
    assert find_model(exits.path) == exits.model
    assert find_model(older.model) == older.model
