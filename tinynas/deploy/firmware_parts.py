"""What a firmware folder is written from: a network's int8 TFLite files, and how their ends are quantized."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..arch.arena import ALIGNMENT, arena
from ..arch.memory_plan import aligned
from ..arch.operators import LoweredNetwork
from ..models.model_file import Model
from .runtimes import LiteRT
from .vela import NPU_OPERATOR, CompiledFile

_NPU_BYTES, _NPU_BYTES_PER_END = 512, 128  # with 1 input and 1 output 452 are used in all, with 2 outputs 536


@dataclass(frozen=True, kw_only=True)
class FirmwarePart:
    """An int8 TFLite file, whose first output is the network's.

    Attributes:
        name: Name of the file without its ending.
        network: The lowered network, or part of one.
        content: The file's bytes.
        planned_for: The kernels that its memory plan is for, see `tinynas.arch.arena`.
        compiled: What runs in its place on an Ethos-U; None without one.
    """

    name: str
    network: LoweredNetwork
    content: bytes
    planned_for: str = "reference"
    compiled: CompiledFile | None = None

    @property
    def stored(self) -> bytes:
        """The bytes that the microcontroller has in flash."""
        return self.compiled.content if self.compiled else self.content

    @property
    def operators(self) -> set[str]:
        """Kinds of the operators that TFLM runs."""
        if self.compiled:
            return {NPU_OPERATOR, *(operator.split()[0] for operator in self.compiled.estimate.cpu_operators)}
        return {operator.kind for operator in self.network.operators}

    @cached_property
    def litert(self) -> LiteRT:
        """The file in LiteRT, with reference kernels."""
        return LiteRT(self.content, reference=True)

    def arena_bytes(self, kernels: str, bits: int = 32) -> int:
        """Return the bytes of TFLM's arena for the kernels and the size of pointers.

        For a compiled file it is an upper bound: the memory that Vela has planned, and TFLM's structs for the few
        tensors that are left.
        """
        if self.compiled:
            ends = len(self.network.inputs) + len(self.network.outputs) + len(self.compiled.estimate.cpu_operators)
            return aligned(self.compiled.estimate.sram + _NPU_BYTES + _NPU_BYTES_PER_END * ends, ALIGNMENT)
        return arena(self.network, kernels=kernels, planned_for=self.planned_for, bits=bits).total


@dataclass(frozen=True, kw_only=True)
class FirmwareExits:
    """When an image exits early.

    Attributes:
        thresholds: Confidence from which an image exits, of each part but the last.
        temperatures: Temperature of each part's logits.
    """

    thresholds: Sequence[float]
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
    def has_npu(self) -> bool:
        """Whether the files are compiled for an Ethos-U."""
        return self.parts[0].compiled is not None

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
