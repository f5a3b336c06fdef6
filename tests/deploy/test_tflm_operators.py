import numpy as np
import pytest

from helpers import images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.lowered_run import layer_weights
from tinynas.models.network import fold

pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
from tinynas.deploy.runtimes import LiteRT, TfliteMicro
from tinynas.deploy.tflite_writer import write_tflite
from tinynas.deploy.tflm_check import TflmFile
from tinynas.deploy.tflm_operators import largest_operator_step
from tinynas.utils.errors import FileError


@pytest.fixture
def written(any_space):
    """A network's int8 file, the network, and images as the file takes them."""
    arch = any_space.max()
    network, images = lower(arch), images_for(arch, 3)
    weights = layer_weights(network, fold(model_of(arch).net))
    content = write_tflite(network, weights, calibrate(network, weights, images).quantizations)
    return content, network, LiteRT(content, reference=True).quantized(images)


def test_operators_alone_compute_what_the_reference_kernels_do(written):
    content, _, images = written
    for image in images:
        assert largest_operator_step(content, [image[None]]) <= 1


def shifted(run, steps):
    """A function that runs a file and returns int8 outputs that are off by this many steps."""

    def run_shifted(*arguments):
        return [np.where(values > 0, values - steps, values + steps).astype(np.int8) for values in run(*arguments)]

    return run_shifted


def test_steps_that_a_deep_network_made_of_one_are_no_error(written, monkeypatch):
    content, network, images = written
    file = TflmFile("model.int8.tflite", content, network, planned_for="reference")
    monkeypatch.setattr(file._micro, "run", shifted(file._micro.run, 7))
    file.run([images[:1]])
    assert file.largest_step in (6, 7, 8)
    assert file.check() <= 1


def test_an_operator_that_differs_is_an_error(written, monkeypatch):
    content, network, images = written
    monkeypatch.setattr(TfliteMicro, "run", shifted(TfliteMicro.run, 3))
    file = TflmFile("model.int8.tflite", content, network, planned_for="reference")
    file.run([images[:1]])
    with pytest.raises(FileError, match=r"an operator by up to [345] steps of int8"):
        file.check()
