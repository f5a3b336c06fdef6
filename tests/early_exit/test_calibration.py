import numpy as np
import pytest
import torch

from tinynas.early_exit.calibration import ExitOutputs, calibration_error, fit_temperature, reliability


def test_calibration_error_equals_a_count_by_hand():
    confidences, correct = np.array([0.95, 0.97, 0.5, 0.52]), np.array([True, True, True, False])
    bins = reliability(confidences, correct)
    assert [entry.images for entry in bins] == [2, 2]
    assert calibration_error(bins) == pytest.approx(100 * (0.01 + 0.04) / 2)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_fit_temperature_finds_a_known_temperature(temperature):
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_fit_temperature_lowers_the_calibration_error():
    torch.manual_seed(0)
    logits = 2 * torch.randn(5_000, 5)
    outputs = ExitOutputs(5 * logits[None], torch.distributions.Categorical(logits=logits).sample())
    before = calibration_error(reliability(outputs.confidences([1.0])[0], outputs.correct()[0]))
    temperature = fit_temperature(outputs.logits[0], outputs.labels)
    after = calibration_error(reliability(outputs.confidences([temperature])[0], outputs.correct()[0]))
    assert after < 2 < 20 < before
