import json

import pytest

from tinynas.experiment.compare import compare_runs
from tinynas.experiment.evaluation_report import EvaluationReport
from tinynas.experiment.run_folder import RunFolder
from tinynas.tasks.chance import chance_level
from tinynas.utils.errors import FileError

COST = {"macs": 5, "params": 4, "peak_sram": 3, "peak_sram_inplace_dw": 2, "flash": 1}
REPORT = {
    "model": "m",
    "data": "digits",
    "metric": "mAP",
    "accuracy": 20.0,
    "ap50": 40.0,
    "by_class": {"a": 40.0, "without objects": None},
    **COST,
    "resolutions": [
        {"resolution": 24, "accuracy": 10.0, "by_class": {"a": 10.0}, **COST},
        {"resolution": 32, "accuracy": 20.0, "by_class": {"a": 20.0}, **COST, "macs": 9},
    ],
}


def test_evaluation_report_keeps_the_keys_and_their_order():
    assert json.dumps(EvaluationReport.from_dict(REPORT).to_dict()) == json.dumps(REPORT)


def test_evaluation_report_without_other_sizes_has_no_resolutions():
    plain = {key: value for key, value in REPORT.items() if key != "resolutions"}
    assert EvaluationReport.from_dict(plain).to_dict() == plain


def test_evaluation_report_of_a_classifier_comes_back():
    figures = {"accuracy": 60.0, "balanced_accuracy": 50.0, "by_class": {"a": 0.0, "b": 100.0, "c": None}}
    chance = chance_level([40, 60, 0], ("a", "b", "c"))
    plain = {"model": "m", "data": "digits", "metric": "accuracy", **figures, "chance": chance.to_dict(), **COST}
    report = EvaluationReport.from_dict(plain)
    assert report.evaluation.chance == chance
    assert list(report.to_dict().items()) == list(plain.items())


def test_compare_runs_shows_other_image_sizes(tmp_path):
    retraining = RunFolder(tmp_path).retraining("plain")
    retraining.path.mkdir(parents=True)
    retraining.resolutions.write_text(json.dumps(REPORT))
    (series,) = compare_runs([tmp_path], tmp_path / "compare.png").series
    assert (series.name, series.metric, series.split, series.line) == ("plain at other sizes", "mAP", "test", True)
    assert [(point.name, point.macs, point.accuracy) for point in series.points] == [("24 px", 5, 10), ("32 px", 9, 20)]
    retraining.resolutions.write_text(json.dumps(REPORT | {"resolutions": [{"resolution": 24}]}))
    with pytest.raises(FileError, match=r"resolutions\.json is damaged .* lacks the key 'macs'; recreate it"):
        compare_runs([tmp_path], tmp_path / "compare.png")
