import json
from pathlib import Path

import pytest

from helpers import Interrupting


def test_quickstart_command_leaves_a_run_for_every_other_command(tinynas, tmp_path):
    quick = ("--epochs", "1", "--trials", "5", "--seeds", "2", "--workers", "1")
    code, out, err = tinynas("quickstart", *quick, "--json", "--run", "q")
    assert code == 0, err
    document = json.loads(out)
    assert [s["name"] for s in document["series"]] == ["searched", "retrained"]
    networks = {point["name"]: point for point in document["series"][1]["points"]}
    assert set(networks) == {"searched", "mobilenet-v2-tiny-scaled"}
    assert all(point["macs"] <= 100_000 and point["seeds"] == 2 for point in networks.values())
    difference = networks["searched"]["accuracy"] - networks["mobilenet-v2-tiny-scaled"]["accuracy"]
    assert document["difference"]["mean"] == pytest.approx(difference)
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")

    # Everything else works on the run it left, with no argument.
    run = tmp_path / "q"
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "q")
    code, out, err = tinynas("retrain", "--netaug", "--epochs", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["model"].endswith("retrain/netaug/model.safetensors")
    code, out, err = tinynas("eval")
    assert code == 0
    assert "all classes" in out
    code, out, err = tinynas("export", "--to", "onnx")
    assert code == 0, err
    assert "ONNX int8" in out
    folder = Path("runs/q/retrain/netaug")
    assert {"model.onnx", "model.int8.onnx", "export.json"} < {path.name for path in folder.iterdir()}
    code, out, err = tinynas(
        "export", "--to", "onnx", "--json", "--batch", "dynamic", "--margin", "-100", "--out", "deploy"
    )
    assert [row["int8"] for row in json.loads(out)["files"]] == [False, False, True]
    assert "warning: model.int8.onnx loses" in err
    code, out, err = tinynas("export", "--to", "onnx", "--out", "deploy/model.onnx")
    assert (code, err) == (
        1,
        "tinynas: deploy/model.onnx is a file, but a folder is needed there; choose another folder\n",
    )
    code, out, err = tinynas("compare")
    assert code == 0
    assert "hypervolume" in out
    code, out, err = tinynas("search", "--run", "runs/q", "--flops", "200K", "--evaluate", "train", "--trials", "3")
    assert code == 0, err
    assert "best" in out


def test_quickstart_command_continues_in_the_run_that_it_has_shown(tinynas, fails, tmp_path, monkeypatch):
    quick = ("--epochs", "1", "--trials", "2", "--seeds", "1", "--workers", "1")
    with monkeypatch.context() as patch:
        patch.setattr("tinynas.cli.screen.Screen.advance", Interrupting(after=1).advance)
        code, out, err = tinynas("quickstart", *quick)
    assert code == 130
    assert err == f"tinynas: interrupted; continue with: tinynas quickstart {' '.join(quick)} --run FOLDER\n"
    (run,) = (tmp_path / "runs").iterdir()
    assert f"run: runs/{run.name}\n" in out
    code, out, err = tinynas("quickstart", *quick, "--run", f"runs/{run.name}")
    assert code == 0, err
    assert list((tmp_path / "runs").iterdir()) == [run]
    (run / "supernet.pt").touch()
    assert "has a supernet, but quickstart trains its networks one by one; choose another --run" in fails(
        "quickstart", "--run", run
    )
