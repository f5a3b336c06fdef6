"""An attempt to evaluate a network, which may be given up half-way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from ..arch.arch import Arch
from .halving import Halving, estimated_accuracy
from .history import CannotWinError, Evaluation
from .shared_study import SharedStudy


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt to evaluate a network: what it can be compared with.

    Attributes:
        evaluations: All so far, in the order in which this process learned of them.
        study: The study.
        trial_id: The network's trial in it, which is running.
    """

    evaluations: Sequence[Evaluation]
    study: SharedStudy
    trial_id: int

    def report(self, epochs: int, accuracy: float, halving: Halving) -> None:
        """Report the accuracy of a network in training to the study.

        Args:
            epochs: How many epochs it has been trained.
            accuracy: Its accuracy in percent.
            halving: Decides whether the training is stopped.

        Raises:
            CannotWinError: It is stopped, or another process has taken it over.
        """
        if not self.study.report(self.trial_id, epochs, accuracy):
            raise CannotWinError(accuracy)
        if self.study.stops(self.trial_id, halving):
            raise CannotWinError(estimated_accuracy(self.study.trials(), epochs, accuracy))

    def repeat(self, earlier: FrozenTrial) -> float:
        """Return the accuracy of the network's trial in another study, and report what that trial has reported."""
        self.study.copy_reports(self.trial_id, earlier)
        return float(earlier.values[0])


EvaluateOrDrop = Callable[[Arch, Attempt], float]


def without_attempt(evaluate: Callable[[Arch], float]) -> EvaluateOrDrop:
    """Return a function that evaluates a network, whatever it can be compared with."""

    def evaluate_always(arch: Arch, attempt: Attempt) -> float:
        """Return the accuracy of a network in percent."""
        return evaluate(arch)

    return evaluate_always
