"""Whether TensorFlow Lite Micro (TFLM) computes what LiteRT's reference kernels do, in the memory that is counted."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from ..arch.arena import arena
from ..arch.operators import LoweredNetwork
from ..utils.errors import FileError
from .quantization import Array
from .runtimes import LiteRT, TfliteMicro, joined
from .tflm_operators import largest_operator_step

_LARGEST_STEP = 1  # between TFLM's int8 outputs and the reference kernels'


def has_tflm() -> bool:
    """Return whether TFLM is installed."""
    return find_spec("tflite_micro") is not None


class TflmFile:
    """An int8 file in TFLM, in an arena of the counted size, beside LiteRT's reference kernels.

    The TFLM that runs here is a 64-bit program, which takes more than one on a 32-bit chip.

    Attributes:
        name: Name of the file.
        reference: The file in LiteRT.
        images: Images that it has run.
        differing: Images with an output that differs from the reference kernels'.
        largest_step: Largest of these differences, in steps of int8.
        arena_bytes: Bytes of the arena that TFLM takes here.
        counted_bytes: Bytes of the arena that are counted for it.

    Args:
        name: Name of the file.
        content: Its bytes.
        network: The network in it.
        planned_for: The kernels that the offsets in the file are planned for.

    Raises:
        FileError: TFLM cannot run the file in an arena of the counted size.
        InputError: TFLM or LiteRT is not installed.
    """

    def __init__(self, name: str, content: bytes, network: LoweredNetwork, *, planned_for: str) -> None:
        self.name = name
        self.reference = LiteRT(content, reference=True)
        self.images = self.differing = self.largest_step = 0
        self._content = content
        self._worst_inputs: Sequence[Array] = ()
        self.counted_bytes = arena(network, planned_for=planned_for, bits=64).total
        try:
            self._micro = TfliteMicro(content, arena_bytes=self.counted_bytes)
        except FileError as error:
            raise FileError(f"{name}: {error}; nothing is written, please report it") from None
        self.arena_bytes = sum(self._micro.arena_bytes())

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the file in both programs, and return TFLM's int8 outputs."""
        outputs, step = self._micro.run(inputs), 0
        for values, expected in zip(outputs, self.reference.run(inputs), strict=True):
            step = max(step, int(np.abs(values.astype(int) - expected.astype(int)).max()))
        self.images += 1
        self.differing += step > 0
        if step > self.largest_step:
            self.largest_step, self._worst_inputs = step, tuple(inputs)
        return outputs

    def check(self) -> int:
        """Return the largest difference from the reference kernels' in steps of int8: of outputs, or of operators.

        Where outputs differ by more than a step, the operators are compared one by one: a deep network may make more of
        a single step.

        Raises:
            FileError: An operator alone differs by more than a step.
        """
        if self.largest_step <= _LARGEST_STEP:
            return self.largest_step
        step = largest_operator_step(self._content, self._worst_inputs)
        if step > _LARGEST_STEP:
            raise FileError(
                f"{self.name} computes other outputs in TFLM than in LiteRT's reference kernels, an operator by up to "
                f"{step} steps of int8 (allowed {_LARGEST_STEP}); nothing is written, please report it"
            )
        return step


class TflmNetwork:
    """A network's int8 file in TFLM: images (N, C, H, W) -> what the network returns.

    Args:
        file: The file.
    """

    int8 = True

    def __init__(self, file: TflmFile) -> None:
        self.name, self.files = f"{file.name} in TFLM", [file]

    def run(self, images: Tensor) -> Tensor:
        """Return the outputs for images (N, C, H, W)."""
        (file,), rows = self.files, []
        for image in file.reference.quantized(images):
            rows.append(joined(file.reference.dequantized(file.run([image[None]]))))
        return torch.from_numpy(np.concatenate(rows))


class TflmExits:
    """The int8 files of all parts of a network with early exits in TFLM: images (N, C, H, W) -> (N, parts, classes).

    Args:
        files: The files, in the order in which they run.
    """

    name, int8 = "the files in TFLM", True

    def __init__(self, files: Sequence[TflmFile]) -> None:
        self.files = list(files)

    def run(self, images: Tensor) -> Tensor:
        """Return the logits of every part for images (N, C, H, W)."""
        rows = []
        for image in self.files[0].reference.quantized(images):
            carried, logits = [image[None]], []
            for file in self.files:
                outputs = file.run(carried)
                logits.append(file.reference.dequantized(outputs)[0])
                carried = outputs[1:]
            rows.append(np.stack(logits, 1))
        return torch.from_numpy(np.concatenate(rows))
