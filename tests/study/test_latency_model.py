import numpy as np
import pytest
from scipy.optimize import lsq_linear

from helpers import SMALL, SPACE
from tinynas import SearchSpace
from tinynas.arch.layers import Layer, layers_of, layers_of_space
from tinynas.arch.operators import TFLITE_KINDS
from tinynas.study.latency_model import LatencyModel, fit_latency
from tinynas.utils.errors import InputError

KINDS_OF_SPACE = TFLITE_KINDS[:-1]  # without the resizing of detectors
TRUE = LatencyModel(coefficients={kind: (2.0 + i, 1e-3 * (1 + i), 4e-3) for i, kind in enumerate(KINDS_OF_SPACE)})


def total(model, arch):
    return sum(model.microseconds(layer) for layer in layers_of(arch))


def different(count, space=SPACE):
    """Different archs of a space."""
    rng, archs = np.random.default_rng(0), {}
    while len(archs) < count:
        archs[space.sample(rng)] = None
    return list(archs)


def test_layer_time_is_linear_in_macs_and_bytes():
    model = LatencyModel(coefficients={"DEPTHWISE_CONV_2D": (5.0, 0.5, 0.25)})
    layer = Layer("DEPTHWISE_CONV_2D", 8, 4, 4, 4, kernel=3, stride=2)
    assert layer.macs == 9 * 4 * 16
    assert layer.bytes_moved == 4 * 64 + 4 * 16 + 9 * 4
    assert model.microseconds(layer) == 5 + 0.5 * 576 + 0.25 * 356


def test_fit_predicts_networks_that_follow_the_model_exactly():
    archs = different(60)
    fit = fit_latency(archs, [total(TRUE, arch) for arch in archs])
    assert set(fit.model.coefficients) == set(KINDS_OF_SPACE)
    assert min(min(values) for values in fit.model.coefficients.values()) >= 0
    assert max(map(abs, fit.errors)) < 0.1
    for arch in different(100)[60:]:
        assert total(fit.model, arch) == pytest.approx(total(TRUE, arch), rel=1e-3)


def test_fit_reports_the_error_of_each_network_by_the_others():
    """Against another solver, and a sum over layers."""
    rng = np.random.default_rng(1)
    archs = different(25)
    times = [total(TRUE, arch) * factor for arch, factor in zip(archs, rng.uniform(0.7, 1.4, len(archs)), strict=True)]
    rows = []
    for arch, time in zip(archs, times, strict=True):
        row = np.zeros(3 * len(TFLITE_KINDS))
        for layer in layers_of(arch):
            start = 3 * TFLITE_KINDS.index(layer.kind)
            row[start : start + 3] += (1, layer.macs, layer.bytes_moved)
        rows.append(row / time)
    rows = np.stack(rows)
    scale = np.maximum(rows.max(0), 1e-12)
    expected = []
    for i in range(len(archs)):
        others = np.delete(rows, i, 0) / scale
        solution = lsq_linear(others, np.ones(len(others)), bounds=(0, np.inf), method="bvls").x
        expected.append(100 * (rows[i] / scale @ solution - 1))
    assert fit_latency(archs, times).errors == pytest.approx(expected, abs=1e-3)
    assert max(map(abs, expected)) > 10


def test_fit_refuses_too_few_networks():
    archs = different(18)  # 3 coefficients of layers with weights; 2 of MEAN, ADD, MUL, HARD_SWISH, which have no MACs
    message = r"16 measured networks are too few to fit the 17 coefficients .*; measure at least 18 different ones"
    with pytest.raises(InputError, match=message):
        fit_latency(archs[:16], [1.0] * 16)
    fit_latency(archs, [1.0] * 18)


def test_model_refuses_kinds_of_layers_that_no_network_has():
    stages = [{key: value for key, value in stage.items() if key != "se"} for stage in SMALL["stages"]]
    archs = different(20, SearchSpace.from_dict({**SMALL, "stages": stages}))
    model = fit_latency(archs, [total(TRUE, arch) for arch in archs]).model
    assert "MUL" not in model.coefficients
    gating = next(layer for layer in layers_of_space(SPACE) if layer.kind == "MUL")
    with pytest.raises(InputError, match="no measured network has a layer of kind 'MUL'; measure networks that have"):
        model.microseconds(gating)
