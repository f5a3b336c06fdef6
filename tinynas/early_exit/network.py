"""Networks with early exits, whatever their exits are: inference, outputs of all exits, calibration, MACs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..models.profile import macs_by_torch
from ..utils.errors import InputError
from .calibration import ExitOutputs, fit_temperature
from .graph_split import run_part
from .rules import Confidence, ExitRule, make_rule
from .side_head import SideHead
from .threshold_search import per_exit_points
from .thresholds import NEVER_EXIT, OperatingPoint, Thresholds, choose_accurate, choose_affordable, sweep

Batches = Iterable[Sequence[Tensor]]  # of each batch: the network's inputs (N, ...), then the labels (N,)


class EarlyExitOutput(NamedTuple):
    """The prediction for each image, and the exit it took.

    Attributes:
        logits: Logits of the exit that the image took, (N, classes).
        exits: Index of that exit, (N,). The whole network is the last exit.
    """

    logits: Tensor
    exits: Tensor


class Prediction(NamedTuple):
    """What is predicted for each image.

    Attributes:
        classes: Index of the most likely class, (N,).
        confidences: Its calibrated probability, (N,).
        exits: Index of the exit that the image took, (N,).
    """

    classes: Tensor
    confidences: Tensor
    exits: Tensor


class EarlyExits(nn.Module):
    """A network with early exits: parts that run one after another, each on the images that have not exited yet.

    Args:
        exits: Modules that return logits (N, classes), then the activations that the next module takes; the first takes
            the network's inputs. Their `batch_dims` name the dimension of each of these activations that counts images.

    Attributes:
        taps: Names of the modules whose outputs the side heads read. A cascade has none.
        temperatures: Temperature of each exit, (exits,). All are 1 before `calibrate`.
        rule: What decides that an exit is sure enough: its score reaches the exit's threshold.
        thresholds: One for each early exit, or a single one for all; none exits early before they are set.

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
    rule: ExitRule
    taps: Sequence[str] = ()
    thresholds: tuple[float, ...] = (NEVER_EXIT,)

    def __init__(self, exits: Sequence[nn.Module]) -> None:
        super().__init__()
        self.exits = nn.ModuleList(exits)
        self.rule = Confidence()
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
    def forward(self, *inputs: Tensor, threshold: float | Thresholds | None = None) -> EarlyExitOutput:
        """Predict each image at the first exit that is sure enough.

        Later parts of the network run only on the images that continue.

        Args:
            inputs: The network's inputs, (N, ...).
            threshold: Score from which an image exits, by the network's rule: one for each early exit, or one for all;
                by default the network's own. Over 1, all images run to the last exit.

        Returns:
            The logits (N, classes) of the exit that each image took, and the index of that exit (N,).

        Raises:
            InputError: There are neither one threshold nor as many as early exits.
        """
        thresholds = self.each_threshold(threshold)
        remaining = torch.arange(len(inputs[0]), device=inputs[0].device)  # indices of images that have not exited
        exits = torch.zeros_like(remaining)
        outputs = torch.empty(0)
        earlier = remaining.new_empty(0, len(remaining))  # classes that the exits so far predict
        carried: Sequence[Tensor] = inputs
        for number, part in enumerate(self.exits):
            logits, carried = run_part(part, carried)
            outputs = logits if len(remaining) == len(exits) else outputs.index_put((remaining,), logits)
            if number == len(thresholds):
                exits[remaining] = number
                break
            probabilities = self._calibrated(logits, number)
            leaves = self.rule(probabilities, earlier) >= thresholds[number]
            if leaves.all():
                exits[remaining] = number
                break
            if not self.rule.is_stateless:
                earlier = torch.cat([earlier, probabilities.argmax(1)[None]])
            if leaves.any():
                exits[remaining[leaves]] = number
                rows = (~leaves).nonzero().flatten()
                remaining, earlier = remaining[rows], earlier[:, rows]
                carried = _select(carried, part.batch_dims, rows)  # type: ignore[arg-type]
        return EarlyExitOutput(outputs, exits)

    def predict(self, *inputs: Tensor, threshold: float | Thresholds | None = None) -> Prediction:
        """Predict the class of each image; later parts of the network run only on the images that continue.

        Args:
            inputs: The network's inputs, (N, ...).
            threshold: Score from which an image exits, one for each early exit or one for all; by default the
                network's own.

        Returns:
            The most likely class (N,), its calibrated probability (N,), and the index of the exit (N,).

        Raises:
            InputError: There are neither one threshold nor as many as early exits.
        """
        output = self(*inputs, threshold=threshold)
        probabilities = (output.logits.float() / self.temperatures[output.exits][:, None]).softmax(1)
        confidences, classes = probabilities.max(1)
        return Prediction(classes, confidences, output.exits)

    def _calibrated(self, logits: Tensor, number: int) -> Tensor:
        """Return the probabilities (N, classes) of an exit's logits at its temperature."""
        return (logits.float() / self.temperatures[number]).softmax(1)

    def each_threshold(self, threshold: float | Thresholds | None) -> list[float]:
        """Return a threshold for each early exit.

        Args:
            threshold: One for each early exit, or one for all; None: the network's own.

        Returns:
            As many numbers as there are early exits.

        Raises:
            InputError: There are neither one threshold nor as many as early exits.
        """
        early = len(self.exits) - 1
        chosen = self.thresholds if threshold is None else threshold
        values = [chosen] if isinstance(chosen, int | float) else list(chosen)
        if len(values) not in (1, early):
            raise InputError(
                f"there must be one threshold, or one for each of the {early} early exits, but there are {len(values)}"
            )
        return values if len(values) == early else values * early

    def run_all(self, *inputs: Tensor) -> Iterator[Tensor]:
        """Run all images through the whole network, with gradients if they are enabled.

        Args:
            inputs: The network's inputs, (N, ...).

        Returns:
            An iterator over the exits' logits, (N, classes) of each.
        """
        carried: Sequence[Tensor] = inputs
        for part in self.exits:
            logits, carried = run_part(part, carried)
            yield logits

    @torch.no_grad()
    def all_logits(self, *inputs: Tensor) -> Tensor:
        """Run all images through the whole network.

        Args:
            inputs: The network's inputs, (N, ...).

        Returns:
            The logits of every exit, (exits, N, classes).
        """
        return torch.stack(list(self.run_all(*inputs)))

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

    def calibrate(self, outputs: ExitOutputs, rule: str = Confidence.name) -> None:
        """Set the temperature of each exit to the one that fits held-out images best, and the rule that decides.

        Args:
            outputs: What `observe` returns for images that the heads have not been trained on.
            rule: "confidence", "entropy", "margin", "patience", or "gate", which is learnt from `outputs`.

        Raises:
            InputError: There is no such rule.
        """
        self.rule = make_rule(rule, len(self.exits), outputs.logits.shape[2]).to(self.device)
        temperatures = [fit_temperature(logits, outputs.labels) for logits in outputs.logits]
        self.temperatures.copy_(torch.tensor(temperatures))
        self.rule.fit(outputs.probabilities(temperatures), outputs.labels)

    def choose_thresholds(
        self,
        outputs: ExitOutputs,
        macs: Sequence[int],
        *,
        accuracy: float | None = None,
        average_macs: float | None = None,
    ) -> OperatingPoint:
        """Set a threshold for each early exit: the cheapest for an accuracy, or the most accurate within a budget.

        Args:
            outputs: What `observe` returns for held-out images.
            macs: MACs of an image that takes each exit, as `macs` counts them.
            accuracy: The accuracy to keep on these images, in percent; by default the whole network's.
            average_macs: Average MACs of an image that may be spent instead.

        Returns:
            The thresholds, and what they do on these images.

        Raises:
            InputError: No thresholds reach the accuracy or the budget.
        """
        points = per_exit_points(sweep(outputs, self.temperatures.tolist(), macs, self.rule))
        if average_macs is not None:
            point = choose_affordable(points, average_macs)
        else:
            whole = 100 * float(outputs.correct()[-1].mean())
            point = choose_accurate(points, whole if accuracy is None else accuracy)
        self.thresholds = point.thresholds
        return point

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
