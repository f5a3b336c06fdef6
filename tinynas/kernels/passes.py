"""Passes of a program over a batch: training, with gradients by autograd, and evaluation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import InputError
from .program import Program, c_array
from .shared_library import load_library
from .threads import kernel_threads

_ALIGNMENT = 64


class TensorTable:
    """The tensors that programs refer to by number.

    Args:
        slots: For each tensor, the parameters or buffers of its module, and its name among them.
    """

    def __init__(self, slots: Sequence[tuple[dict[str, Any], str]]) -> None:
        self._slots = slots
        self._gradients: dict[int, tuple[Tensor, Tensor]] = {}  # a parameter and memory for its gradient, by number

    def __getitem__(self, number: int) -> Tensor:
        tensors, name = self._slots[number]
        tensor: Tensor = tensors[name]
        return tensor

    def addresses(self) -> Any:
        """Return the addresses of all tensors, a C array."""
        return c_array([tensors[name].data_ptr() for tensors, name in self._slots])

    def trains(self, program: Program) -> bool:
        """Return whether one of the program's tensors requires a gradient."""
        return any(self[number].requires_grad for number in program.tensors)

    @torch.no_grad()
    def gradients(self, program: Program) -> Any:
        """Return the addresses of the parameters' gradients, a C array; those that were None are 0 from now on."""
        addresses = [0] * len(self._slots)
        new = []
        for number in program.tensors:
            parameter = self[number]
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                parameter.grad = self._gradient_memory(number, parameter)
                new.append(parameter.grad)
            addresses[number] = parameter.grad.data_ptr()
        if new:
            torch._foreach_zero_(new)
        return c_array(addresses)

    def _gradient_memory(self, number: int, parameter: Tensor) -> Tensor:
        """Return memory for the gradient of a parameter, in its layout; kept, so that steps do not allocate it."""
        kept, memory = self._gradients.get(number, (None, None))
        if memory is None or kept is not parameter:
            memory = torch.empty_like(parameter)
            self._gradients[number] = parameter, memory
        return memory


def run_training(program: Program, table: TensorTable, images: Tensor, *, tracks: bool) -> tuple[Tensor, ...]:
    """Run a program with the batch's statistics in its norms.

    Args:
        program: The program.
        table: The tensors that it refers to. In the backward pass gradients are added to those of its parameters.
        images: (N, C, H, W), fp32, without gradient.
        tracks: Whether the running statistics are updated.

    Returns:
        The program's outputs, (N, C, H, W), or (N, C) of averages.

    Raises:
        InputError: A norm has a single value per channel: one image, and a map of one pixel.
    """
    if len(images) * program.fewest_pixels < 2:
        raise InputError("batch norm in training needs two values per channel, but has one; use a larger batch")
    trigger = torch.zeros((), requires_grad=torch.is_grad_enabled() and table.trains(program))
    outputs: tuple[Tensor, ...] = _TrainingPass.apply(trigger, program, table, images, tracks)
    return outputs


def run_evaluation(program: Program, table: TensorTable, images: Tensor) -> tuple[Tensor, ...]:
    """Run a program with running statistics in its norms, without gradients. As `run_training` otherwise."""
    functions, threads = load_library().functions, kernel_threads()
    images, outputs = images.contiguous(), _outputs(program, len(images))
    memory = _memory(
        functions.evaluation_size(program.operations, program.length, threads, program.outputs, len(outputs))
    )
    functions.evaluate(
        program.operations,
        program.length,
        len(images),
        threads,
        table.addresses(),
        images.data_ptr(),
        memory.data_ptr(),
        program.outputs,
        _addresses(outputs),
        len(outputs),
    )
    return outputs


class _TrainingPass(torch.autograd.Function):
    """The autograd node of a program: its parameters get their gradients as a side effect of the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, trigger: Tensor, program: Program, table: TensorTable, images: Tensor, tracks: bool
    ) -> tuple[Tensor, ...]:
        functions, threads = load_library().functions, kernel_threads()
        images, outputs, addresses = images.contiguous(), _outputs(program, len(images)), table.addresses()
        keeps = ctx.needs_input_grad[0]
        memory = _memory(
            functions.forward_size(
                program.operations, program.length, len(images), threads, keeps, program.outputs, len(outputs)
            )
        )
        functions.forward(
            program.operations,
            program.length,
            len(images),
            threads,
            addresses,
            images.data_ptr(),
            tracks,
            keeps,
            memory.data_ptr(),
            program.outputs,
            _addresses(outputs),
            len(outputs),
        )
        ctx.pass_ = program, table, addresses, memory, len(images), threads
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        program, table, addresses, kept, batch, threads = ctx.pass_
        functions = load_library().functions
        gradients = tuple(gradient.contiguous() for gradient in gradients)
        memory = _memory(
            functions.backward_size(program.operations, program.length, batch, threads, program.outputs, len(gradients))
        )
        functions.backward(
            program.operations,
            program.length,
            batch,
            threads,
            addresses,
            table.gradients(program),
            kept.data_ptr(),
            memory.data_ptr(),
            program.outputs,
            _addresses(gradients),
            len(gradients),
        )
        return None, None, None, None, None


def _memory(size: int) -> Tensor:
    """Return memory of at least `size` bytes, aligned for the kernels."""
    memory = torch.empty(size + _ALIGNMENT, dtype=torch.uint8)
    return memory[-memory.data_ptr() % _ALIGNMENT :]


def _outputs(program: Program, batch: int) -> tuple[Tensor, ...]:
    """Return tensors without values for the outputs of a batch."""
    return tuple(torch.empty((batch, *shape)) for shape in program.output_shapes)


def _addresses(tensors: Sequence[Tensor]) -> Any:
    """Return the addresses of tensors, a C array."""
    return c_array([tensor.data_ptr() for tensor in tensors])
