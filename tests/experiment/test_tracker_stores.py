"""What trackers of a real search and retraining have written, read back by MLflow's client and W&B's message types."""

import json
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

SEARCH = ["search", "--run", "r", "--space", "micro", "--data", "digits", "--epochs", "1", "--trials", "3", "--pareto"]
RETRAIN = ["retrain", "r", "--epochs", "2", "--batch-size", "256", "--name", "plain"]


def log_of(folder):
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def client(monkeypatch, tmp_path):
    """MLflow's client of a SQLite store, which is also the commands'."""
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return mlflow.MlflowClient


def runs_of(client, name="tinynas"):
    store = client()
    return {run.info.run_name: run for run in store.search_runs([store.get_experiment_by_name(name).experiment_id])}


def history(client, run, name):
    return [(metric.step, metric.value) for metric in client().get_metric_history(run.info.run_id, name)]


def test_mlflow_has_settings_figures_and_files(client, tinynas, tmp_path):
    code, out, err = tinynas(*SEARCH, "--track", "mlflow")
    assert code == 0, err
    assert f"tracked in MLflow: run r in sqlite:///{tmp_path / 'mlflow.db'}" in out
    code, _, err = tinynas(*RETRAIN, "--track", "mlflow")
    assert code == 0, err
    runs = runs_of(client)
    assert set(runs) == {"r", "r/plain"}

    search = runs["r"]
    assert search.info.status == "FINISHED"
    assert search.data.params["space"] == "micro"
    assert search.data.params["trials"] == "3"
    assert float(search.data.params["recipe.lr"]) == yaml.safe_load(Path("r/config.yaml").read_text())["recipe"]["lr"]
    assert history(client, search, "loss") == [(record["step"], record["loss"]) for record in log_of("r")]
    front = json.loads(Path("r/front.json").read_text())
    best = front["front"][front["best"]]
    assert history(client, search, "search/best")[-1] == (3, best["accuracy"])
    assert search.data.metrics["best/macs"] == best["macs"]
    assert search.data.metrics["front/networks"] == len(front["front"])
    assert {file.path for file in client().list_artifacts(search.info.run_id)} == {
        "front.png",
        "front.json",
        "best.yaml",
    }

    retraining = runs["r/plain"]
    assert retraining.info.status == "FINISHED"
    assert retraining.data.tags["tinynas.run"] == search.data.tags["tinynas.run"] == "r"
    for name in ("loss", "lr", "batches_per_second", "val_accuracy"):
        expected = [(record["step"], record[name]) for record in log_of("r/retrain/plain")]
        assert history(client, retraining, name) == expected
    metrics = json.loads(Path("r/retrain/plain/metrics.json").read_text())
    assert retraining.data.metrics["final/accuracy"] == metrics["accuracy"]
    folder = client().download_artifacts(retraining.info.run_id, "model.safetensors", str(tmp_path))
    assert Path(folder).read_bytes() == Path("r/retrain/plain/model.safetensors").read_bytes()


def test_mlflow_run_is_continued_by_a_resumed_search(client, tinynas, monkeypatch):
    from tinynas.pipelines import network_search

    def killed(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network_search, "search_space", killed)
        assert tinynas(*SEARCH, "--track", "mlflow")[0] == 130
    run = runs_of(client)["r"]
    assert run.info.status == "KILLED"
    code, _, err = tinynas("search", "--run", "r", "--resume", "--track", "mlflow")
    assert code == 0, err
    code, _, err = tinynas("search", "--run", "r", "--resume", "--trials", "5", "--track", "mlflow")
    assert code == 0, err
    (again,) = runs_of(client).values()
    assert again.info.run_id == run.info.run_id
    assert again.info.status == "FINISHED"
    assert [step for step, _ in history(client, again, "loss")] == [record["step"] for record in log_of("r")]
    assert [step for step, _ in history(client, again, "search/best")] == [1, 2, 3, 4, 5]

    code, _, err = tinynas("search", "--run", "r", "--flops", "2M", "--trials", "2", "--track", "mlflow")
    assert code == 0, err
    assert set(runs_of(client)) == {"r", "r, macs <= 2M"}


def test_mlflow_run_that_was_deleted_is_started_anew(client, tinynas, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert tinynas(*SEARCH, "--track", "mlflow")[0] == 0
    (first,) = runs_of(client, "mine").values()
    client().delete_run(first.info.run_id)
    assert tinynas(*SEARCH, "--resume", "--track", "mlflow")[0] == 0
    (second,) = runs_of(client, "mine").values()
    assert second.info.run_id != first.info.run_id


def test_mlflow_address_has_no_password():
    from tinynas.experiment.mlflow_tracker import MLflowTracker

    run = SimpleNamespace(info=SimpleNamespace(run_name="r"))
    uri = "postgresql://me:se@cret@host/db"
    tracker = MLflowTracker()
    tracker._run_id, tracker._client = "", SimpleNamespace(tracking_uri=uri, get_run=lambda run_id: run)
    assert tracker.address() == "run r in postgresql://host/db"


def test_mlflow_server_that_is_away_is_refused(client, fails, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    error = fails(*SEARCH, "--track", "mlflow")
    assert "--track mlflow cannot start: " in error
    assert error.endswith("; check MLFLOW_TRACKING_URI\n")
    assert not (tmp_path / "r").exists()


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Lets W&B write below the test's folder."""
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    wandb.teardown()  # it has read the environment before
    yield
    wandb.teardown()


def messages(path):
    """The messages in a .wandb file, W&B's own type of them.

    W&B has no reader for Python any more. The file is 7 bytes, then a log as LevelDB has them: blocks of 32 KB with
    parts of messages, each after its checksum (4 bytes), its length (2) and its kind (1: whole, 2: first, 4: last).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    place, message = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        message += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(message)
            yield record
            message = b""


def values(items):
    """What is written in the items of a message, by its name."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_offline_run(path):
    """Settings, history, summary, files and exit codes of a run."""
    content = {"config": {}, "history": [], "summary": {}, "files": set(), "exits": []}
    for record in messages(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            content["run"] = record.run
            content["config"] |= values(record.run.config.update)
        elif kind == "history":
            content["history"].append(values(record.history.item))
        elif kind == "summary":
            content["summary"] |= values(record.summary.update)
        elif kind == "files":
            content["files"] |= {file.path for file in record.files.files}
        elif kind == "exit":
            content["exits"].append(record.exit.exit_code)
    return content


def test_wandb_has_settings_figures_and_files(offline, tinynas, tmp_path):
    code, out, err = tinynas(*SEARCH, "--track", "wandb")
    assert code == 0, err
    assert "tracked in W&B: offline; upload it with: wandb sync " in out
    assert "wandb: " not in out + err
    code, _, err = tinynas(*RETRAIN, "--track", "wandb")
    assert code == 0, err
    (ids,) = json.loads(Path("r/trackers.json").read_text())["wandb"].values()
    (path,) = tmp_path.glob(f"wandb/offline-run-*/run-{ids}.wandb")
    search = read_offline_run(path)
    assert search["run"].project == "tinynas"
    assert search["run"].display_name == search["run"].run_group == "r"
    assert search["config"]["space"] == "micro"
    assert search["config"]["recipe"]["epochs"] == 1
    log = log_of("r")
    trained = [(row["_step"], row["loss"]) for row in search["history"] if "loss" in row]
    assert trained == [(record["step"], record["loss"]) for record in log]
    searched = [(row["_step"], row["search/networks"]) for row in search["history"] if "search/best" in row]
    assert searched == [(log[-1]["step"] + number, number) for number in (1, 2, 3)]
    assert any("front/_type" in row for row in search["history"])
    assert search["summary"]["front/networks"] == len(json.loads(Path("r/front.json").read_text())["front"])
    assert {"front.json", "best.yaml"} <= search["files"]
    assert search["exits"] == [0]

    (ids,) = json.loads(Path("r/retrain/plain/trackers.json").read_text())["wandb"].values()
    (path,) = tmp_path.glob(f"wandb/offline-run-*/run-{ids}.wandb")
    retraining = read_offline_run(path)
    assert retraining["run"].display_name == "r/plain"
    expected = [record["val_accuracy"] for record in log_of("r/retrain/plain")]
    assert [row["val_accuracy"] for row in retraining["history"]] == expected
    metrics = json.loads(Path("r/retrain/plain/metrics.json").read_text())
    assert retraining["summary"]["final/accuracy"] == metrics["accuracy"]
    assert "model.safetensors" in retraining["files"]


def test_wandb_run_is_continued_by_a_resumed_search(offline, tinynas, tmp_path, monkeypatch):
    from tinynas.pipelines import network_search

    def fails(*arguments, **settings):
        raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(network_search, "search_space", fails)
        with pytest.raises(ValueError, match="broken"):
            tinynas(*SEARCH, "--track", "wandb")
    assert tinynas("search", "--run", "r", "--resume", "--track", "wandb")[0] == 0
    first, second = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    before, after = read_offline_run(first), read_offline_run(second)
    assert before["run"].run_id == after["run"].run_id
    assert before["exits"] == [1]
    assert after["exits"] == [0]
    (step,) = {row["_step"] - row["search/networks"] for row in after["history"] if "search/best" in row}
    assert step == log_of("r")[-1]["step"]


def test_wandb_without_a_login_is_refused(offline, fails, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    error = fails(*SEARCH, "--track", "wandb")
    assert error.startswith("tinynas: --track wandb cannot start: ")
    assert error.endswith("; log in with `wandb login`, or set WANDB_MODE=offline\n")
    assert not (tmp_path / "r").exists()
