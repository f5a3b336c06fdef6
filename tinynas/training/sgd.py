"""The optimizer: torch.optim.SGD, without what only torch.compile needs."""

from inspect import unwrap

import torch


class SGD(torch.optim.SGD):
    """torch.optim.SGD whose methods do not import torch._dynamo, which takes as long as importing torch.

    PyTorch wraps them so that torch.compile leaves them out. The functions inside are the same.
    """

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    load_state_dict = unwrap(torch.optim.SGD.load_state_dict)
    state_dict = unwrap(torch.optim.SGD.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
    zero_grad = unwrap(torch.optim.SGD.zero_grad)
