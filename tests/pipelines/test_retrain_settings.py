"""Settings of a retraining: which images are trained on, which weights are kept, how statistics are estimated."""

import json
from dataclasses import replace

import pytest
import torch

from helpers import RECIPE, Interrupting, Quiet, same_model
from tinynas import Supernet, load
from tinynas.data.augmentation import AugmentationRanges
from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.experiment.config import NetAug, RetrainConfig
from tinynas.experiment.log import RunLog, highest
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.retrain_folder import RetrainFolder
from tinynas.models.model_file import read_model
from tinynas.models.supernet import extract_calibrated
from tinynas.pipelines.initial_weights import augmented_space
from tinynas.pipelines.recalibration import RecalibrationImages
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.retraining import Retraining
from tinynas.tasks.registry import fit_to_data
from tinynas.training.checkpoint import read_checkpoint
from tinynas.utils.errors import InputError


def plan_of(space, folder, **settings):
    settings = {"recipe": RECIPE, **settings}
    return RetrainPlan(folder=folder, arch=replace(space.min(), resolution=12), config=RetrainConfig(**settings))


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_retrain_on_all_images_trains_on_search_val_and_measures_nothing_on_it(watched, space, tmp_path, monkeypatch):
    sizes, report = set(), Quiet()
    steps_per_epoch = Data.steps_per_epoch

    def noted(data, batch_size):
        sizes.add(len(data.train))
        return steps_per_epoch(data, batch_size)

    monkeypatch.setattr(Data, "steps_per_epoch", noted)
    retrain(plan_of(space, tmp_path / "r", train_on_all=True), report=report)
    assert sizes == {len(watched.train) + len(watched.val)}
    assert len(records(tmp_path / "r")) == RECIPE.epochs
    assert all("val_accuracy" not in record for record in records(tmp_path / "r"))
    assert (
        "trains on all 126 training images, search-val included: no accuracy on search-val is measured, and the last "
        "weights are kept"
    ) in report.notes
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["accuracy"] > 0


@pytest.mark.parametrize(("batch_size", "is_said"), [(96, False), (128, True)])
def test_retrain_says_that_a_batch_is_larger_than_the_data(watched, space, tmp_path, batch_size, is_said):
    report = Quiet()
    retrain(plan_of(space, tmp_path / "r", recipe=replace(RECIPE, epochs=1, batch_size=batch_size)), report=report)
    note = "an epoch is a single step, as a batch of 128 images is larger than the training split of 96; "
    assert (note + "choose a smaller --batch-size" in report.notes) == is_said


def test_retrain_on_all_images_has_no_best_weights():
    with pytest.raises(InputError, match="leaves no search-val to choose the best weights by"):
        RetrainConfig(train_on_all=True, keep="best")


def weights_after(space, folder, epochs, recipe):
    """The weights that the target has after some epochs of a training, which is stopped then."""
    plan, steps = plan_of(space, folder, recipe=recipe), 96 // recipe.batch_size
    with pytest.raises(KeyboardInterrupt):
        retrain(plan, report=Interrupting(after=steps * epochs + 1))
    content = read_checkpoint(RetrainFolder(folder).checkpoint)
    assert content["step"] == steps * epochs
    supernet = Supernet(augmented_space(plan.arch, None))
    supernet.load_state_dict(content["model"])
    return dict(supernet.extract(plan.arch).named_parameters())


def test_retrain_keeps_the_weights_of_the_epoch_that_was_best_on_search_val(watched, space, tmp_path):
    recipe = replace(RECIPE, epochs=6, lr=0.1)  # by then a network has learned these images
    retrain(plan_of(space, tmp_path / "best", keep="best", recipe=recipe), report=Quiet())
    retrain(plan_of(space, tmp_path / "last", recipe=recipe), report=Quiet())
    accuracies = [record["val_accuracy"] for record in records(tmp_path / "best")]
    assert accuracies == [record["val_accuracy"] for record in records(tmp_path / "last")]
    best_epoch = accuracies.index(max(accuracies)) + 1
    assert best_epoch < recipe.epochs, "several epochs are equally good, and the first of them is kept"
    best, last = (dict(load(tmp_path / kept / "model.safetensors").named_parameters()) for kept in ("best", "last"))
    expected = weights_after(space, tmp_path / "stopped", best_epoch, recipe)
    assert all(torch.equal(best[name], tensor) for name, tensor in expected.items())
    assert not all(torch.equal(last[name], tensor) for name, tensor in expected.items())
    assert not (tmp_path / "last" / "best.safetensors").exists()


def test_retrain_keeps_the_same_best_weights_if_it_is_resumed(watched, space, tmp_path):
    recipe = replace(RECIPE, epochs=3)
    retrain(plan_of(space, tmp_path / "whole", keep="best", recipe=recipe), report=Quiet())
    plan = plan_of(space, tmp_path / "resumed", keep="best", recipe=recipe)
    for steps in (7, 13):
        with pytest.raises(KeyboardInterrupt):
            retrain(plan, report=Interrupting(after=steps))
    retrain(plan, report=Quiet())
    whole, resumed = (read_model(tmp_path / name / "model.safetensors") for name in ("whole", "resumed"))
    assert same_model(whole, resumed)


def test_highest_looks_only_at_records_before_a_step(tmp_path):
    path = tmp_path / "log.jsonl"
    assert highest(path, "val_accuracy", before=9) == float("-inf")
    log = RunLog(path)
    for step, accuracy in ((3, 50.0), (6, 70.0), (9, 90.0)):
        log.add({"step": step, "val_accuracy": accuracy})
    path.write_text(path.read_text() + '{"step": 1, "val_acc')
    assert [highest(path, "val_accuracy", before=step) for step in (3, 6, 9, 12)] == [float("-inf"), 50, 70, 90]


@pytest.mark.parametrize(("images", "number"), [(500, 96), (40, 40)])
def test_recalibration_has_as_many_images_as_the_setting_says(watched, space, tmp_path, images, number):
    recalibration = RecalibrationImages.of(plan_of(space, tmp_path, recalibration_images=images), watched)
    assert torch.equal(torch.cat(list(recalibration)), torch.cat(watched.calibration_batches(12, images)))
    assert len(torch.cat(list(recalibration))) == number


def test_recalibration_augments_its_images_always_in_the_same_way(watched, space, tmp_path):
    settings = {"augment_recalibration": True, "recipe": replace(RECIPE, brightness=0.5)}
    recalibration = RecalibrationImages.of(plan_of(space, tmp_path, **settings), watched)
    first, again = torch.cat(list(recalibration)), torch.cat(list(recalibration))
    plain = torch.cat(watched.calibration_batches(12))
    assert recalibration.ranges == AugmentationRanges(brightness=0.5)
    assert torch.equal(first, again)
    assert (first != plain).flatten(1).any(1).float().mean() > 0.9


def test_recalibration_images_that_take_much_memory_are_read_each_time(watched, space, tmp_path, monkeypatch):
    plan = plan_of(space, tmp_path, augment_recalibration=True)
    kept = RecalibrationImages.of(plan, watched)
    monkeypatch.setattr("tinynas.pipelines.recalibration.cache_bytes", lambda device: 96 * 12 * 12 * 4 - 1)
    read = RecalibrationImages.of(plan, watched)
    assert kept.kept
    assert not read.kept
    for _ in range(2):
        assert torch.equal(torch.cat(list(read)), torch.cat(list(kept)))


def test_retrain_without_recalibration_keeps_the_running_statistics(watched, space, tmp_path):
    """Of a batch of all images the running statistics after some steps are not the mean of the last step's."""
    plan = plan_of(space, tmp_path / "r", recalibration_images=0, netaug=NetAug())
    retrain(plan, report=Quiet())
    net = read_model(tmp_path / "r" / "model.safetensors").net
    supernet = Supernet(augmented_space(plan.arch, plan.config.netaug, 1.0))
    supernet.load_state_dict(read_checkpoint(RetrainFolder(plan.folder).checkpoint)["model"])
    running = supernet.extract(plan.arch).stem.norm.running_mean
    recalibrated = extract_calibrated(supernet, plan.arch, watched.calibration_batches(12)).stem.norm.running_mean
    assert torch.equal(net.stem.norm.running_mean, running)
    assert not torch.allclose(net.stem.norm.running_mean, recalibrated)


@pytest.mark.parametrize(("first", "expected"), [(1, [0, 1]), (2, [1])])
def test_retrain_sorts_from_the_epoch_of_the_setting(watched, space, tmp_path, monkeypatch, first, expected):
    sorted_at, before_epoch = [], Retraining.before_epoch
    epochs = []

    def noted_epoch(training, epoch, optimizer):
        epochs.append(epoch)
        before_epoch(training, epoch, optimizer)

    def noted(supernet, optimizer, *, only_expanded):
        assert only_expanded
        sorted_at.append(epochs[-1])

    monkeypatch.setattr(Retraining, "before_epoch", noted_epoch)
    monkeypatch.setattr(Supernet, "sort_channels", noted)
    netaug = NetAug(sort=True, sorted_channels="expanded", sort_from_epoch=first)  # widths: half of the epochs
    retrain(plan_of(space, tmp_path / "r", netaug=netaug, recipe=replace(RECIPE, epochs=4)), report=Quiet())
    assert epochs == [0, 1, 2, 3]
    assert sorted_at == expected


def test_crops_are_refused_for_images_with_boxes(detectors, tmp_path):
    plan = RetrainPlan(
        folder=tmp_path / "r",
        arch=fit_to_data(detectors.min(), load_data("scattered-digits")),
        config=RetrainConfig(data="scattered-digits", recipe=replace(RECIPE, crop_scale=0.1)),
    )
    with pytest.raises(InputError, match=r"crop_scale is 0.1, but images with boxes are magnified and moved instead"):
        retrain(plan, report=Quiet())
    assert not (tmp_path / "r").exists()
