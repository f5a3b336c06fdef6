"""Networks with early exits, whatever their exits are: inference, outputs of all exits, calibration, MACs."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..models.profile import macs_by_torch
from ..utils.errors import InputError
from .calibration import ExitOutputs, fit_temperature
from .example_checks import check_finite, class_indices
from .graph_split import run_part, run_parts
from .inputs import Batches, NetworkCall
from .predictions import EarlyExitOutput, Prediction
from .rules import Confidence, ExitRule, make_rule
from .side_head import SideHead
from .threshold_search import per_exit_points
from .thresholds import (
    NEVER_EXIT,
    OperatingPoint,
    Thresholds,
    choose_accurate,
    choose_affordable,
    for_each_exit,
    sweep,
)


class EarlyExits(nn.Module):
    """A network with early exits: parts that run one after another, each on the images that have not exited yet.

    Args:
        exits: Modules that return logits (N, classes), then the activations that the next module takes; the first takes
            the network's inputs. Their `batch_dims` name the dimension of each of these activations that counts images.
        call: How the network is called with its inputs; by default with one.

    Attributes:
        taps: Names of the modules whose outputs the side heads read. A cascade has none.
        temperatures: Temperature of each exit, (exits,). All are 1 before `calibrate`.
        rule: What decides that an exit is sure enough: its score reaches the exit's threshold.
        thresholds: One for each early exit, or a single one for all; none exits early before they are set.
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
    rule: ExitRule
    taps: Sequence[str] = ()
    thresholds: tuple[float, ...] = (NEVER_EXIT,)
    input_names: Sequence[str] = ("images",)

    def __init__(self, exits: Sequence[nn.Module], call: NetworkCall | None = None) -> None:
        super().__init__()
        self.exits, self.call = nn.ModuleList(exits), call or NetworkCall()
        self.rule = Confidence()
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
        self,
        *inputs: Tensor | Mapping[str, Tensor],
        threshold: float | Thresholds | None = None,
        **named: Tensor,
    ) -> EarlyExitOutput:
        """Predict each image at the first exit that is sure enough.

        Later parts of the network run only on the images that continue.

        Args:
            inputs: The network's inputs, (N, ...), or a mapping of inputs by name.
            threshold: Score from which an image exits, by the network's rule: one for each early exit, or one for all;
                by default the network's own. Over 1, all images run to the last exit.
            named: The network's inputs, if it was built with inputs by name.

        Returns:
            The logits (N, classes) of the exit that each image took, and the index of that exit (N,).

        Raises:
            InputError: An input is missing, unknown, not a tensor, or has another size than those that the network was
                built with; there are no images; or there are neither one threshold nor as many as early exits.
        """
        thresholds = for_each_exit(self.thresholds if threshold is None else threshold, len(self.exits) - 1)
        carried: Sequence[Tensor] = self.call.tensors(inputs, named)
        outputs = torch.empty(0)
        exits = torch.zeros(len(carried[0]), dtype=torch.long, device=carried[0].device)
        remaining: Tensor | None = None  # indices of the images that continue; None: all of them
        earlier = exits.new_empty(0, len(exits))  # classes that the exits so far predict, if the rule reads them
        for number, part in enumerate(self.exits):
            logits, carried = run_part(part, carried)
            outputs = logits if remaining is None else outputs.index_copy(0, remaining, logits)
            if number == len(thresholds):
                break
            probabilities = (logits.float() / self.temperatures[number]).softmax(1)
            leaves = self.rule(probabilities, earlier) >= thresholds[number]
            rows = (~leaves).nonzero().flatten()  # nothing else here waits for a GPU
            if len(rows) == 0:
                break
            if not self.rule.is_stateless:
                earlier = torch.cat([earlier, probabilities.argmax(1)[None]])
            if len(rows) < len(logits):
                remaining = rows if remaining is None else remaining[rows]
                earlier = earlier[:, rows]
                carried = _select(carried, part.batch_dims, rows)  # type: ignore[arg-type]
            if remaining is None:
                exits.fill_(number + 1)
            else:
                exits.index_fill_(0, remaining, number + 1)
        return EarlyExitOutput(outputs, exits)

    def predict(
        self,
        *inputs: Tensor | Mapping[str, Tensor],
        threshold: float | Thresholds | None = None,
        **named: Tensor,
    ) -> Prediction:
        """Predict the class of each image; later parts of the network run only on the images that continue.

        Args:
            inputs: The network's inputs, (N, ...), or a mapping of inputs by name.
            threshold: Score from which an image exits, one for each early exit or one for all; by default the
                network's own.
            named: The network's inputs, if it was built with inputs by name.

        Returns:
            The most likely class (N,), its calibrated probability (N,), and the index of the exit (N,).

        Raises:
            InputError: As in `forward`.
        """
        output = self(*inputs, threshold=threshold, **named)
        probabilities = (output.logits.float() / self.temperatures[output.exits][:, None]).softmax(1)
        confidences, classes = probabilities.max(1)
        return Prediction(classes, confidences, output.exits)

    @torch.no_grad()
    def all_logits(self, *inputs: Tensor | Mapping[str, Tensor], **named: Tensor) -> Tensor:
        """Run all images through the whole network.

        Args:
            inputs: The network's inputs, (N, ...), or a mapping of inputs by name.
            named: The network's inputs, if it was built with inputs by name.

        Returns:
            The logits of every exit, (exits, N, classes).
        """
        return torch.stack(list(run_parts(self.exits, self.call.tensors(inputs, named))))

    @torch.no_grad()
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
            outputs = torch.stack(list(run_parts(self.exits, self._on_device(inputs)))).cpu()
            labels.append(class_indices(indices, examples=len(inputs[0]), classes=outputs.shape[2], start=count))
            self._check_logits(outputs, start=count)
            logits.append(outputs)
            count += len(inputs[0])
        if not logits:
            raise InputError("exits are observed on images, but there is no batch; pass at least one")
        return ExitOutputs(torch.cat(logits, 1), torch.cat(labels))

    def calibrate(self, outputs: ExitOutputs, rule: str = Confidence.name) -> None:
        """Set the temperature of each exit to the one that fits held-out images best, and the rule that decides.

        Args:
            outputs: What `observe` returns for images that the heads have not been trained on.
            rule: "confidence", "entropy", "margin", "patience", or "gate", which is learnt from `outputs`.

        Raises:
            InputError: There are no images, logits of an image are not finite, or there is no such rule.
        """
        if len(outputs.labels) == 0:
            raise InputError(
                "temperatures are fitted to images, but there are none; pass what observe returns for some"
            )
        self._check_logits(outputs.logits)
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
            InputError: No thresholds reach the accuracy or the budget, or there are both.
        """
        if accuracy is not None and average_macs is not None:
            raise InputError(
                f"thresholds are chosen for an accuracy or within MACs, but got accuracy={accuracy} and "
                f"average_macs={average_macs}; leave one out"
            )
        points = per_exit_points(sweep(outputs, self.temperatures.tolist(), macs, self.rule))
        if average_macs is not None:
            point = choose_affordable(points, average_macs)
        else:
            whole = 100 * float(outputs.correct()[-1].mean())
            point = choose_accurate(points, whole if accuracy is None else accuracy)
        self.thresholds = point.thresholds
        return point

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
