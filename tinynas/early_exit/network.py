"""Networks with early exits, whatever their exits are: inference, outputs of all exits, calibration, MACs."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..models.profile import macs_by_torch
from .calibration import ExitOutputs, confidence, fit_temperature
from .graph_split import run_part
from .side_head import SideHead
from .thresholds import NEVER_EXIT

Batches = Iterable[Sequence[Tensor]]  # of each batch: the network's inputs (N, ...), then the labels (N,)


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

    Attributes:
        taps: Names of the modules whose outputs the side heads read. A cascade has none.
        temperatures: Temperature of each exit, (exits,). All are 1 before `calibrate`.
        input_names: Names of the network's inputs.

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
    input_names: Sequence[str] = ("images",)

    def __init__(self, exits: Sequence[nn.Module]) -> None:
        super().__init__()
        self.exits = nn.ModuleList(exits)
        self.register_buffer("temperatures", torch.ones(len(self.exits)))
        self.eval()

    @property
    def heads(self) -> list[SideHead]:
        """The side heads, one for each tap."""
        return []

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.temperatures.device

    def _on_device(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors on the network's device."""
        return [tensor.to(self.device) for tensor in inputs]

    @torch.no_grad()
    def forward(self, *inputs: Tensor, threshold: float = NEVER_EXIT) -> EarlyExitOutput:
        """Predict each image at the first exit that is confident enough.

        Later parts of the network run only on the images that continue.

        Args:
            inputs: The network's inputs, (N, ...).
            threshold: Confidence from which an image exits. Over 1, all images run to the last exit.

        Returns:
            The logits (N, classes) of the exit that each image took, and the index of that exit (N,).
        """
        outputs = torch.empty(0)
        exits = torch.zeros(len(inputs[0]), dtype=torch.long, device=inputs[0].device)
        remaining: Tensor | None = None  # indices of the images that continue; None: all of them
        carried: Sequence[Tensor] = inputs
        for number, part in enumerate(self.exits):
            logits, carried = run_part(part, carried)
            outputs = logits if remaining is None else outputs.index_copy(0, remaining, logits)
            if number + 1 == len(self.exits):
                break
            confident = confidence(logits, self.temperatures[number]) >= threshold
            rows = (~confident).nonzero().flatten()  # nothing else here waits for a GPU
            if len(rows) == 0:
                break
            if len(rows) < len(logits):
                remaining = rows if remaining is None else remaining[rows]
                carried = _select(carried, part.batch_dims, rows)  # type: ignore[arg-type]
            if remaining is None:
                exits.fill_(number + 1)
            else:
                exits.index_fill_(0, remaining, number + 1)
        return EarlyExitOutput(outputs, exits)

    @torch.no_grad()
    def all_logits(self, *inputs: Tensor) -> Tensor:
        """Run all images through the whole network.

        Args:
            inputs: The network's inputs, (N, ...).

        Returns:
            The logits of every exit, (exits, N, classes).
        """
        carried: Sequence[Tensor] = inputs
        logits = []
        for part in self.exits:
            output, carried = run_part(part, carried)
            logits.append(output)
        return torch.stack(logits)

    def observe(self, batches: Batches) -> ExitOutputs:
        """Run all images through the whole network and collect the outputs of every exit.

        Args:
            batches: Batches (inputs ..., labels), on any device: the network's inputs (N, ...), then class indices
                (N,).

        Returns:
            Logits (exits, N, classes) and labels (N,) of all images, on the CPU, as `calibrate` takes them.
        """
        logits, labels = [], []
        for batch in batches:
            logits.append(self.all_logits(*self._on_device(batch[:-1])).cpu())
            labels.append(batch[-1].cpu())
        return ExitOutputs(torch.cat(logits, 1), torch.cat(labels))

    def calibrate(self, outputs: ExitOutputs) -> None:
        """Set the temperature of each exit to the one that fits held-out images best.

        Args:
            outputs: What `observe` returns for images that the heads have not been trained on.
        """
        temperatures = [fit_temperature(logits, outputs.labels) for logits in outputs.logits]
        self.temperatures.copy_(torch.tensor(temperatures))

    def macs(self, *inputs: Tensor) -> list[int]:
        """Count the multiply-accumulates of one image that takes each exit, of all modules that run until then.

        Args:
            inputs: Example inputs of the network, (N, ...), on any device; the first example is used.

        Returns:
            One count for each exit, rising.
        """
        carried: Sequence[Tensor] = self._on_device([tensor[:1] for tensor in inputs])
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
