import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from tinynas.arch.cost import cost
from tinynas.data.identity import DataIdentity
from tinynas.experiment.compare import compare_runs
from tinynas.experiment.config import Distillation, RetrainConfig
from tinynas.experiment.finished import differences, finished_networks
from tinynas.experiment.netaug_settings import NetAug
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.results import RetrainMetrics
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.saved import save_retraining
from tinynas.training.recipe import Recipe
from tinynas.utils.io import write_json

TEACHER = Distillation(teacher="supernet")


@pytest.fixture
def finish(tmp_path, data):
    """Writes the files of a finished retraining."""

    def write(name, arch, accuracy, *, seed=0, epochs=20, netaug=None, distillation=None, metric="accuracy"):
        config = RetrainConfig(
            recipe=Recipe(seed=seed, epochs=epochs), netaug=netaug, distillation=distillation, data="small"
        )
        folder = RunFolder(tmp_path).retraining(name)
        plan = RetrainPlan(folder=folder.path, arch=arch, config=config)
        save_retraining(plan, DataIdentity.of(data))
        metrics = RetrainMetrics(
            metric=metric,
            accuracy=accuracy,
            train_accuracy=accuracy,
            cost=cost(arch),
            seconds=1.0,
            epochs=epochs,
            netaug=netaug is not None,
            teacher=distillation.teacher if distillation else None,
            seed=seed,
            data="small",
        )
        write_json(folder.metrics, metrics.to_dict())

    return write


@pytest.fixture
def archs(space):
    return replace(space.min(), resolution=12), replace(space.max(), resolution=12)


def test_retrainings_that_differ_in_the_seed_alone_are_one_network(finish, archs, tmp_path):
    small, large = archs
    for seed, accuracy in enumerate((80.0, 82.0, 84.0)):
        finish(f"plain-seed{seed}" if seed else "plain", small, accuracy, seed=seed)
    finish("longer", small, 85.0, epochs=40)
    finish("large", large, 90.0)
    finish("netaug", small, 81.0, netaug=NetAug())
    found = finished_networks(RunFolder(tmp_path))
    assert [(item.kind, item.name, item.accuracies) for item in found] == [
        ("retrained", "plain", {0: 80.0, 1: 82.0, 2: 84.0}),
        ("retrained", "longer", {0: 85.0}),
        ("retrained", "large", {0: 90.0}),
        ("retrained + NetAug", "netaug", {0: 81.0}),
    ]
    assert (found[0].accuracy, found[0].deviation) == (82.0, 2.0)
    assert found[1].deviation is None


def test_differences_are_paired_by_seed_and_of_settings_otherwise_alike(finish, archs, tmp_path):
    small, large = archs
    rng = np.random.default_rng(0)
    plain, netaug = rng.normal(80, 2, 5), rng.normal(81, 2, 5)
    for seed in range(5):
        finish(f"plain-{seed}", small, plain[seed], seed=seed)
        finish(f"netaug-{seed}", small, netaug[seed], seed=seed, netaug=NetAug())
    finish("other-seed", small, 70.0, seed=9, netaug=NetAug())
    finish("longer", small, 95.0, epochs=40, netaug=NetAug())
    finish("no-plain", large, 95.0, netaug=NetAug())
    finish("teacher", small, float(plain[1]) + 1, seed=1, distillation=TEACHER)
    by_kind = {item.kind: item for item in differences(finished_networks(RunFolder(tmp_path)))}
    assert by_kind.keys() == {"retrained + NetAug", "retrained + teacher"}
    found = by_kind["retrained + NetAug"]
    interval = ttest_rel(netaug, plain).confidence_interval(0.95)
    assert found.seeds == 5
    assert found.mean - found.half == pytest.approx(interval.low)
    assert found.mean + found.half == pytest.approx(interval.high)
    assert found.is_beyond_spread == (interval.low > 0 or interval.high < 0)
    single = by_kind["retrained + teacher"]
    assert (single.mean, single.half, single.seeds) == (pytest.approx(1.0), None, 1)
    assert not single.is_beyond_spread


def test_compare_shows_means_and_measures_what_was_retrained_in_every_way(finish, archs, tmp_path):
    small, large = archs
    for seed in range(2):
        finish(f"plain-{seed}", small, 80.0 + seed, seed=seed)
        finish(f"netaug-{seed}", small, 80.0 + seed, seed=seed, netaug=NetAug())
    finish("large", large, 99.0)
    comparison = compare_runs([tmp_path], tmp_path / "compare.png")
    plain, netaug = comparison.series
    assert [point.accuracy for point in plain.points] == [80.5, 99.0]
    assert (plain.points[0].seeds, plain.points[0].deviation) == (2, pytest.approx(0.5**0.5))
    assert plain.line
    assert not netaug.line
    assert plain.hypervolume == netaug.hypervolume, "the large network was retrained in one way only"
    document = json.loads(json.dumps(comparison.to_dict()))
    assert document["series"][0]["points"][0]["seeds"] == 2
    netaug = {"kind": "retrained + NetAug", "name": "netaug-0", "macs": cost(small).macs}
    assert document["differences"] == [{**netaug, "mean": 0.0, "half": 0.0, "seeds": 2}]


def test_hypervolumes_count_networks_that_were_trained_alike(finish, archs, tmp_path):
    small, large = archs
    finish("plain", small, 80.0)
    finish("large", large, 90.0)
    finish("netaug", small, 80.0, netaug=NetAug())
    finish("long", large, 95.0, netaug=NetAug(), epochs=30)
    plain, netaug = compare_runs([tmp_path], tmp_path / "compare.png").series
    assert [point.is_measured for point in netaug.points] == [True, False]
    assert plain.hypervolume == netaug.hypervolume


def test_retrainings_of_earlier_versions_without_settings_are_networks_of_their_own(finish, archs, tmp_path):
    for name in ("plain", "again"):
        finish(name, archs[0], 80.0)
        RunFolder(tmp_path).retraining(name).config.unlink()
    assert len(finished_networks(RunFolder(tmp_path))) == 2


def test_hypervolumes_are_measured_from_the_lowest_value_of_each_metric(finish, archs, tmp_path):
    small, large = archs
    finish("small", small, 80.0)
    finish("large", large, 90.0)
    alone = compare_runs([tmp_path], tmp_path / "compare.png")
    assert alone.to_dict()["reference"]["accuracy"] == 80.0
    finish("other", large, 0.4, metric="mAP")
    accuracy, other = compare_runs([tmp_path], tmp_path / "compare.png").series
    assert accuracy.hypervolume == pytest.approx(alone.series[0].hypervolume)
    assert other.hypervolume == 0.0
    assert compare_runs([tmp_path], tmp_path / "compare.png").to_dict()["reference"]["mAP"] == 0.4
