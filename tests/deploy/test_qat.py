from dataclasses import replace

import torch

from helpers import TINY, images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.deploy.calibration import calibrate, output_error, quantize_by
from tinynas.deploy.histograms import collect_histograms
from tinynas.deploy.lowered_run import layer_weights
from tinynas.deploy.qat import TrainingImages, fine_tune
from tinynas.models.network import fold


def with_large_channel():
    """Return a network that min-max ruins, its weights, and images.

    A channel of the projection is 100 times as large, and the classifier's weights that read it as small: the same
    function, but the scale of int8 is too coarse for the other channels.
    """
    arch = replace(TINY, resolution=16, classes=4, stages=((InvertedResidual(out=8, kernel=3, mid=16),),))
    network = lower(arch)
    weights = layer_weights(network, fold(model_of(arch).net))
    project, classifier = weights["stages.0.0.project"], weights["head.classifier"]
    project.weight[0] *= 100
    project.bias[0] *= 100
    classifier.weight[:, 0] /= 100
    return network, weights, images_for(arch, 64)


def training_on(images, epochs):
    return TrainingImages(batches=[images[:32], images[32:]] * epochs, steps=2 * epochs)


def test_fine_tuning_improves_a_network_that_min_max_ruins():
    network, weights, images = with_large_channel()
    extremes = quantize_by("min-max", network, collect_histograms(network, weights, images))
    assert output_error(network, weights, weights, extremes, images) > 0.5
    int8 = calibrate(network, weights, images)
    tuned = fine_tune(network, int8, training_on(images, 300), images)
    assert tuned.error < 0.6 * int8.error
    error = output_error(network, weights, tuned.weights, tuned.quantizations, images)
    assert error == tuned.error
    assert tuned.quantizations == int8.quantizations


def test_fine_tuning_does_not_change_the_fp32_weights_and_is_deterministic():
    network, weights, images = with_large_channel()
    before = {name: layer.weight.clone() for name, layer in weights.items()}
    int8 = calibrate(network, weights, images)
    first, second = (fine_tune(network, int8, training_on(images, 2), images) for _ in range(2))
    for name, layer in weights.items():
        assert torch.equal(layer.weight, before[name])
        assert torch.equal(first.weights[name].weight, second.weights[name].weight)
    assert not torch.equal(first.weights["stem"].weight, before["stem"])


def test_network_that_fine_tuning_does_not_improve_stays_as_it_was():
    network, weights, images = with_large_channel()
    int8 = calibrate(network, weights, images)
    assert fine_tune(network, int8, TrainingImages(batches=[], steps=1), images) is int8


def test_fine_tuning_trains_a_detector(detectors):
    """All of its outputs are learned."""
    arch = detectors.max()
    network, images = lower(arch), images_for(arch, 8)
    net = model_of(arch).net
    for layer in (*net.head.boxes, *net.head.classifier):
        torch.nn.init.normal_(layer.weight, std=0.3)  # fresh ones say nothing
    int8 = calibrate(network, layer_weights(network, fold(net)), images)
    tuned = fine_tune(network, int8, TrainingImages(batches=[images] * 20, steps=20), images)
    assert tuned.error < int8.error
