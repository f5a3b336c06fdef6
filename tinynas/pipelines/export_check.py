"""Run a network in PyTorch and its exported files on the same images, and check that they agree."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..data.base import Data, Split
from ..experiment.reporter import ProgressReporter
from ..utils.distributed import device
from ..utils.errors import FileError
from ..utils.sizes import Size

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


class BatchRun(NamedTuple):
    """What several forms of a network return for the images of a batch."""

    outputs: list[Tensor]  # of each form, (N, ...)
    labels: Tensor
    images: int


def run_split(
    forms: Sequence[Form], data: Data, split: Split, resolution: Size, *, task: str, report: ProgressReporter
) -> Iterator[BatchRun]:
    """Run every form on all images of a split, which is read once, and yield their outputs a batch at a time.

    Progress is reported under the name `task`.
    """
    done, text = 0, f"{len(forms)} forms of the network"
    for images, labels in data.evaluation_batches(split, resolution):
        with torch.inference_mode():
            outputs = [form.run(images) for form in forms]
        yield BatchRun(outputs, labels, len(images))
        done += len(images)
        report.advance(task, done, len(split), text)


class Comparison:
    """How much a form's outputs differ from those of PyTorch, over the batches of a split.

    Args:
        form: The form.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._difference = torch.zeros(())  # the largest absolute one; not a number if one is not
        self._largest = torch.zeros(())  # of the outputs of PyTorch
        self._others = 0  # images of another class
        self._images = 0
        self._is_classifier = True

    def add(self, outputs: Tensor, reference: Tensor) -> None:
        """Add the outputs (N, ...) of the form and of PyTorch for a batch."""
        self._difference = torch.maximum(self._difference, (outputs - reference).abs().max())
        self._largest = torch.maximum(self._largest, reference.abs().max())
        self._is_classifier = outputs.ndim == 2
        if self._is_classifier:
            self._others += int((outputs.argmax(1) != reference.argmax(1)).sum())
        self._images += len(outputs)

    def checked_difference(self, advice: str = "try another --opset or --to") -> float:
        """Return the largest absolute difference.

        Args:
            advice: What to do if it is too large, for the error.

        Raises:
            FileError: The form is fp32 and differs by more than TOLERANCE, or is not a number.
        """
        difference, largest = self._difference.item(), self._largest.item()
        if not self._form.int8 and not difference <= TOLERANCE * max(1, largest):
            raise FileError(
                f"{self._form.name} would differ from the model by {difference:.2g} in outputs of up to {largest:.2g} "
                f"(tolerance {TOLERANCE:g}); nothing is written, {advice}"
            )
        return float(difference)

    def disagreement(self) -> float | None:
        """Return the fraction of images whose class differs; None unless the outputs are logits (N, classes)."""
        return self._others / self._images if self._is_classifier else None
