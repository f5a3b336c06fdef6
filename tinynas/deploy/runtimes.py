"""Programs of others that run a TFLite file on this machine: LiteRT, and TensorFlow Lite Micro (TFLM)."""

import re
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import FileError, InputError
from ..utils.quiet import output_discarded, stderr_descriptor_captured
from .exported_file import run_in_batches
from .quantization import Array

NOT_CHECKED = "not checked on TFLM: pip install 'tinynas[mcu]'"
_LARGEST_ARENA = 64 << 20  # bytes; more than any network that fits on a microcontroller


class LiteRT:
    """Runs a TFLite file in LiteRT, on one thread, one image at a time.

    Args:
        content: The file's bytes.
        reference: Whether to use the reference kernels, which define what int8 operators compute, instead of the fast
            ones.

    Raises:
        FileError: The content is no TFLite file.
        InputError: The extra `tflite` is not installed.
    """

    def __init__(self, content: bytes, *, reference: bool = False) -> None:
        check_litert()
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        try:
            with output_discarded():  # the choice of kernels is logged from C++
                self.interpreter = Interpreter(
                    model_content=content, num_threads=1, experimental_op_resolver_type=kernels
                )
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).partition(".")[0]
            raise FileError(f"corrupt, or not a TFLite file: {reason}; export it again") from error
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for the file's inputs, such as an image (1, H, W, C); int8 or fp32, as in the file."""
        for details, values in zip(self.inputs, inputs, strict=True):
            self.interpreter.set_tensor(details["index"], values)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(output["index"]).copy() for output in self.outputs]

    def quantized(self, images: Tensor) -> Array:
        """Return images (N, C, H, W) as the file takes them: (N, H, W, C), int8 or fp32."""
        channels_last = np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))
        scale, zero_point = self.inputs[0]["quantization"]
        if not scale:
            return channels_last
        quantized: Array = np.clip(np.round(channels_last / scale) + zero_point, -128, 127).astype(np.int8)
        return quantized

    def dequantized(self, outputs: Sequence[Array]) -> list[Array]:
        """Return outputs as fp32."""
        floats = []
        for values, details in zip(outputs, self.outputs, strict=True):
            scale, zero_point = details["quantization"]
            floats.append((scale * (values.astype(np.float32) - zero_point)).astype(np.float32) if scale else values)
        return floats


class NetworkRunner:
    """Runs the TFLite file of a network on any number of images: (N, C, H, W) -> what the network returns.

    Args:
        content: The file's bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.litert = LiteRT(content)

    def __call__(self, images: Tensor) -> Tensor:
        return run_in_batches(self._run_image, images, 1)

    def _run_image(self, image: Array) -> Array:
        outputs = self.litert.run([self.litert.quantized(torch.from_numpy(image))])
        return joined(self.litert.dequantized(outputs))


class TfliteMicro:
    """Runs an int8 file in TFLM, as the package `tflite-micro` has it: reference kernels, 64-bit.

    Args:
        content: The file's bytes.
        arena_bytes: Size of the arena.

    Raises:
        FileError: The content is no TFLite file, or TFLM cannot run it in the arena.
        InputError: The package is not installed.
    """

    def __init__(self, content: bytes, *, arena_bytes: int = _LARGEST_ARENA) -> None:
        if not find_spec("tflite_micro"):
            raise InputError(NOT_CHECKED)
        from tflite_micro.python.tflite_micro import runtime

        self.num_outputs = len(LiteRT(content).outputs)  # which also verifies the file: TFLM crashes on a corrupt one
        with stderr_descriptor_captured() as log:
            try:
                self.interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
            except RuntimeError as error:
                log.seek(0)
                reason = log.read().decode(errors="replace").partition("\n")[0].strip()
                raise FileError(f"TFLM cannot run the file in an arena of {arena_bytes:,} B: {reason}") from error

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for the file's int8 inputs, such as an image (1, H, W, C)."""
        for number, values in enumerate(inputs):
            self.interpreter.set_input(values, number)
        self.interpreter.invoke()
        return [self.interpreter.get_output(number).copy() for number in range(self.num_outputs)]

    def arena_bytes(self) -> tuple[int, int]:
        """Return the sizes of the arena's head and tail in use, see `tinynas.arch.arena`."""
        with stderr_descriptor_captured() as log:
            self.interpreter.print_allocations()
            log.seek(0)
            text = log.read().decode()
        return _allocated(text, "head"), _allocated(text, "tail")


def check_litert() -> None:
    """Raise InputError if the extra `tflite` is not installed."""
    if not (find_spec("ai_edge_litert") and find_spec("flatbuffers")):
        raise InputError("a .tflite file needs LiteRT; pip install 'tinynas[tflite]', or export --to onnx")


def joined(outputs: Sequence[Array]) -> Array:
    """Return the outputs of a network's file as the network returns them: logits, or predictions (1, P, 4 + classes).

    A detector's file has two outputs for each feature map: boxes (1, H, W, 4) and classes (1, H, W, classes).
    """
    if outputs[0].ndim == 2:
        (logits,) = outputs
        return logits
    predictions = []
    for boxes, classes in zip(outputs[::2], outputs[1::2], strict=True):
        of_map = np.concatenate([boxes, classes], axis=3)
        predictions.append(of_map.reshape(1, -1, of_map.shape[3]))
    return np.concatenate(predictions, axis=1)


def _allocated(text: str, part: str) -> int:
    match = re.search(rf"Arena allocation {part} (\d+) bytes", text)
    assert match, text
    return int(match.group(1))
