import json

import pytest

from helpers import flipped, result_or_error
from tinynas.arch.budget import Budget
from tinynas.arch.cost import cost
from tinynas.experiment.evaluated import EvaluatedNetworks
from tinynas.experiment.result_file import read_result
from tinynas.experiment.results import FrontEntry, RetrainMetrics, SearchResult
from tinynas.experiment.run_folder import RunFolder
from tinynas.tasks.chance import chance_level
from tinynas.utils.errors import FileError


@pytest.fixture
def result(space) -> SearchResult:
    """Two networks of a space, the larger one more accurate."""
    entries = []
    for arch, accuracy in ((space.min(), 40.0), (space.max(), 60.0)):
        entries.append(FrontEntry(arch=arch, accuracy=accuracy, standard_error=1.5, cost=cost(arch)))
    return SearchResult(
        space="small",
        data="digits",
        budget=Budget(macs=60_000),
        evaluations=9,
        chance=chance_level([40, 60, 0], ("a", "b", "c")),
        front=tuple(entries),
        best=1,
    )


METRICS = {
    "metric": "mAP",
    "accuracy": 20.0,
    "ap50": 40.0,
    "by_class": {"a": 40.0},
    "train_accuracy": 30.0,
    "macs": 5,
    "params": 4,
    "peak_sram": 3,
    "peak_sram_inplace_dw": 2,
    "flash": 1,
    "seconds": 2.5,
    "epochs": 1,
    "netaug": True,
    "teacher": None,
    "init": "supernet",
    "seed": 0,
    "data": "digits",
}


def test_search_result_comes_back_from_its_file(result, tmp_path):
    path = tmp_path / "front.json"
    path.write_text(json.dumps(result.to_dict()))
    assert read_result(SearchResult, path, advice="search again") == result


def test_search_result_reads_a_file_with_only_the_oldest_keys(result, tmp_path):
    plain = result.to_dict()
    for key in ("metric", "evaluations", "chance"):
        del plain[key]
    for entry in plain["front"]:
        for key in ("standard_error", "peak_sram_inplace_dw"):
            del entry[key]
    read = SearchResult.from_dict(plain)
    assert (read.metric, read.best_entry.standard_error, read.chance) == ("accuracy", None, None)
    assert read.best_entry.cost == result.best_entry.cost, "what the file lacks is counted"


def test_search_result_chooses_within_a_budget(result):
    small, large = result.front
    networks = EvaluatedNetworks(networks=result.front)
    assert networks.best_within(Budget()) == large
    assert networks.best_within(Budget(macs=small.cost.macs)) == small
    assert networks.best_within(Budget(macs=small.cost.macs - 1)) is None
    assert networks.smallest(Budget(macs=1, flash=1)) == Budget(macs=small.cost.macs, flash=small.cost.flash)


def test_best_yaml_tells_what_the_best_network_reached(result):
    first, second = result.best_yaml().splitlines()[:2]
    assert first == "# The best of 9 networks of small evaluated on digits:"
    assert second.startswith("# 60.00% accuracy on search-val (standard error 1.50); macs ")


def test_retrain_metrics_keep_the_keys_and_their_order():
    assert list(RetrainMetrics.from_dict(METRICS).to_dict().items()) == list(METRICS.items())


DETECTION = {
    "ap75": 10.0,
    "ap_by_class": {"a": 20.0, "b": None},
    "ap_small": None,
    "ap_medium": 5.0,
    "ap_large": 6.0,
    "ar": 30.0,
    "ar_small": None,
    "ar_medium": 31.0,
    "ar_large": 32.0,
    "voc_ap50": 41.0,
    "voc_ap50_11_points": 42.0,
}


def test_retrain_metrics_of_a_detector_come_back():
    plain = {}
    for key, value in METRICS.items():
        plain[key] = value
        if key == "by_class":
            plain["detection"] = DETECTION
    read = RetrainMetrics.from_dict(plain)
    assert (read.detection.voc_ap50_11_points, read.detection.ap_small) == (42.0, None)
    assert list(read.to_dict().items()) == list(plain.items())


def test_retrain_metrics_of_a_classifier_have_no_ap50():
    plain = {key: value for key, value in METRICS.items() if key != "ap50"}
    assert RetrainMetrics.from_dict(plain).to_dict() == plain


def test_retrain_metrics_of_a_classifier_with_a_class_without_images(tmp_path):
    figures = {"accuracy": 60.0, "balanced_accuracy": 50.0, "by_class": {"a": 0.0, "b": 100.0, "c": None}}
    chance = chance_level([40, 60, 0], ("a", "b", "c"))
    plain = {"metric": "accuracy", **figures, "chance": chance.to_dict()}
    for key, value in METRICS.items():
        if key != "ap50":
            plain.setdefault(key, value)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(plain))
    read = read_result(RetrainMetrics, path, advice="retrain it")
    assert read.chance == chance
    assert list(read.to_dict().items()) == list(plain.items())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"chance": {"images": 1}}, "chance lacks the key 'classes'"),
        (
            {"chance": {"images": 0, "classes": 2, "largest_class": "a", "largest_class_images": 0}},
            "`0 < largest_class_images <= images` must hold",
        ),
        ({"accuracy": None}, "accuracy in the file must be a number"),
        ({"epochs": 1.5}, "epochs in the file must be a whole number"),
        ({"flash": "1KB"}, "flash in the cost must be a whole number"),
        ({"flash": -1}, "flash in the cost must be at least 0, but is -1"),
        ({"accuracy": 100.5}, r"accuracy in the file must be from 0 to 100, but is 100\.5"),
        ({"train_accuracy": float("nan")}, "train_accuracy in the file must be a number, but is None"),
        ({"seconds": -0.5}, r"seconds in the file must be at least 0, but is -0\.5"),
        ({"detection": DETECTION | {"ar": 101.0}}, "ar in detection must be from 0 to 100, but is 101"),
        ({"detection": DETECTION | {"ap_by_class": {"a": "?"}}}, r"'a' in ap_by_class must be a number, but is '\?'"),
        ({"detection": {"ap75": 1.0}}, "detection lacks the key 'ar'"),
        ({"by_class": [1]}, r"by_class must be a mapping of keys to values, but is \[1\]"),
        ({"by_class": {"a": "good"}}, "'a' in by_class must be a number, but is 'good'"),
        ({"by_class": {"a": 101}}, "accuracy in 'a' in by_class must be from 0 to 100, but is 101"),
    ],
)
def test_read_result_names_the_file_the_problem_and_what_to_do(tmp_path, change, problem):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(METRICS | change))
    with pytest.raises(FileError, match=rf"metrics\.json is damaged .*: {problem}.*; retrain it"):
        read_result(RetrainMetrics, path, advice="retrain it")


def test_read_result_refuses_a_number_that_overflows(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(METRICS).replace("2.5", "1e999"))
    with pytest.raises(FileError, match="seconds in the file must be a finite number, but is inf; retrain it"):
        read_result(RetrainMetrics, path, advice="retrain it")


def test_a_class_without_test_images_has_no_accuracy(tmp_path):
    for number, written in enumerate(("NaN", "null")):  # the first one by older versions
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(METRICS).replace('{"a": 40.0}', f'{{"a": {written}, "b": 50.0}}'))
        metrics = read_result(RetrainMetrics, path, advice="retrain it")
        assert metrics.by_class == {"a": None, "b": 50.0}


def front_file(result, folder):
    RunFolder(folder).write_front(result, result.front, b"")
    return folder / "front.json"


def test_front_that_was_edited_is_refused_until_its_digest_is_deleted(result, tmp_path):
    path = front_file(result, tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"accuracy": 60.0', '"accuracy": 61.0'))
    with pytest.raises(
        FileError, match=r"front\.json is damaged or was edited: .*; restore the file, or delete its line 'sha256'"
    ):
        RunFolder(tmp_path).read_front()
    plain = json.loads(path.read_text())
    del plain["sha256"]
    path.write_text(json.dumps(plain))
    assert RunFolder(tmp_path).read_front().best_entry.accuracy == 61


def test_front_with_other_spaces_and_order_of_keys_is_the_same(result, tmp_path):
    path = front_file(result, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert RunFolder(tmp_path).read_front() == result


def test_front_with_a_flipped_bit_is_an_error_or_the_same(result, tmp_path):
    path = front_file(result, tmp_path)
    raw = path.read_bytes()
    errors = 0
    for bit in range(0, 8 * len(raw), 3):
        path.write_bytes(flipped(raw, bit))
        read = result_or_error(RunFolder(tmp_path).read_front)
        errors += isinstance(read, FileError)
        assert isinstance(read, FileError) or read == result, f"bit {bit}"
    assert errors > 1000


def test_read_result_names_a_missing_key(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"accuracy": 1.0}))
    with pytest.raises(FileError, match=r"the cost lacks the key 'macs'; retrain it"):
        read_result(RetrainMetrics, path, advice="retrain it")
