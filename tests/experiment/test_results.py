import json

import pytest

from tinynas.arch.budget import Budget
from tinynas.arch.cost import cost
from tinynas.experiment.results import FrontEntry, RetrainMetrics, SearchResult, read_result
from tinynas.utils.errors import FileError


@pytest.fixture
def result(space) -> SearchResult:
    """Two networks of a space, the larger one more accurate."""
    entries = []
    for arch, accuracy in ((space.min(), 40.0), (space.max(), 60.0)):
        entries.append(FrontEntry(arch=arch, accuracy=accuracy, standard_error=1.5, cost=cost(arch)))
    return SearchResult(
        space="small", data="digits", budget=Budget(macs=60_000), evaluations=9, front=tuple(entries), best=1
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
    for key in ("metric", "evaluations"):
        del plain[key]
    for entry in plain["front"]:
        for key in ("standard_error", "peak_sram_inplace_dw"):
            del entry[key]
    read = SearchResult.from_dict(plain)
    assert (read.metric, read.best_entry.standard_error) == ("accuracy", None)
    assert read.best_entry.cost == result.best_entry.cost, "what the file lacks is counted"


def test_search_result_chooses_within_a_budget(result):
    small, large = result.front
    assert result.best_within(Budget()) == large
    assert result.best_within(Budget(macs=small.cost.macs)) == small
    assert result.best_within(Budget(macs=small.cost.macs - 1)) is None
    assert result.smallest(Budget(macs=1, flash=1)) == Budget(macs=small.cost.macs, flash=small.cost.flash)


def test_best_yaml_tells_what_the_best_network_reached(result):
    first, second = result.best_yaml().splitlines()[:2]
    assert first == "# The best of 9 networks of small evaluated on digits:"
    assert second.startswith("# 60.00% accuracy on search-val (standard error 1.50); macs ")


def test_retrain_metrics_keep_the_keys_and_their_order():
    assert list(RetrainMetrics.from_dict(METRICS).to_dict().items()) == list(METRICS.items())


def test_retrain_metrics_of_a_classifier_have_no_ap50():
    plain = {key: value for key, value in METRICS.items() if key != "ap50"}
    assert RetrainMetrics.from_dict(plain).to_dict() == plain


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"accuracy": None}, "accuracy in the file must be a number"),
        ({"epochs": 1.5}, "epochs in the file must be a whole number"),
        ({"flash": "1KB"}, "flash in the cost must be a whole number"),
    ],
)
def test_read_result_names_the_file_the_problem_and_what_to_do(tmp_path, change, problem):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(METRICS | change))
    with pytest.raises(FileError, match=rf"metrics\.json is damaged .*: {problem}.*; retrain it"):
        read_result(RetrainMetrics, path, advice="retrain it")


def test_read_result_names_a_missing_key(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"accuracy": 1.0}))
    with pytest.raises(FileError, match=r"the cost lacks the key 'macs'; retrain it"):
        read_result(RetrainMetrics, path, advice="retrain it")
