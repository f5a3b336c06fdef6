"""Models are pushed to a stand-in for the Hub by the Hub's own library, and loaded from there."""

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from hub_server import TOKEN, Repository, running_hub
from safetensors import safe_open

import tinynas as package
from helpers import same_model
from tinynas.early_exit.model_file import read_early_exits
from tinynas.models.hub import downloads
from tinynas.models.model_file import read_model, save_model
from tinynas.pipelines.push import uploaded_files

constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub is not installed")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A running stand-in, which huggingface_hub takes for the Hub, and a cache of the test's own."""
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield server


def files_of(hub, name):
    repository = hub.repositories[name]
    return repository.commits[repository.head]


def test_push_uploads_a_model_which_load_and_commands_take(tinynas, hub, model_file):
    code, out, err = tinynas("push", "net", model_file.parent)
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == [f"uploaded to {hub.address}/tester/net", "next: tinynas eval hf:tester/net"]
    loaded = package.load("hf:tester/net")
    images = torch.rand(2, *loaded.arch.input_shape)
    assert torch.equal(loaded(images), package.load(model_file)(images))
    assert package.open_model("hf:tester/net").classes == ("a", "b", "c")
    code, out, err = tinynas("eval", "hf:tester/net", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == json.loads(tinynas("eval", model_file, "--json")[1])["accuracy"]


def test_push_leaves_out_folders_checkpoints_and_logs(hub, tinynas, exported_exits):
    folder = exported_exits.folder
    model = read_model(folder / "model.safetensors")
    save_model(folder / "model.safetensors", replace(model, data="imagefolder:/home/me/secret/photos"))
    results = {
        "accuracy": 90.0,
        "data": "imagefolder:/home/me/secret/photos",
        "teacher": "/home/me/secret/t.safetensors",
    }
    (folder / "metrics.json").write_text(json.dumps(results))
    for name in ("checkpoint.pt", "best.safetensors", "log.jsonl", "config.yaml", "data.json", "detections.png"):
        (folder / name).write_bytes(b"/home/me/secret")
    code, out, err = tinynas("push", "tester/net", folder, "--json")
    assert code == 0, err
    files = files_of(hub, "tester/net")
    assert files.keys() - {".gitattributes"} == json.loads(out)["files"].keys() == {"model.safetensors", "metrics.json"}
    assert not any(b"secret" in content for content in files.values())
    assert json.loads(files["metrics.json"]) == {**results, "data": "imagefolder:photos", "teacher": "t.safetensors"}
    assert package.open_model("hf:tester/net").module.arch == model.net.arch


def test_push_uploads_early_exits_with_results_and_exported_files(hub, tinynas, exported_exits):
    assert tinynas("push", "tester/exits", exported_exits.exits)[0] == 0
    files = files_of(hub, "tester/exits")
    exported = [path.name for path in exported_exits.exits.glob("*.onnx")]
    assert exported
    assert files.keys() == {
        ".gitattributes",
        "sidenet.safetensors",
        "sidenet.json",
        "README.md",
        "export.json",
        *exported,
    }
    assert str(exported_exits.folder).encode() not in b"".join(files.values())
    images = torch.rand(2, *read_model(exported_exits.folder / "model.safetensors").net.arch.input_shape)
    logits, exits = package.load("hf:tester/exits")(images)
    expected = read_early_exits(exported_exits.exits / "sidenet.safetensors").exits(images)
    assert torch.equal(logits, expected.logits)
    assert torch.equal(exits, expected.exits)


def test_pushed_model_is_the_same_file_where_it_names_no_folder(model_file):
    assert uploaded_files(model_file)["model.safetensors"] == model_file.read_bytes()


def test_a_commit_is_loaded_by_its_name(hub, tinynas, model_file):
    assert tinynas("push", "net", model_file)[0] == 0
    first, model = hub.repositories["tester/net"].head, read_model(model_file)
    save_model(model_file, replace(model, data="other"))
    assert tinynas("push", "net", model_file)[0] == 0
    assert package.load(f"hf:tester/net@{first}").arch == model.net.arch
    for revision, data in (("@" + first, "small"), ("", "other")):
        path = package.open_model(f"hf:tester/net{revision}").path
        with safe_open(path, "pt") as file:
            assert file.metadata()["data"] == data
    assert len(hub.repositories["tester/net"].commits) == 3


def test_downloaded_models_are_used_without_a_network(hub, tinynas, model_file, monkeypatch):
    assert tinynas("push", "net", model_file)[0] == 0
    path = package.open_model("hf:tester/net").path
    assert same_model(read_model(path), read_model(model_file))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert package.open_model("hf:tester/net").path == path


def test_private_repositories_need_a_token(hub, tinynas, fails, model_file, monkeypatch):
    assert tinynas("push", "net", model_file, "--private")[0] == 0
    assert hub.repositories["tester/net"].private
    package.load("hf:tester/net")
    monkeypatch.delenv("HF_TOKEN")
    assert "uploading needs a token of the Hub; log in" in fails("push", "net", model_file)
    shutil.rmtree(downloads())  # which are used where the Hub gives nothing
    assert "there is no hf:tester/net on the Hub that you may read" in fails("eval", "hf:tester/net")


def test_private_is_refused_for_a_public_repository(hub, tinynas, fails, model_file):
    assert tinynas("push", "net", model_file)[0] == 0
    commits = len(hub.repositories["tester/net"].commits)
    assert "tester/net is public already; leave out --private" in fails("push", "net", model_file, "--private")
    assert len(hub.repositories["tester/net"].commits) == commits


def test_errors_of_the_hub_are_one_line(hub, tinynas, fails, model_file, monkeypatch):
    assert tinynas("push", "net", model_file)[0] == 0
    assert "hf:tester/net@old has no such revision" in fails("eval", "hf:tester/net@old")
    assert "there is no hf:tester/none on the Hub" in fails("retrain", "--from", "hf:tester/none")
    assert "hf:a/b/c is no repository of the Hub" in fails("predict", "hf:a/b/c", "image.png")
    assert "the Hub refuses someone/net: 403" in fails("push", "someone/net", model_file)
    assert "name the folder to write to with --out" in fails("export", "hf:tester/net", "--to", "onnx")
    hub.repositories["tester/text"] = Repository(private=False)
    hub.repositories["tester/text"].commit({"README.md": b"no model"})
    assert "hf:tester/text has no model of tinynas" in fails("eval", "hf:tester/text")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot reach the Hub for hf:tester/none" in fails("eval", "hf:tester/none")


def test_without_the_library_the_extra_is_named(fails, model_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'tinynas[hub]'" in fails("push", "net", model_file)
    assert "pip install 'tinynas[hub]'" in fails("eval", "hf:tester/net")


def test_a_retraining_starts_from_and_learns_from_models_on_the_hub(hub, tinynas, model_file):
    assert tinynas("push", "net", model_file)[0] == 0
    words = ["--from", "hf:tester/net", "--teacher", "hf:tester/net", "--epochs", "1", "--name", "further"]
    code, _, err = tinynas("retrain", *words, "--json")
    assert code == 0, err
    (config,) = model_file.parent.parent.glob("runs/*/retrain/further/config.yaml")
    assert config.read_text().count("hf:tester/net") == 2
