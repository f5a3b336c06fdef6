"""Decision rules, against figures by hand and against SciPy."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from helpers import model_of, sidenet_of
from tinynas import SideNet
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.model import EarlyExitModel
from tinynas.early_exit.model_file import read_early_exits, save_early_exits
from tinynas.early_exit.rules import RULES, early_scores, make_rule
from tinynas.early_exit.thresholds import sweep
from tinynas.experiment.exit_plan import EXIT_RULES
from tinynas.utils.errors import InputError

PROBABILITIES = torch.tensor(
    [
        [[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.8, 0.1]],
        [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.05, 0.9, 0.05]],
        [[0.1, 0.3, 0.6], [0.2, 0.6, 0.2], [0.0, 1.0, 0.0]],
        [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]],
    ]
)  # of three early exits and the whole network, for three examples


def scores(name):
    return early_scores(make_rule(name, 4, 3), PROBABILITIES)


def test_rules_are_those_of_the_settings():
    assert tuple(RULES) == EXIT_RULES
    with pytest.raises(InputError, match="there is no exit rule 'energy'; choose one of confidence, entropy"):
        make_rule("energy", 2, 3)
    with pytest.raises(InputError, match="`classes > 1` must hold"):
        make_rule("margin", 2, 1)


def test_rules_score_probabilities():
    np.testing.assert_allclose(scores("confidence"), [[0.7, 0.4, 0.8], [0.5, 0.6, 0.9], [0.6, 0.6, 1.0]])
    np.testing.assert_allclose(
        scores("margin"), [[0.5, 0.05, 0.7], [0.2, 0.3, 0.85], [0.3, 0.4, 1.0]], rtol=1e-5, atol=1e-6
    )
    expected = 1 - entropy(PROBABILITIES[:3].numpy(), axis=2) / np.log(3)
    np.testing.assert_allclose(scores("entropy"), expected, atol=1e-5)


def test_patience_counts_exits_in_a_row():
    np.testing.assert_allclose(scores("patience"), np.array([[1, 1, 1], [2, 1, 2], [1, 2, 3]]) / 3)


def outputs_of_exits(examples=4000):
    """Two early exits and a whole network whose logits have the more noise, the earlier they are."""
    torch.manual_seed(0)
    labels = torch.arange(examples) % 5
    logits = []
    for noise in (2.0, 1.2, 0.5):
        logits.append(3 * torch.eye(5)[labels] + noise * torch.randn(examples, 5))
    return ExitOutputs(torch.stack(logits), labels)


def test_gate_learns_which_answers_are_right():
    outputs = outputs_of_exits()
    gate = make_rule("gate", 3, 5)
    gate.fit(outputs.probabilities([1, 1, 1])[:, :2000], outputs.labels[:2000])
    held_out = early_scores(gate, outputs.probabilities([1, 1, 1])[:, 2000:])
    right = outputs.correct()[:2, 2000:]
    for score, correct in zip(held_out, right, strict=True):
        assert score[correct].mean() > score[~correct].mean() + 0.1
        assert score.mean() == pytest.approx(correct.mean(), abs=0.03), "a probability"
    always = make_rule("gate", 3, 5)
    certain = torch.eye(5)[outputs.labels].expand(3, -1, -1)
    always.fit(certain, outputs.labels)
    assert early_scores(always, certain).min() > 0.99, "nothing to tell apart"


@pytest.mark.parametrize("name", EXIT_RULES)
def test_network_exits_where_the_sweep_says(space, tmp_path, name):
    """The images that the network lets exit are those of the sweep, also after its file is read again."""
    arch = space.min()
    net = sidenet_of(arch, ["stem", "stages.0", "stages.1.0"])
    torch.manual_seed(1)
    images, labels = torch.randn(90, arch.in_channels, arch.resolution, arch.resolution), torch.arange(90) % 3
    outputs = net.observe([(images, labels)])
    net.calibrate(outputs, name)
    swept = sweep(outputs, net.temperatures.tolist(), net.macs(images), net.rule)
    thresholds = tuple(np.quantile(swept.scores, 0.6, axis=1, method="higher").tolist())
    if name == "patience":
        thresholds = (0.5,)  # two exits in a row
    leaves = swept.scores >= np.asarray(thresholds, swept.scores.dtype)[:, None]
    expected = np.where(leaves.any(0), leaves.argmax(0), 3)
    net.thresholds = thresholds
    path = tmp_path / "sidenet.safetensors"
    save_early_exits(path, EarlyExitModel(models=(model_of(arch),), exits=net))
    again = read_early_exits(path).exits
    (point,) = swept.at([thresholds])
    for each in (net, again):
        prediction = each.predict(images)
        assert np.mean(prediction.exits.numpy() != expected) < 0.03, "rounding of smaller batches"
    assert len(set(expected)) > 1
    assert point.shares == tuple(np.bincount(expected, minlength=4) / 90)
    confidences = outputs.confidences(net.temperatures.tolist())
    torch.testing.assert_close(
        prediction.confidences, torch.from_numpy(confidences)[prediction.exits, torch.arange(90)], atol=1e-5, rtol=1e-4
    )


def test_network_takes_one_threshold_or_one_for_each_exit(space):
    arch = space.min()
    net = sidenet_of(arch, ["stem", "stages.0", "stages.1.0"])
    images = torch.randn(4, arch.in_channels, arch.resolution, arch.resolution)
    assert net(images, threshold=[1.1, 0, 1.1]).exits.tolist() == [1] * 4
    for zero in ([0.0], 0, torch.tensor(0.0), np.float32(0)):
        assert net(images, threshold=zero).exits.tolist() == [0] * 4
    for wrong in ("high", ["a"] * 3, [[0.5] * 3], float("nan")):
        with pytest.raises(InputError, match="there must be one finite threshold"):
            net(images, threshold=wrong)
    assert net(images).exits.tolist() == [3] * 4, "no threshold is set"
    with pytest.raises(InputError, match="one for each of the 3 early exits, but got"):
        net(images, threshold=[0.5, 0.5])


def test_choose_thresholds_keeps_accuracy_or_a_budget():
    outputs = outputs_of_exits()
    net = SideNet(
        torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 5)),
        ["0", "1"],
        inputs=torch.randn(2, 4),
    )
    net.calibrate(outputs)
    macs = [10, 30, 100]
    whole = 100 * outputs.correct()[-1].mean()
    point = net.choose_thresholds(outputs, macs)
    assert point.accuracy >= whole
    assert point.macs < 100
    assert net.thresholds == point.thresholds
    cheap = net.choose_thresholds(outputs, macs, average_macs=20)
    assert cheap.macs <= 20
    assert cheap.accuracy < point.accuracy
    with pytest.raises(InputError, match="for an accuracy or within MACs, but got accuracy=50 and average_macs=20"):
        net.choose_thresholds(outputs, macs, accuracy=50, average_macs=20)
    with pytest.raises(InputError, match="no threshold needs as little as 5 MACs"):
        net.choose_thresholds(outputs, macs, average_macs=5)
