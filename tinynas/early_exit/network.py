"""Networks with early exits, whatever their exits are: inference, outputs of all exits, calibration, MACs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..models.profile import macs_by_torch
from ..utils.errors import InputError
from .calibration import ExitOutputs, confidence, fit_temperature
from .example_checks import check_finite, class_indices
from .graph_split import run_part
from .inputs import Batches, NetworkCall
from .side_head import SideHead
from .thresholds import NEVER_EXIT


class EarlyExitOutput(NamedTuple):
    """The prediction for each image, and the exit it took.

    Attributes:
        logits: Logits of the exit that the image took, (N, classes).
        exits: Index of that exit, (N,). The whole network is the last exit.
    """

    logits: Tensor
    exits: Tensor


class EarlyExits(nn.Module):
    """A network with early exits: parts that run one after another, each on the images that have not exited yet.

    Args:
        exits: Modules that return logits (N, classes), then the activations that the next module takes; the first takes
            the network's inputs. Their `batch_dims` name the dimension of each of these activations that counts images.
        call: How the network is called with its inputs; by default with one.

    Attributes:
        taps: Names of the modules whose outputs the side heads read. A cascade has none.
        temperatures: Temperature of each exit, (exits,). All are 1 before `calibrate`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tinynas.early_exit.cascade import Cascade
        >>> tiny = nn.Sequential(nn.Flatten(), nn.Linear(4 * 4, 3))
        >>> big = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, 3))
        >>> cascade = Cascade(tiny, big, resolutions=(4, 8))
        >>> logits, exits = cascade(torch.randn(5, 1, 8, 8), threshold=0.0)
        >>> exits.tolist()
        [0, 0, 0, 0, 0]
        >>> cascade.macs(torch.zeros(1, 1, 8, 8))
        [48, 240]
    """

    temperatures: Tensor
    taps: Sequence[str] = ()

    def __init__(self, exits: Sequence[nn.Module], call: NetworkCall | None = None) -> None:
        super().__init__()
        self.exits, self.call = nn.ModuleList(exits), call or NetworkCall()
        self.register_buffer("temperatures", torch.ones(len(self.exits)))
        self.eval()

    @property
    def heads(self) -> list[SideHead]:
        """The side heads, one for each tap."""
        return []

    @property
    def exit_names(self) -> list[str]:
        """The names of the exits: the taps, or "tiny" in a cascade, and "mainnet"."""
        names = list(self.taps) or ["tiny"]
        names.append("mainnet")
        return names

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.temperatures.device

    def _on_device(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors on the network's device."""
        return [tensor.to(self.device) for tensor in inputs]

    @torch.no_grad()
    def forward(
        self, *inputs: Tensor | Mapping[str, Tensor], threshold: float = NEVER_EXIT, **named: Tensor
    ) -> EarlyExitOutput:
        """Predict each image at the first exit that is confident enough.

        Later parts of the network run only on the images that continue.

        Args:
            inputs: The network's inputs, (N, ...), or a mapping of inputs by name.
            threshold: Confidence from which an image exits. Over 1, all images run to the last exit.
            named: The network's inputs, if it was built with inputs by name.

        Returns:
            The logits (N, classes) of the exit that each image took, and the index of that exit (N,).

        Raises:
            InputError: An input is missing, unknown, not a tensor, or has another size than those that the network was
                built with; or there are no images.
        """
        carried: Sequence[Tensor] = self.call.tensors(inputs, named)
        remaining = torch.arange(len(carried[0]), device=carried[0].device)  # indices of images that have not exited
        exits = torch.zeros_like(remaining)
        outputs = torch.empty(0)
        for number, part in enumerate(self.exits):
            logits, carried = run_part(part, carried)
            outputs = logits if len(remaining) == len(exits) else outputs.index_put((remaining,), logits)
            confident = confidence(logits, self.temperatures[number]) >= threshold
            if number + 1 == len(self.exits) or confident.all():
                exits[remaining] = number
                break
            if confident.any():
                exits[remaining[confident]] = number
                rows = (~confident).nonzero().flatten()
                remaining = remaining[rows]
                carried = _select(carried, part.batch_dims, rows)  # type: ignore[arg-type]
        return EarlyExitOutput(outputs, exits)

    def all_logits(self, *inputs: Tensor | Mapping[str, Tensor], **named: Tensor) -> Tensor:
        """Run all images through the whole network.

        Args:
            inputs: The network's inputs, (N, ...), or a mapping of inputs by name.
            named: The network's inputs, if it was built with inputs by name.

        Returns:
            The logits of every exit, (exits, N, classes).
        """
        return self._all_logits(self.call.tensors(inputs, named))

    @torch.no_grad()
    def _all_logits(self, carried: Sequence[Tensor]) -> Tensor:
        """Return the logits of every exit, (exits, N, classes), from the network's inputs in their order."""
        logits = []
        for part in self.exits:
            output, carried = run_part(part, carried)
            logits.append(output)
        return torch.stack(logits)

    def observe(self, batches: Batches) -> ExitOutputs:
        """Run all images through the whole network and collect the outputs of every exit.

        Args:
            batches: Batches (inputs ..., labels), on any device: the network's inputs (N, ...) or a mapping of them by
                name, then class indices (N,) of any integer type.

        Returns:
            Logits (exits, N, classes) and labels (N,) of all images, on the CPU, as `calibrate` takes them.

        Raises:
            InputError: There is no batch, inputs or labels do not fit the network, or logits of an image are not
                finite; the message has its index among all images.
        """
        logits: list[Tensor] = []
        labels: list[Tensor] = []
        count = 0
        for batch in batches:
            inputs, indices = self.call.batch(batch)
            outputs = self._all_logits(self._on_device(inputs)).cpu()
            labels.append(class_indices(indices, examples=len(inputs[0]), classes=outputs.shape[2], start=count))
            self._check_logits(outputs, start=count)
            logits.append(outputs)
            count += len(inputs[0])
        if not logits:
            raise InputError("exits are observed on images, but there is no batch; pass at least one")
        return ExitOutputs(torch.cat(logits, 1), torch.cat(labels))

    def calibrate(self, outputs: ExitOutputs) -> None:
        """Set the temperature of each exit to the one that fits held-out images best.

        Args:
            outputs: What `observe` returns for images that the heads have not been trained on.

        Raises:
            InputError: There are no images, or logits of an image are not finite.
        """
        if len(outputs.labels) == 0:
            raise InputError(
                "temperatures are fitted to images, but there are none; pass what observe returns for some"
            )
        self._check_logits(outputs.logits)
        temperatures = [fit_temperature(logits, outputs.labels) for logits in outputs.logits]
        self.temperatures.copy_(torch.tensor(temperatures))

    def _check_logits(self, logits: Tensor, *, start: int = 0) -> None:
        """Raise InputError unless the logits (exits, N, classes) of images, counted from `start`, are finite."""
        for name, values in zip(self.exit_names, logits, strict=True):
            check_finite(values, f"logits of the exit {name}", start=start)

    def macs(self, *inputs: Tensor | Mapping[str, Tensor], **named: Tensor) -> list[int]:
        """Count the multiply-accumulates of one image that takes each exit, of all modules that run until then.

        Args:
            inputs: Example inputs of the network, (N, ...), on any device, or a mapping of them by name; the first
                example is used.
            named: Example inputs, if the network was built with inputs by name.

        Returns:
            One count for each exit, rising.
        """
        carried: Sequence[Tensor] = self._on_device([tensor[:1] for tensor in self.call.tensors(inputs, named)])
        total, counts = 0, []
        for part in self.exits:
            total += macs_by_torch(part, *carried)
            counts.append(total)
            with torch.no_grad():
                _, carried = run_part(part, carried)
        return counts


def _select(carried: Sequence[Tensor], batch_dims: Sequence[int], rows: Tensor) -> list[Tensor]:
    """Reduce every tensor to the images in these rows."""
    selected = []
    for tensor, dim in zip(carried, batch_dims, strict=True):
        selected.append(tensor.index_select(int(dim), rows))
    return selected
