"""Networks for colour images as networks for grey ones."""

import torch

from helpers import model_of
from tinynas.models.grey import for_grey_images


def test_outputs_are_those_for_images_with_three_equal_channels(space):
    net = model_of(space.fitted_to(in_channels=3, classes=3).max()).net
    grey = for_grey_images(net)
    assert grey.arch.in_channels == 1
    assert not grey.training
    images = torch.randn(2, 1, *net.arch.input_shape[1:])
    with torch.no_grad():
        assert torch.allclose(grey(images), net(images.expand(-1, 3, -1, -1)), atol=1e-5)
