import json

import yaml

from helpers import SMALL


def test_search_command_resumes_with_its_limits(tinynas, tmp_path, monkeypatch):
    from tinynas.pipelines import search as searching

    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    words = ["search", "--flops", "60K", "--space", space, "--epochs", "2", "--trials", "6", "--batch-size", "128"]

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(searching, "search_space", killed)
        code, _, err = tinynas(*words)
        assert code == 130
        assert "--resume goes on" in err
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

    code, out, err = tinynas(*words, "--latency", "1s", "--storage", database, "--sampler", "predictor")
    assert code == 0, err
    document = json.loads(out)
    assert all(0 < entry["latency"] <= 1 for entry in document["front"])
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
    assert "the supernet of r is not trained to its end; add --resume" in fails("search", "--run", "r")


def test_search_command_names_damage_in_a_config(fails, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text("space: micro\ndata: digits\nrecipe: {epoch: 3}\n")
    assert "did you mean 'epochs'" in fails("search", "--run", "r")
    (tmp_path / "r" / "config.yaml").write_text("- 3\n")
    assert "must be a mapping" in fails("search", "--run", "r")
