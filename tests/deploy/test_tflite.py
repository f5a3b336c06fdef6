import pytest
import torch
from kinds import tflite_spaces

from helpers import images_for, model_of
from tinynas import load_arch, load_space
from tinynas.arch.zoo import shipped_networks
from tinynas.deploy.qat import TrainingImages


@pytest.fixture
def tflite():
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    from tinynas.deploy.tflite import to_tflite

    return to_tflite


@pytest.mark.parametrize("name", [*tflite_spaces(), *shipped_networks()])
def test_to_tflite_files_compute_what_torch_does(tflite, name):
    arch = load_arch(name) if name in shipped_networks() else load_space(name).min()
    model, images = model_of(arch), images_for(arch, 4)
    fp32, int8 = tflite(model, calibration=[images[:2], images[2:]])
    with torch.no_grad():
        expected = model.net(images)
    torch.testing.assert_close(fp32.run(images), expected, atol=1e-4, rtol=1e-4)
    assert (int8.run(images) - expected).norm() < 0.1 * expected.norm()
    assert (fp32.name, int8.name) == ("model.tflite", "model.int8.tflite")


def test_to_tflite_exports_every_kind_of_choice(tflite, any_space, rng):
    for arch in [any_space.max(), *(any_space.sample(rng) for _ in range(3))]:
        model, images = model_of(arch), images_for(arch, 4)
        (fp32,) = tflite(model)
        with torch.no_grad():
            torch.testing.assert_close(fp32.run(images), model.net(images), atol=1e-4, rtol=1e-4)


def test_same_inputs_give_the_same_file(tflite, space):
    model, images = model_of(space.max()), images_for(space.max(), 8)
    first, second = (tflite(model, calibration=[images])[1] for _ in range(2))
    assert first.content == second.content
    assert (first.calibration, first.output_error) == (second.calibration, second.output_error)


def test_fine_tuned_weights_are_only_in_the_int8_file(tflite, space):
    model, images = model_of(space.max()), images_for(space.max(), 8)
    fp32, int8 = tflite(model, calibration=[images])
    training = TrainingImages(batches=[images] * 30, steps=30)
    tuned_fp32, tuned_int8 = tflite(model, calibration=[images], training=training)
    assert tuned_fp32.content == fp32.content
    assert tuned_int8.content != int8.content
    assert len(tuned_int8.content) == len(int8.content)
    assert tuned_int8.output_error < int8.output_error
    with torch.no_grad():
        expected = model.net(images)
    error = (tuned_int8.run(images) - expected).norm() / expected.norm()
    assert error.item() == pytest.approx(tuned_int8.output_error, rel=0.3)
