import re
from dataclasses import replace

import numpy as np
import pytest

from helpers import TINY, images_for, model_of
from tinynas import load_space
from tinynas.arch.arena import arena
from tinynas.arch.lowering import lower
from tinynas.deploy import runtimes
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.lowered_run import layer_weights
from tinynas.models.network import fold
from tinynas.utils.errors import FileError, InputError


def int8_file(arch):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    from tinynas.deploy.tflite_writer import write_tflite

    network, images = lower(arch), images_for(arch, 4)
    weights = layer_weights(network, fold(model_of(arch).net))
    return write_tflite(network, weights, calibrate(network, weights, images).quantizations)


@pytest.fixture(scope="module")
def content():
    return int8_file(TINY)


def check_needed_arena(arch):
    """TFLM runs a network in the predicted arena, and not in 16 B less."""
    content, total = int8_file(arch), arena(lower(arch), bits=64).total
    runtimes.TfliteMicro(content, arena_bytes=total)
    with pytest.raises(FileError, match=re.escape(f"TFLM cannot run the file in an arena of {total - 16:,} B: ")):
        runtimes.TfliteMicro(content, arena_bytes=total - 16)


@pytest.mark.parametrize("resolution", [8, 16, 24, 32, 48])
def test_tflm_runs_a_tiny_network_in_the_predicted_arena_and_not_in_less(resolution):
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    check_needed_arena(replace(TINY, resolution=resolution))


def test_tflm_runs_networks_in_the_predicted_arena_and_not_in_less(any_space, rng):
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    for _ in range(10):
        check_needed_arena(any_space.sample(rng))


@pytest.mark.parametrize("space", ["micro", "ds-cnn", "detect"])
@pytest.mark.parametrize("resolution", [8, 24])
def test_tflm_prepares_wide_layers_of_few_pixels_in_the_predicted_arena_and_not_in_less(space, resolution):
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    check_needed_arena(replace(load_space(space).max(), resolution=resolution))


@pytest.mark.parametrize("kind", ["foreign", "truncated"])
def test_corrupt_files_are_reported(content, kind):
    corrupt = b"not a network" * 100 if kind == "foreign" else content[: len(content) // 2]
    for run in (runtimes.LiteRT, runtimes.TfliteMicro):
        if run is runtimes.TfliteMicro:
            pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
        with pytest.raises(FileError, match=r"corrupt, or not a TFLite file: .*; export it again"):
            run(corrupt)


def test_missing_packages_are_named(content, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=re.escape("a .tflite file needs LiteRT; pip install 'tinynas[tflite]'")):
        runtimes.LiteRT(content)
    with pytest.raises(InputError, match=re.escape("not checked on TFLM: pip install 'tinynas[mcu]'")):
        runtimes.TfliteMicro(content)


def test_quantized_images_are_channels_last_and_clipped(content):
    litert = runtimes.LiteRT(content)
    scale, zero_point = litert.inputs[0]["quantization"]
    images = images_for(TINY, 2).clamp(-1.5, 1.5)  # inside the calibrated range
    quantized = litert.quantized(images)
    assert quantized.shape == (2, 8, 8, 1)
    back = scale * (quantized.astype(np.float64) - zero_point)
    assert np.abs(back - images.numpy().transpose(0, 2, 3, 1)).max() < 0.501 * scale
    assert litert.quantized(1e6 * images.abs() + 1e6).min() == 127
