import numpy as np
import pytest
import torch

from helpers import images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.deploy.histograms import Histogram, collect_histograms, least_squared_error, min_max, percentile
from tinynas.deploy.lowered_run import layer_weights, run_lowered
from tinynas.models.network import fold
from tinynas.utils.errors import InputError


def with_outlier(fraction, *, low=0.0, outlier=8.0):
    """A million values between low and 1, uniformly, and some at the outlier."""
    bins = 2048
    centres = low + (np.arange(bins) + 0.5) / bins * (outlier - low)
    counts = np.where(centres < 1, 1.0, 0.0)
    counts *= 1e6 / counts.sum()
    counts[-1] = 1e6 * fraction
    return Histogram(low=low, high=outlier, counts=counts)


def test_rare_outlier_is_kept_by_min_max_and_clipped_by_the_others():
    histogram = with_outlier(1e-7)
    assert min_max(histogram) == (0, 8)
    assert percentile(histogram, 99.99) == pytest.approx((0, 1), abs=0.01)
    low, high = least_squared_error(histogram)
    assert low == 0
    assert 1 <= high <= 1.12  # the smallest candidate that is not below 1 may be 1 / 0.9


def test_squared_error_keeps_an_outlier_whose_clipping_costs_more_than_rounding():
    """Clipping costs 49 * 1e-5 for each value; rounding in 0..8 costs (8 / 255)**2 / 12 = 8.2e-5."""
    histogram = with_outlier(1e-5)
    assert least_squared_error(histogram)[1] > 6
    assert percentile(histogram, 99.9)[1] == pytest.approx(1, abs=0.01)


def test_percentile_clips_both_sides():
    histogram = Histogram(low=-1.0, high=1.0, counts=np.full(2000, 5.0))
    assert percentile(histogram, 99) == pytest.approx((-0.99, 0.99))
    assert percentile(histogram, 100) == (-1, 1)


def test_squared_error_clips_the_side_of_the_outlier():
    low, high = least_squared_error(with_outlier(1e-7, low=-1.0))
    assert low <= -0.9
    assert 1 <= high <= 1.12


def test_ranges_of_a_tensor_that_is_always_0():
    histogram = Histogram(low=0.0, high=0.0, counts=np.bincount([0], [100], 2048))
    for criterion in (min_max, least_squared_error):
        assert criterion(histogram) == (0, 0)
    assert percentile(histogram, 99.9) == (0, 0)


def test_histograms_hold_all_values_of_all_images(space):
    arch = space.max()
    network, images = lower(arch), images_for(arch, 20)
    weights = layer_weights(network, fold(model_of(arch).net))
    with torch.no_grad():
        values = run_lowered(network, weights, images)
    histograms = collect_histograms(network, weights, images)
    assert set(histograms) == set(values)
    for name, histogram in histograms.items():
        assert histogram.low == pytest.approx(min(values[name].min().item(), 0), abs=1e-5), name
        assert histogram.high == pytest.approx(max(values[name].max().item(), 0), abs=1e-5), name
        assert histogram.counts.sum() == values[name].numel()
        edges = histogram.edges()
        centres = (edges[1:] + edges[:-1]) / 2
        mean = np.average(centres, weights=histogram.counts)
        assert mean == pytest.approx(values[name].double().mean().item(), abs=edges[1] - edges[0])


def test_values_that_overflow_are_reported(space):
    network, images = lower(space.min()), images_for(space.min(), 2)
    weights = layer_weights(network, fold(model_of(space.min()).net))
    weights["stages.0.0.project"].bias.fill_(torch.inf)
    with pytest.raises(InputError, match=r"values of stages.0.0.project are 0 to inf on calibration images; train"):
        collect_histograms(network, weights, images)
