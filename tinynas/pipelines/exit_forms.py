"""A network with early exits in the forms that an export compares: in PyTorch, and as the files of its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..early_exit.network import EarlyExits
from ..early_exit.rules import ExitRule
from ..utils.errors import InputError
from .export_check import Form, exact_convolutions


def check_rule(rule: ExitRule) -> None:
    """Raise InputError if a program that runs exported files could not decide by the rule."""
    if not rule.is_stateless:
        raise InputError(
            f"files decide by one exit's probabilities, but the rule of these exits is {rule.name}; choose the rule "
            "confidence, entropy or margin"
        )


class ExitForm(Form, Protocol):
    """The files of all parts, in one format."""

    @property
    def kind(self) -> str: ...

    @property
    def file_names(self) -> list[str]: ...

    @property
    def num_bytes(self) -> int: ...

    def contents(self, metadata: Sequence[Mapping[str, str]]) -> list[bytes]: ...

    def latencies(self, image: Tensor) -> list[float]: ...

    def quantize(self, calibration: Tensor) -> "ExitForm": ...


@dataclass(frozen=True, kw_only=True)
class TorchExits:
    """The network in PyTorch, as a form that exported files are compared with."""

    exits: EarlyExits
    name: str = "torch"
    int8: bool = False

    def run(self, images: Tensor) -> Tensor:
        """Return the logits of every exit, (N, exits, classes); images and logits are on the CPU."""
        with exact_convolutions():
            return self.exits.all_logits(images.to(self.exits.device)).transpose(0, 1).cpu()
