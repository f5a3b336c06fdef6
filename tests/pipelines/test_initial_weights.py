"""Which networks a retraining holds, at its beginning and when it is resumed."""

from dataclasses import replace

import pytest
import torch

from helpers import RECIPE, Interrupting, Quiet
from tinynas import load_space
from tinynas.experiment.config import NetAug, RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.models.model_file import read_model
from tinynas.pipelines import retraining
from tinynas.pipelines.retrain import retrain
from tinynas.tasks.registry import fit_to_data
from tinynas.training.checkpoint import read_checkpoint
from tinynas.utils.errors import InputError

EPOCHS, STEPS = 4, 6  # two epochs with all networks, one without widths, one of the target alone; steps of an epoch


@pytest.fixture
def plan(watched, space, tmp_path):
    """Makes the plan of a retraining in a folder of this name, with settings of its own."""
    netaug = NetAug(width=(1.0, 2.0), expand=(1.0, 2.0), width_until=0.5, expand_until=0.75)
    config = RetrainConfig(netaug=netaug, recipe=replace(RECIPE, epochs=EPOCHS, warmup_epochs=0.5))
    arch = replace(space.min(), resolution=12)

    def make(name, **settings):
        return RetrainPlan(folder=tmp_path / name, arch=arch, config=replace(config, **settings))

    return make


def weights_of(plan):
    return read_model(plan.folder / "model.safetensors").net.state_dict()


def num_weights(plan):
    return sum(tensor.numel() for tensor in read_checkpoint(plan.folder / "checkpoint.pt")["model"].values())


@pytest.mark.parametrize("stopped", [4, 2 * STEPS + 1, 2 * STEPS + 2, 3 * STEPS, 3 * STEPS + 1, 3 * STEPS + 3])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_retraining_resumes_with_the_networks_that_are_left(plan, monkeypatch, stopped, ema):
    """Before, at and after the epochs in which weights are left out; and with the average of weights."""
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", 0.0)
    whole, resumed = plan("whole", ema=ema), plan("resumed", ema=ema)
    retrain(whole, report=Quiet())
    with pytest.raises(KeyboardInterrupt):
        retrain(resumed, report=Interrupting(after=stopped))
    retrain(resumed, report=Quiet())
    expected = weights_of(whole)
    for name, tensor in weights_of(resumed).items():
        assert torch.equal(tensor, expected[name]), name


def test_weights_are_left_out_when_they_are_no_longer_trained(plan):
    sizes, plain = [], plan("r")
    for stopped in range(STEPS + 1, EPOCHS * STEPS + 1, STEPS):
        with pytest.raises(KeyboardInterrupt):
            retrain(plain, report=Interrupting(after=stopped))  # the checkpoint is of the epoch's end
        sizes.append(num_weights(plain))
    retrain(plain, report=Quiet())
    sizes.append(num_weights(plain))
    assert sizes[0] == sizes[1] > sizes[2] > sizes[3] == sum(tensor.numel() for tensor in weights_of(plain).values())


def test_checkpoints_of_earlier_versions_are_resumed(plan, monkeypatch):
    """They have all weights to the end."""
    whole, resumed = plan("whole"), plan("resumed")
    retrain(whole, report=Quiet())
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(retraining, "shrink", lambda supernet, space, optimizer: None)
        with pytest.raises(KeyboardInterrupt):
            retrain(resumed, report=Interrupting(after=2 * STEPS + 4))
    before = num_weights(resumed)
    retrain(resumed, report=Quiet())
    assert num_weights(resumed) == num_weights(whole) < before
    expected = weights_of(whole)
    for name, tensor in weights_of(resumed).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("netaug", [None, NetAug(sort=True, width_until=1.0, expand_until=1.0)])
@pytest.mark.parametrize("images", [0, 64])
def test_retraining_delivers_the_average_of_weights(plan, netaug, images):
    """Those of the checkpoint's average, with its statistics or recalibrated; the training itself stays the same."""
    averaged = plan("ema", ema=0.9, netaug=netaug, recalibration_images=images)
    last = plan("last", netaug=netaug, recalibration_images=images)
    for run in (averaged, last):
        retrain(run, report=Quiet())
    contents = [read_checkpoint(run.folder / "checkpoint.pt") for run in (averaged, last)]
    average = contents[0]["average"]["net"]
    for name, tensor in weights_of(averaged).items():
        if name.endswith(("running_mean", "running_var")):
            assert torch.equal(tensor, average[name]) == (images == 0), name
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, average[name]), name
    assert not torch.equal(average["stem.conv.weight"], weights_of(last)["stem.conv.weight"])
    for name, tensor in contents[0]["model"].items():
        assert torch.equal(tensor, contents[1]["model"][name]), name


def test_netaug_that_widens_nothing_is_refused(plan, watched):
    netaug = NetAug(width=(1.0,), expand=(1.0, 2.0))
    arch = fit_to_data(load_space("micro").min(), watched)
    refused = replace(plan("r", netaug=netaug), arch=arch)
    with pytest.raises(InputError, match="augments nothing in this network"):
        retrain(refused, report=Quiet())
    assert not refused.folder.exists()
    retrain(plan("expanded", netaug=netaug, recipe=replace(RECIPE, epochs=1)), report=Quiet())
