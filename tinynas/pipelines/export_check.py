"""Run a network in PyTorch and its exported files on the same images, and check that they agree."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..data.base import Data, Split
from ..experiment.reporter import ProgressReporter
from ..utils.distributed import device
from ..utils.errors import FileError

TOLERANCE = 1e-4  # between the outputs of PyTorch and of an fp32 file, relative to the largest output if that is over 1


R = TypeVar("R")


class Exported(NamedTuple, Generic[R]):
    """The content of export.json, and of each file by its name."""

    report: R
    files: Mapping[str, bytes]


class Form(Protocol):
    """A network in PyTorch or as files.

    Attributes:
        name: Name of the files, for messages.
        int8: Whether weights and activations are int8.
        run: Runs images (N, C, H, W) and returns outputs (N, ...).
    """

    @property
    def name(self) -> str: ...

    @property
    def int8(self) -> bool: ...

    @property
    def run(self) -> Callable[[Tensor], Tensor]: ...


NetworkT = TypeVar("NetworkT", bound=nn.Module)


def on_device(net: NetworkT) -> NetworkT:
    """Return a network for this process's device: a copy, unless it is on it. Files are made of those on the CPU."""
    return net if device().type == "cpu" else deepcopy(net).to(device())


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let the body's convolutions on a GPU round as fp32 does: by default cuDNN rounds to 10 bits of mantissa."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@dataclass(frozen=True, kw_only=True)
class SplitRun:
    """What several forms of a network return for the images of a split.

    Attributes:
        outputs: Outputs (N, ...) of each form.
        labels: Labels of each batch, and its number of images.
    """

    outputs: list[Tensor]
    labels: list[tuple[Tensor, int]]


def run_split(
    forms: Sequence[Form], data: Data, split: Split, resolution: int, *, task: str, report: ProgressReporter
) -> SplitRun:
    """Run every form on all images of a split, which is read once; report progress under the name `task`."""
    outputs: list[list[Tensor]] = [[] for _ in forms]
    labels: list[tuple[Tensor, int]] = []
    done, text = 0, f"{len(forms)} forms of the network"
    with torch.inference_mode():
        for images, targets in data.evaluation_batches(split, resolution):
            for form, collected in zip(forms, outputs, strict=True):
                collected.append(form.run(images))
            labels.append((targets, len(images)))
            done += len(images)
            report.advance(task, done, len(split), text)
    return SplitRun(outputs=[torch.cat(collected) for collected in outputs], labels=labels)


def checked_difference(form: Form, outputs: Tensor, reference: Tensor) -> float:
    """Return the largest absolute difference between a form's outputs and those of PyTorch.

    Raises:
        FileError: The form is fp32 and differs by more than TOLERANCE, or is not a number.
    """
    difference = (outputs - reference).abs().max().item()
    largest = reference.abs().max().item()
    if not form.int8 and not difference <= TOLERANCE * max(1, largest):
        raise FileError(
            f"{form.name} would differ from the model by {difference:.2g} in outputs of up to {largest:.2g} "
            f"(tolerance {TOLERANCE:g}); nothing is written, try another --opset or --to"
        )
    return float(difference)
