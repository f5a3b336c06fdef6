"""Networks for colour images, made into networks for grey ones."""

from dataclasses import replace

import torch

from .layers import without_initial_values
from .network import Network

_STEM = "stem.conv.weight"  # (out, in_channels, H, W)


@torch.no_grad()
def for_grey_images(net: Network) -> Network:
    """Return a network for images with one channel that computes what a network does for images with equal channels.

    The kernels of its stem are the sums of the other's over the input channels.

    Args:
        net: A network with any number of input channels, which is not changed.
    """
    with without_initial_values():
        grey = Network(replace(net.arch, in_channels=1))
    state = net.state_dict()
    state[_STEM] = state[_STEM].sum(1, keepdim=True)
    grey.load_state_dict(state)
    return grey.train(net.training)
