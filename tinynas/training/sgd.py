"""The optimizer: torch.optim.SGD, without what only torch.compile needs."""

from inspect import unwrap
from typing import Any

import torch
from torch import Tensor


class SGD(torch.optim.SGD):
    """torch.optim.SGD whose methods do not import torch._dynamo, which takes as long as importing torch.

    PyTorch wraps them so that torch.compile leaves them out. The functions inside are the same.
    """

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    _load = unwrap(torch.optim.SGD.load_state_dict)
    state_dict = unwrap(torch.optim.SGD.state_dict)
    _update = torch.no_grad()(unwrap(torch.optim.SGD.step))

    def step(self, *, skip: Tensor | None = None) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient.

        Args:
            skip: A scalar on the parameters' device, 1 to leave everything as it is, 0 to update. That is decided on
                the device, so that a GPU is not waited for.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                # PyTorch's own first step would leave a buffer without values if it is skipped.
                if parameter.grad is not None and group["momentum"] and parameter not in self.state:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.found_inf = skip  # where torch.amp.GradScaler leaves the same for fused optimizers
        self._update()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, in the parameters' memory format, which may be another on the device of the earlier process."""
        self._load(state_dict)
        for parameter, state in self.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter).copy_(value)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set gradients to None, which PyTorch's method does in 10 times the time."""
        if not set_to_none:
            raise ValueError("set_to_none=False: gradients are always set to None")
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
