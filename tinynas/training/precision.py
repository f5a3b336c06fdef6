"""How a training step computes: fp32, or forward passes in mixed precision."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..utils.distributed import average
from ..utils.errors import InputError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InputError if the device has no such arithmetic."""
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU; on a CPU take fp32, or bf16 where it has that")


class Gradient(NamedTuple):
    """What a backward pass left in the model: the first loss, and whether all losses and gradients are finite."""

    loss: float
    finite: bool


class Arithmetic:
    """How a step computes: in which precision, and for fp16 with losses scaled so that no gradient vanishes.

    Mixed precision (Micikevicius et al., ICLR 2018).
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        check_precision(precision, device)
        self.autocast = torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def backward(
        self, model: nn.Module, optimizer: Optimizer, losses: Iterator[Tensor], *, max_grad_norm: float
    ) -> Gradient:
        """Leave the gradient of the sum of the losses in the model, its L2 norm clipped to `max_grad_norm` (0: not)."""
        optimizer.zero_grad()
        done = []
        for loss in self._computed(losses):
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            done.append(loss.detach())
        loss = average(model, done[0])
        self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm or float("inf"))
        self.scaler.update()
        return Gradient(loss.item(), bool(torch.stack([loss, norm]).isfinite().all()))

    def _computed(self, losses: Iterator[Tensor]) -> Iterator[Tensor]:
        """Each loss, its forward pass in the precision, what is done with it not."""
        while True:
            with self.autocast:
                loss = next(losses, None)
            if loss is None:
                return
            yield loss
