import json

import pytest
import yaml

from helpers import SMALL


def test_search_command_resumes_with_its_limits(tinynas, tmp_path, monkeypatch):
    from tinynas.pipelines import network_search as searching

    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    words = ["search", "--flops", "60K", "--space", space, "--epochs", "2", "--trials", "6", "--batch-size", "128"]

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(searching, "search_space", killed)
        code, _, err = tinynas(*words)
        assert code == 130
        assert "add --resume to continue" in err
    code, out, err = tinynas("search", "--resume", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["limits"] == {"macs": 60_000}
    assert document["evaluations"] == 6


def test_search_command_searches_one_supernet_in_every_way(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    run, database = tmp_path / "run", f"sqlite:///{tmp_path / 'study'}"
    code, out, err = tinynas("search", "--run", run, "--space", space, "--epochs", "1", "--trials", "3")
    assert code == 0, err

    words = ["search", "--run", run, "--trials", "8", "--json"]
    code, out, err = tinynas(*words, "--pareto", "--flops", "30K:60K", "--workers", "2")
    assert code == 0, err
    document = json.loads(out)
    assert document["limits"] == {"macs": 60_000, "min_macs": 30_000}
    assert all(30_000 <= entry["macs"] <= 60_000 for entry in document["front"])
    assert document["evaluations"] == 8

    words += ["--target", "onnxruntime"]
    code, out, err = tinynas(*words, "--latency", "1s", "--storage", database, "--sampler", "predictor")
    assert code == 0, err
    document = json.loads(out)
    assert all(0 < entry["latency"] <= 1 for entry in document["front"])
    assert document["target"] == "onnxruntime"
    assert "# " in (run / "best.yaml").read_text()
    assert "latency" in (run / "best.yaml").read_text()
    assert yaml.safe_load((run / "search.yaml").read_text())["storage"] == database

    code, out, err = tinynas("search", "--run", run, "--resume", "--trials", "12")
    assert code == 0, err
    assert "latency <= 1s; 12 networks evaluated" in out
    assert "Kendall's tau" in out


def test_search_command_refuses_an_unfinished_supernet(fails, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text("space: micro\ndata: digits\nrecipe: {epochs: 3}\n")
    assert "the supernet of r has not finished training; add --resume" in fails("search", "--run", "r")


def test_search_command_names_damage_in_a_config(fails, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text("space: micro\ndata: digits\nrecipe: {epoch: 3}\n")
    assert "did you mean 'epochs'" in fails("search", "--run", "r")
    (tmp_path / "r" / "config.yaml").write_text("- 3\n")
    assert "must be a mapping" in fails("search", "--run", "r")


def test_search_command_accepts_flags_of_earlier_versions(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    words = ["--epochs", "2", "--trials", "1", "--batch-size", "128"]
    flags = ["--randoms", "1", "--no-spread", "--largest-epochs", "1", "--shrinking", "--clip", "0.5"]
    code, _, err = tinynas("search", "--run", "r", "--space", space, *words, *flags, "--weight-decay", "0")
    assert code == 0, err
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert (config["num_random_subnets"], config["size_balanced_sampling"]) == (1, False)
    assert (config["largest_warmup_epochs"], config["progressive_shrinking"]) == (1, True)
    assert (config["recipe"]["max_grad_norm"], config["recipe"]["weight_decay"]) == (0.5, 0.0)


def test_search_command_reads_a_runs_config(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    words, training = ["search", "--trials", "1"], ["--epochs", "1", "--batch-size", "128", "--clip", "2"]
    code, _, err = tinynas(*words, "--run", "a", "--space", space, *training)
    assert code == 0, err
    code, _, err = tinynas(*words, "--config", "a/config.yaml", "--run", "b", "--lr", "0.05")
    assert code == 0, err
    a, b = (yaml.safe_load((tmp_path / run / "config.yaml").read_text()) for run in "ab")
    assert b == {**a, "recipe": {**a["recipe"], "lr": 0.05}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochz: 3", "unknown key in file.yaml 'epochz'; did you mean 'epochs'?"),
        ("recipe: {epochz: 3}", "unknown key in file.yaml 'epochz'; did you mean 'epochs'?"),
        ("recipe: {trials: 3}", "trials in file.yaml is not a setting of recipe; move it to the top level"),
        ("epochs: many", "epochs in file.yaml must be a whole number, but is 'many'"),
        ("recipe: {epochs: 1.5}", "epochs in file.yaml must be a whole number, but is 1.5"),
        ("recipe: 3", "recipe in file.yaml must be a mapping of keys to values, but is 3"),
        ("distillation: {teacher: supernet}", "distillation in file.yaml must be a number"),
        ("progressive_shrinking: 1", "progressive_shrinking in file.yaml must be true or false, but is 1"),
        ("epochs: 3\nrecipe: {epochs: 4}", "recipe.epochs is set twice in file.yaml"),
        ("epochs: 3\nepochs: {", "file.yaml, line 2 is not valid YAML"),
        ("[1]", "file.yaml must be a mapping"),
        ("epochs: 0", "epochs must be at least 1, but is 0"),
    ],
)
def test_search_command_names_what_is_wrong_in_a_config_file(fails, tmp_path, text, message):
    (tmp_path / "file.yaml").write_text(text)
    assert message in fails("search", "--config", "file.yaml")


def test_search_command_names_a_missing_config_file(fails):
    assert "cannot read nothing.yaml" in fails("search", "--config", "nothing.yaml")


def test_search_command_resumes_a_run_of_an_earlier_version(tinynas, tmp_path):
    """Its config.yaml has the older names; resuming reads them and writes the current ones."""
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    words = ["--epochs", "1", "--trials", "2", "--batch-size", "128"]
    code, _, err = tinynas("search", "--run", "r", "--space", space, *words)
    assert code == 0, err
    path = tmp_path / "r" / "config.yaml"
    current = yaml.safe_load(path.read_text())
    names = {
        "num_random_subnets": "randoms",
        "size_balanced_sampling": "spread",
        "largest_warmup_epochs": "largest_epochs",
        "progressive_shrinking": "shrinking",
    }
    recipe = {"max_grad_norm": "clip", "label_smoothing": "smoothing", "warmup_epochs": "warmup"}
    older = {names.get(key, key): value for key, value in current.items()}
    older["recipe"] = {recipe.get(key, key): value for key, value in current["recipe"].items()}
    assert len(older.keys() - current.keys()) == 4
    path.write_text(yaml.safe_dump(older))
    code, _, err = tinynas("search", "--run", "r", "--resume", "--trials", "3")
    assert code == 0, err
    assert yaml.safe_load(path.read_text()) == current


def test_race_is_refused_for_detectors(tinynas, tmp_path):
    code, _, error = tinynas("search", "--task", "detect", "--data", "scattered-digits", "--epochs", "1", "--race")
    assert code == 1
    assert error.splitlines()[-1] == (
        "tinynas: --race compares which images are classified correctly, but the networks detect; remove --race"
    )
    assert not list(tmp_path.rglob("supernet.pt"))


def test_storage_that_cannot_be_used_ends_a_search_before_training(fails, tmp_path):
    storage = "sqlite:///nowhere/study.db"
    line = fails("search", "--data", "digits", "--space", "micro", "--run", "run", "--storage", storage)
    assert line.startswith("tinynas: cannot use the study in ")
    assert not (tmp_path / "run").exists()
