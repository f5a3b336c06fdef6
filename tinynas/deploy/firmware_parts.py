"""What a firmware folder is written from: a network's int8 TFLite files, and how their ends are quantized."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..arch.arena import arena
from ..arch.operators import LoweredNetwork
from ..models.model_file import Model
from .runtimes import LiteRT


@dataclass(frozen=True, kw_only=True)
class FirmwarePart:
    """An int8 TFLite file, whose first output is the network's.

    Attributes:
        name: Name of the file without its ending.
        network: The lowered network, or part of one.
        content: The file's bytes.
        planned_for: The kernels that its memory plan is for, see `tinynas.arch.arena`.
    """

    name: str
    network: LoweredNetwork
    content: bytes
    planned_for: str = "reference"

    @cached_property
    def litert(self) -> LiteRT:
        """The file in LiteRT, with reference kernels."""
        return LiteRT(self.content, reference=True)

    def arena_bytes(self, kernels: str, bits: int = 32) -> int:
        """Return the bytes of TFLM's arena for the kernels and the size of pointers."""
        return arena(self.network, kernels=kernels, planned_for=self.planned_for, bits=bits).total


@dataclass(frozen=True, kw_only=True)
class FirmwareExits:
    """When an image exits early.

    Attributes:
        threshold: Confidence from which an image exits.
        temperatures: Temperature of each part's logits.
    """

    threshold: float
    temperatures: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class FirmwareModel:
    """A trained network as the files that run it on a microcontroller.

    Attributes:
        model: The trained network: its classes and preprocessing.
        parts: The file, or with early exits the files in the order in which they run. A part takes what the one before
            returns besides its logits.
        exits: When an image exits early; None without early exits.
    """

    model: Model
    parts: Sequence[FirmwarePart]
    exits: FirmwareExits | None = None

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """LiteRT's details of the network's outputs: those of the file, or with early exits the logits of each part."""
        if self.exits is None:
            return list(self.parts[0].litert.outputs)
        return [part.litert.outputs[0] for part in self.parts]

    @property
    def carried_bytes(self) -> int:
        """Bytes of the image, or of what a part carries over to the next, whichever is more."""
        sizes = []
        for part in self.parts:
            sizes.append(sum(tensor.size for tensor in part.network.inputs))
        return max(sizes)

    def arena_bytes(self, kernels: str, bits: int = 32) -> int:
        """Return the bytes of the arena in which all parts can run, one after the other."""
        return max(part.arena_bytes(kernels, bits) for part in self.parts)
