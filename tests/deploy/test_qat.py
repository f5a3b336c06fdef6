from dataclasses import replace

import torch

from helpers import TINY, images_for, model_of
from tinynas.arch.blocks import Block
from tinynas.arch.lowering import lower
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.lowered_run import layer_weights
from tinynas.deploy.qat import TrainingImages, fine_tune
from tinynas.models.network import fold


def spread_channels():
    """Return a network whose wide expansion has channels of very different sizes, its weights, and images.

    Channel c of the expansion is multiplied by 4**c and the depthwise kernel that reads it divided: the same function,
    but a single int8 scale for all channels is too coarse for the small ones.
    """
    block = Block(out=4, kernel=3, mid=6, act="relu")
    arch = replace(TINY, resolution=16, stages=((block,),))
    network = lower(arch)
    weights = layer_weights(network, fold(model_of(arch).net))
    factors = 4.0 ** torch.arange(6)
    expand, depthwise = weights["stages.0.0.expand"], weights["stages.0.0.depthwise"]
    expand.weight.mul_(factors[:, None, None, None])
    expand.bias.mul_(factors)
    depthwise.weight.div_(factors[:, None, None, None])
    return network, weights, images_for(arch, 64)


def test_fine_tuning_improves_a_network_that_int8_ruins():
    network, weights, images = spread_channels()
    int8 = calibrate(network, weights, images)
    training = TrainingImages(batches=[images[:32], images[32:]] * 100, steps=200)
    tuned = fine_tune(network, int8, training, images)
    assert tuned.error < 0.9 * int8.error
