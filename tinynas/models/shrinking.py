"""Supernets that go on with a part of their weights, when the networks around a target are no longer trained."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..arch.space import SearchSpace
from .binding import slots_of, view
from .supernet import Supernet


@torch.no_grad()
def shrink(supernet: Supernet, space: SearchSpace, optimizer: Optimizer) -> None:
    """Leave of a supernet what a smaller search space needs, with its momentum; nothing of it changes.

    A network then trains as fast as outside of a supernet: on tensors of its own, without updates of what is around
    them. Parameters stay the same objects, so that the optimizer goes on with them.

    Args:
        supernet: The supernet.
        space: A search space whose largest network has the layers of the supernet's, with as many channels or fewer.
        optimizer: Optimizer of the supernet's parameters.

    Raises:
        InputError: The space is not a part of the supernet.
    """
    net = supernet.extract(space.max())
    parameters = dict(supernet.net.named_parameters())
    for name, (tensors, key) in slots_of(net).items():
        if isinstance(tensors[key], nn.Parameter):
            parameter = parameters[name]
            _cut(parameter, tensors[key], optimizer)
            tensors[key] = parameter
    supernet.use_net(net, space)


def _cut(parameter: nn.Parameter, values: Tensor, optimizer: Optimizer) -> None:
    """Let a parameter have these values, those of a part of it; cut the optimizer's tensors alike."""
    state = optimizer.state.get(parameter, {})
    for key, value in state.items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            state[key] = torch.empty_like(values).copy_(view(value, values.shape))
    parameter.grad = None
    parameter.data = values.data
