import json

import pytest

from helpers import Quiet
from tinynas.experiment.compare import compare_runs
from tinynas.experiment.exit_plan import ExitPlan
from tinynas.pipelines.early_exit import make_exits
from tinynas.utils.errors import FileError


def test_compare_runs_shows_the_curves_of_early_exits(exported_exits, space, tmp_path):
    path, folder = exported_exits.folder / "model.safetensors", exported_exits.exits
    document = exported_exits.report.to_dict()
    make_exits(ExitPlan(model=path, tiny=path), report=Quiet())
    entry = {"arch": space.min().to_dict(), "accuracy": 40.0, "macs": 9, "params": 9, "peak_sram": 9, "flash": 9}
    front = {"space": "s", "data": "a", "limits": {}, "best": 0, "front": [entry]}
    (tmp_path / "run" / "front.json").write_text(json.dumps(front))
    searched, cascade, with_exits, int8 = compare_runs([tmp_path / "run"], tmp_path / "compare.png").to_dict()["series"]
    name = f"plain with exits at {', '.join(document['taps'])}"
    assert [searched["name"], cascade["name"]] == ["searched", "plain in a cascade"]
    assert [with_exits["name"], int8["name"]] == [name, f"{name}, int8"]
    assert with_exits["split"] == "test"
    curve = {(point["macs"], point["accuracy"]) for point in document["curve"]}
    points = [(point["macs"], point["accuracy"]) for point in with_exits["points"]]
    assert set(points) <= curve
    macs = [point["macs"] for point in with_exits["points"]]
    assert macs == sorted(macs)
    assert all(point["peak_sram"] == document["peak_sram"] for point in with_exits["points"])
    make_exits(ExitPlan(model=path, taps=("stem",), out=folder), report=Quiet())
    names = [series.name for series in compare_runs([tmp_path / "run"], tmp_path / "compare.png").series]
    assert names == ["searched", "plain in a cascade", "plain with exits at stem"], "no int8 of what was there before"
    for name in ("export.json", "sidenet.json"):
        (folder / name).write_text("{}")
        with pytest.raises(FileError, match=rf"{name} is damaged or from an older version of tinynas"):
            compare_runs([tmp_path / "run"], tmp_path / "compare.png")
