"""Copies of tensors to a device."""

import torch
from torch import Tensor

CPU = torch.device("cpu")


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device. A GPU copies it while this program goes on: from memory that is not swapped out."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
