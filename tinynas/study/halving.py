"""Successive halving: trainings that are behind others after a part of their epochs are stopped."""

from collections.abc import Container, Iterable

import optuna
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

_FACTOR = 3
_MOST_RUNGS = 2
_COMPARED = "completed_rung_"  # system attributes of Optuna's pruner


class Halving:
    """Decides which trainings are stopped, by Optuna's asynchronous successive halving (Li et al., MLSys 2020).

    After about a ninth of its epochs, and after three times as many, a training is compared with all that have come so
    far. It goes on if it is among the best third of them; among fewer than three, if it is the best.

    Args:
        epochs: Epochs of a training.

    Attributes:
        rungs: The numbers of epochs after which trainings are compared.

    Example:
        >>> Halving(20).rungs, Halving(4).rungs, Halving(1).rungs
        ((2, 6), (1, 3), ())
    """

    def __init__(self, epochs: int) -> None:
        first = max(1, epochs // _FACTOR**_MOST_RUNGS)
        rungs = [first * _FACTOR**rung for rung in range(_MOST_RUNGS)]
        self.rungs = tuple(rung for rung in rungs if rung < epochs)
        self._pruner = SuccessiveHalvingPruner(min_resource=first, reduction_factor=_FACTOR, bootstrap_count=0)

    def stops(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether a training is to be stopped.

        Args:
            study: The study of the trainings, whose only value is maximised.
            trial: The training's trial, which is running; what it has reported last is after the epochs of now.
        """
        return trial.last_step in self.rungs and self._pruner.prune(_OtherTrials(study, trial), trial)

    @staticmethod
    def compared(trial: FrozenTrial) -> dict[str, float]:
        """Return the attributes of a trial by which Optuna's pruner compares it."""
        attributes = {}
        for name, value in trial.system_attrs.items():
            if name.startswith(_COMPARED):
                attributes[name] = value
        return attributes


class _OtherTrials(optuna.Study):
    """A study as the pruner is to see it: without failed trials, which are tried again, and the one in question.

    The pruner adds the value of the trial in question itself.

    Args:
        study: The study.
        trial: The trial in question.
    """

    def __init__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        super().__init__(study.study_name, study._storage, sampler=study.sampler, pruner=study.pruner)
        self._number = trial.number

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Return the other trials that have not failed."""
        others = []
        for trial in super().get_trials(deepcopy, states):
            if trial.number != self._number and trial.state != TrialState.FAIL:
                others.append(trial)
        return others


def estimated_accuracy(trials: Iterable[FrozenTrial], epochs: int, accuracy: float) -> float:
    """Estimate what a training that is stopped would have reached, for a sampler to learn from.

    It is the accuracy so far, plus what trainings that came to their end gained on average from there on, but no more
    than the best of them reached; without any such training, the accuracy so far.

    Args:
        trials: All trials of the study; the first value is the accuracy.
        epochs: After how many epochs the training is stopped.
        accuracy: Its accuracy in percent by then.
    """
    gains, reached = [], []
    for trial in trials:
        if trial.state == TrialState.COMPLETE and epochs in trial.intermediate_values:
            gains.append(trial.values[0] - trial.intermediate_values[epochs])
            reached.append(trial.values[0])
    if not gains:
        return accuracy
    return float(min(accuracy + sum(gains) / len(gains), max(reached)))
