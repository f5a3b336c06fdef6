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

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set gradients to None, which PyTorch's method does in 10 times the time."""
        if not set_to_none:
            raise ValueError("set_to_none=False: gradients are always set to None")
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
