"""Digests that tell whether data have changed."""

from collections.abc import Iterable
from hashlib import sha256

import torch
from torch import Tensor


def text_digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines of text, in their order."""
    return sha256("\n".join(lines).encode()).hexdigest()


def tensor_digest(*tensors: Tensor) -> str:
    """Return the SHA-256 of the type, shape and content of tensors, in their order."""
    content = sha256()
    for tensor in tensors:
        content.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()
