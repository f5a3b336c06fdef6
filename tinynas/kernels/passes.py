"""Passes of a program over a batch: training, with gradients by autograd, and evaluation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import InputError
from .program import Program, c_array
from .shared_library import KernelLibrary, load_library

_ALIGNMENT = 64


class TensorTable:
    """The tensors that programs refer to by number.

    Args:
        slots: For each tensor, the parameters or buffers of its module, and its name among them.
    """

    def __init__(self, slots: Sequence[tuple[dict[str, Any], str]]) -> None:
        self._slots = slots
        self._gradients: dict[int, Tensor] = {}  # kept, so that a step does not allocate them

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
        """Return memory for the gradient of a parameter, in the parameter's layout."""
        memory = self._gradients.get(number)
        if memory is None or memory.shape != parameter.shape or memory.stride() != parameter.stride():
            memory = torch.empty_like(parameter)
            self._gradients[number] = memory
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
    library, threads = load_library(), torch.get_num_threads()
    packed = _pack(images, library)
    outputs = []
    for shape in program.output_shapes:
        outputs.append(_floats(_packed_shape(len(images), shape, library)))
    memory = _memory(
        library.functions.evaluation_size(program.operations, program.length, threads, program.outputs, len(outputs))
    )
    library.functions.evaluate(
        program.operations,
        program.length,
        len(images),
        threads,
        table.addresses(),
        packed.data_ptr(),
        memory.data_ptr(),
        program.outputs,
        _addresses(outputs),
        len(outputs),
    )
    return tuple(_unpack(output, len(images)) for output in outputs)


class _TrainingPass(torch.autograd.Function):
    """The autograd node of a program: its parameters get their gradients as a side effect of the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, trigger: Tensor, program: Program, table: TensorTable, images: Tensor, tracks: bool
    ) -> tuple[Tensor, ...]:
        library, threads, count = load_library(), torch.get_num_threads(), len(program.outputs)
        packed = _pack(images, library)
        keeps = ctx.needs_input_grad[0]
        size = library.functions.forward_size(
            program.operations, program.length, len(images), threads, keeps, program.outputs, count
        )
        memory = _memory(size)
        maps = c_array([0] * count)
        library.functions.forward(
            program.operations,
            program.length,
            len(images),
            threads,
            table.addresses(),
            packed.data_ptr(),
            tracks,
            keeps,
            memory.data_ptr(),
            program.outputs,
            maps,
            count,
        )
        ctx.pass_ = program, table, packed, memory, threads
        ctx.batch = len(images)
        outputs = []
        for address, shape in zip(maps, program.output_shapes, strict=True):
            full = _packed_shape(len(images), shape, library)
            first = address - memory.data_ptr()
            values = memory[first : first + 4 * torch.Size(full).numel()].view(torch.float32).view(full)
            outputs.append(_unpack(values, len(images)))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        program, table, packed, kept, threads = ctx.pass_
        library, count = load_library(), len(gradients)
        size = library.functions.backward_size(
            program.operations, program.length, ctx.batch, threads, program.outputs, count
        )
        memory = _memory(size)
        packed_gradients = [_pack(gradient, library) for gradient in gradients]
        library.functions.backward(
            program.operations,
            program.length,
            ctx.batch,
            threads,
            table.addresses(),
            table.gradients(program),
            packed.data_ptr(),
            kept.data_ptr(),
            memory.data_ptr(),
            program.outputs,
            _addresses(packed_gradients),
            count,
        )
        return None, None, None, None, None


def _memory(size: int) -> Tensor:
    """Return memory of at least `size` bytes, aligned for the kernels."""
    memory = torch.empty(size + _ALIGNMENT, dtype=torch.uint8)
    return memory[-memory.data_ptr() % _ALIGNMENT :]


def _floats(shape: Sequence[int]) -> Tensor:
    """Return a tensor without values, aligned for the kernels."""
    size = 4 * torch.Size(shape).numel()
    return _memory(size)[:size].view(torch.float32).view(shape)


def _packed_shape(batch: int, shape: Sequence[int], library: KernelLibrary) -> tuple[int, ...]:
    """Return the shape in which the kernels have tensors (batch, shape): (batch / lanes, rounded up, shape, lanes)."""
    return (-(-batch // library.lanes), *shape, library.lanes)


def _pack(tensor: Tensor, library: KernelLibrary) -> Tensor:
    """Return a tensor (N, ...) as the kernels read it, padded with 0."""
    batch, lanes = len(tensor), library.lanes
    packed = _floats(_packed_shape(batch, tensor.shape[1:], library))
    by_image = packed.movedim(-1, 1)  # (blocks, lanes, ...)
    full = batch // lanes
    if full:
        by_image[:full] = tensor[: full * lanes].reshape(by_image[:full].shape)
    if batch % lanes:
        by_image[full, : batch % lanes] = tensor[full * lanes :]
        by_image[full, batch % lanes :] = 0
    return packed


def _unpack(packed: Tensor, batch: int) -> Tensor:
    """Return a tensor (N, ...) of what the kernels have computed."""
    return packed.movedim(-1, 1).clone(memory_format=torch.contiguous_format).flatten(0, 1)[:batch]


def _addresses(tensors: Sequence[Tensor]) -> Any:
    """Return the addresses of tensors, a C array."""
    return c_array([tensor.data_ptr() for tensor in tensors])
