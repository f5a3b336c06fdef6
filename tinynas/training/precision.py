"""Mixed precision: forward passes in bf16 or fp16, weights and their updates in fp32."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from ..utils.errors import InputError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, device: torch.device) -> None:
    """Check that the device computes in this precision.

    Raises:
        InputError: It does not.
    """
    if precision == "fp16" and device.type != "cuda":
        raise InputError("precision fp16 needs a GPU of CUDA; elsewhere use fp32, or bf16 where it is supported")


@dataclass(frozen=True)
class MixedPrecision:
    """How a step computes (Micikevicius et al., ICLR 2018); both parts do nothing in fp32."""

    autocast: AbstractContextManager[object]  # of forward passes
    scaler: torch.amp.GradScaler  # for fp16, scales losses so that no gradient vanishes

    @classmethod
    def for_device(cls, precision: str, device: torch.device) -> "MixedPrecision":
        """Return how to compute in "fp32", "bf16" or "fp16" on the device.

        Raises:
            InputError: The device does not support the precision.
        """
        check_precision(precision, device)
        autocast = nullcontext() if precision == "fp32" else torch.autocast(device.type, _DTYPES[precision])
        return cls(
            autocast=autocast,
            scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        )
