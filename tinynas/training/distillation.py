"""A teacher: a trained network whose outputs are soft labels for another."""

from hashlib import sha256

import torch
from torch import Tensor, nn

from ..data.base import Batch
from ..models.model_file import digest
from ..models.network import Network
from ..utils.distributed import device
from ..utils.io import to_json
from .precision import MixedPrecision


class Teacher:
    """A network in eval mode that is evaluated on training images, without gradient.

    Args:
        net: The network.
        precision: "fp32", "bf16" or "fp16", that of the retraining.
    """

    def __init__(self, net: nn.Module, *, precision: str = "fp32") -> None:
        self.net = net.eval().requires_grad_(False).to(device())
        self.precision = precision
        self._autocast = MixedPrecision.for_device(precision, device()).autocast

    def __call__(self, batch: Batch) -> Tensor:
        """Return the outputs for a batch: logits (N, classes), or a detector's (N, P, 4 + classes)."""
        return self.evaluate(batch.images)

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> Tensor:
        """Return the outputs for images (N, C, H, W), in fp32."""
        with self._autocast:
            outputs: Tensor = self.net(images)
        return outputs.float()

    def digest(self) -> str:
        """Return the SHA-256 of the network: of its structure and of its weights."""
        structure = to_json(self.net.arch.to_dict()) if isinstance(self.net, Network) else repr(self.net)
        return sha256(f"{structure} {digest(self.net.state_dict())}".encode()).hexdigest()
