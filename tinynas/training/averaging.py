"""A moving average of a network's weights, which is evaluated and kept in place of the last ones."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from ..arch.arch import Arch
from ..models.binding import Slot, slots_of, view
from ..models.network import Network
from ..models.supernet import Supernet

_WARMUP = 10  # updates after which the decay is about a half


class WeightAverage:
    """An exponential moving average of a subnet's weights and batch-norm statistics, updated after every step.

    After n updates the decay is at most (1 + n) / (10 + n), as TensorFlow's ExponentialMovingAverage has it, so that
    initial weights are soon forgotten. It takes part in a training's checkpoints.

    Args:
        supernet: The networks that are trained.
        arch: The subnet.
        decay: Weight of the earlier average in an update, below 1.
    """

    def __init__(self, supernet: Supernet, arch: Arch, *, decay: float) -> None:
        self._supernet = supernet
        self._decay = decay
        self._updates = 0
        self._net = supernet.extract(arch).requires_grad_(False)
        self._averages: dict[str, Tensor] = {}
        for name, tensor in self._net.state_dict().items():
            if tensor.is_floating_point():
                self._averages[name] = tensor
        self._largest: Network | None = None
        self._slots: dict[str, Slot] = {}

    def _present(self) -> list[Tensor]:
        """Return the supernet's tensors of which there are averages."""
        if self._largest is not self._supernet.net:  # which is another one when a supernet has shrunk
            self._largest = self._supernet.net
            self._slots = slots_of(self._largest)
        present = []
        for name, average in self._averages.items():
            tensors, key = self._slots[name]
            present.append(view(tensors[key], average.shape))
        return present

    @torch.no_grad()
    def update(self) -> None:
        """Add the present weights to the average."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (_WARMUP + self._updates))
        torch._foreach_lerp_(list(self._averages.values()), self._present(), 1 - decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Forget the earlier weights, when channels were sorted and are others now."""
        torch._foreach_copy_(list(self._averages.values()), self._present())

    def network(self) -> Network:
        """Return the subnet with the averages, in eval mode; a copy."""
        return deepcopy(self._net).eval()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"net": self._net.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with what a checkpoint has kept."""
        self._net.load_state_dict(state["net"])
        self._updates = state["updates"]
