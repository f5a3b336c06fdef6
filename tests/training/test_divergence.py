from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers import TRAINING_RECIPE, FailingObjective, train_supernet
from tinynas.training.checkpoint import TrainingState
from tinynas.training.divergence import check_finite, divergence
from tinynas.training.loop import make_optimizer
from tinynas.training.precision import MixedPrecision
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import TrainingError

ONE_EPOCH = replace(TRAINING_RECIPE, epochs=1)  # of 6 steps


@pytest.mark.parametrize(
    ("failing", "steps"),
    [
        (set(range(6)), "all 6 steps had a loss or gradient that is not finite"),
        ({5}, "the last step of 6 had a loss"),
        ({2, 4, 5}, "the last 2 steps of 6 had a loss"),
    ],
)
def test_training_whose_last_steps_were_skipped_diverged(space, data, tmp_path, failing, steps):
    objective = FailingObjective(space, failing)
    with pytest.raises(TrainingError, match=rf"{steps}.*no checkpoint yet; try a --lr below 0.05 or --warmup-epochs"):
        train_supernet(space, data, tmp_path / "c.pt", recipe=ONE_EPOCH, objective=objective)
    assert not (tmp_path / "c.pt").exists()


def test_training_that_skipped_only_earlier_steps_ends_well(space, data, tmp_path):
    train_supernet(space, data, tmp_path / "c.pt", recipe=ONE_EPOCH, objective=FailingObjective(space, {0, 1, 4}))
    assert torch.load(tmp_path / "c.pt", weights_only=True)["skipped"] == 3


class BreakingObjective(FailingObjective):
    """An objective that leaves a tensor of the supernet not finite at a call, its loss finite."""

    def __init__(self, space, call, name):
        super().__init__(space, set())
        self.call, self.name = call, name

    def losses(self, supernet, batch, rng):
        yield from super().losses(supernet, batch, rng)
        if next(self.calls) == 2 * self.call + 1:  # the calls are counted here as well
            supernet.state_dict()[self.name].view(-1)[0] = float("inf")


@pytest.mark.parametrize("name", ["net.stem.conv.weight", "net.stem.norm.running_var"])
@pytest.mark.parametrize("save_seconds", [0.0, 60.0])
def test_checkpoint_is_not_replaced_by_weights_that_are_not_finite(
    space, data, tmp_path, monkeypatch, name, save_seconds
):
    """Neither at the end of an epoch nor when the last checkpoint is old."""
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", save_seconds)
    path = tmp_path / "c.pt"
    recipe = replace(TRAINING_RECIPE, epochs=2)
    with pytest.raises(TrainingError, match=rf"weights and batch-norm statistics are not finite \({name}"):
        train_supernet(space, data, path, recipe=recipe, objective=BreakingObjective(space, 11, name))
    content = torch.load(path, weights_only=True)
    assert content["step"] == (11 if save_seconds == 0.0 else 6)
    assert all(tensor.isfinite().all() for tensor in content["model"].values())


def test_log_of_an_epoch_without_updates_has_no_loss(space, data, tmp_path):
    net = nn.Linear(2, 2)
    state = state_of(net, tmp_path, scaled=False)
    state.begin_epoch(resumed=False)
    state.add(torch.tensor([float("nan"), 1.0]))
    assert state.progress(2, 2, 0.1).loss is None
    state.add(torch.tensor([3.0, 0.0]))
    assert state.progress(2, 2, 0.1).loss == 3.0


def state_of(net, folder, *, scaled):
    precision = MixedPrecision.for_device("fp32", torch.device("cpu"))
    if scaled:
        precision = replace(precision, scaler=torch.amp.GradScaler("cpu", enabled=True))
    return TrainingState(net, make_optimizer(net, Recipe()), precision, Recipe(), folder / "c.pt")


def test_gradient_that_only_the_scale_of_fp16_made_infinite_is_no_divergence(tmp_path):
    state = state_of(nn.Linear(2, 2), tmp_path, scaled=True)
    state.add(torch.tensor([1.0, 0.0]))
    state.add(torch.tensor([1.0, 1.0]))
    state.check(ends_training=True)
    state.save(at_once=True)
    assert torch.load(state.path, weights_only=True)["step"] == 2
    state.add(torch.tensor([float("inf"), 1.0]))
    with pytest.raises(TrainingError, match="the last 2 steps of 3"):
        state.check(ends_training=True)


def test_check_finite_names_some_tensors_and_counts_all():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    check_finite(net, Recipe())
    with torch.no_grad():
        for name in ("0.weight", "1.running_mean", "1.running_var", "2.bias"):
            net.state_dict()[name].fill_(float("nan"))
    with pytest.raises(TrainingError) as error:
        check_finite(net, Recipe(lr=0.2))
    assert str(error.value) == (
        "the training diverged: 4 of 9 weights and batch-norm statistics are not finite (0.weight, 1.running_mean, "
        "1.running_var, ...); try a --lr below 0.2 or --warmup-epochs above 1, with --max-grad-norm 1"
    )


def test_divergence_says_that_its_checkpoint_is_no_remedy(tmp_path):
    path = tmp_path / "c.pt"
    assert str(divergence("x", Recipe(lr=0.2), checkpoint=path)) == (
        "the training diverged: x; there is no checkpoint yet; try a --lr below 0.2 or --warmup-epochs above 1, "
        "with --max-grad-norm 1"
    )
    path.touch()
    assert str(divergence("x", Recipe(lr=0.2), checkpoint=path)) == (
        f"the training diverged: x; the last finite checkpoint is {path}; --resume is likely to diverge again: start "
        "anew with another --name (of a search: --run) and a --lr below 0.2 or --warmup-epochs above 1, "
        "with --max-grad-norm 1"
    )


def test_divergence_recommends_no_clipping_that_is_there():
    assert str(divergence("x", Recipe(max_grad_norm=1.0))).endswith("--warmup-epochs above 1")
    assert str(divergence("x", Recipe(max_grad_norm=5.0))).endswith(", with --max-grad-norm 1")
