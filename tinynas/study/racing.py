"""Racing: networks are evaluated on one quarter of search-val after the other, and dropped when they cannot win."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ..arch.arch import Arch
from ..data.subset import SubsetSplit
from ..tasks.registry import TASKS
from ..utils.rng import generator
from .evaluator import SubnetEvaluator
from .feasible import Feasible
from .history import CannotWinError, Evaluation

_PARTS = 4  # of search-val
_STANDARD_ERRORS = 3.0


class Race:
    """Evaluates subnets, unless a part of search-val shows that they cannot win.

    A subnet is compared with its opponent: the most accurate network so far, or for a Pareto front the most accurate
    one with no higher costs. It is dropped after the first, second or third quarter of search-val if it is wrong on
    more of these images than the opponent by over 3 standard errors of the paired difference (McNemar, 1947).
    Otherwise its accuracy is that on the whole of search-val. A network as good as its opponent is dropped about once
    in 300 times.

    Opponents are networks that this process has evaluated, and those evaluated before it raced its first one, which it
    evaluates again; not those that other processes evaluate meanwhile.

    Args:
        evaluator: Evaluates subnets of a classifier.
        feasible: Where costs of subnets come from.
        objectives: Names of the costs of the Pareto front, if one is searched for.
    """

    def __init__(self, evaluator: SubnetEvaluator, feasible: Feasible, *, objectives: Sequence[str]) -> None:
        self._evaluator = evaluator
        self._feasible = feasible
        self._objectives = objectives
        self._parts: list[SubsetSplit] = []
        for indices in balanced_parts(evaluator.val.labels, _PARTS):
            self._parts.append(SubsetSplit(evaluator.val, indices))
        self._num_earlier: int | None = None  # evaluations before this process raced its first subnet
        self._correct: dict[Arch, Tensor] = {}  # whether a subnet is right on each image, (N,), the parts in order

    def __call__(self, arch: Arch, evaluations: Sequence[Evaluation]) -> float:
        """Return the accuracy of a subnet on search-val in percent.

        Args:
            arch: The subnet.
            evaluations: All so far, in the order in which this process learned of them.

        Raises:
            CannotWinError: The subnet is dropped.
        """
        if self._num_earlier is None:
            self._num_earlier = len(evaluations)
        opponent = self._opponent(arch, evaluations)
        if opponent and opponent.arch not in self._correct:
            self._evaluate(opponent.arch, None)
        return self._evaluate(arch, opponent)

    def _opponent(self, arch: Arch, evaluations: Sequence[Evaluation]) -> Evaluation | None:
        """Return the first of the most accurate networks that a subnet is compared with; None if there is none."""
        largest = self._feasible.values(arch, self._objectives)
        opponent = None
        for number, evaluation in enumerate(evaluations):
            costs = evaluation.point(self._objectives)[:-1]
            if any(cost > limit for cost, limit in zip(costs, largest, strict=True)):
                continue
            is_known = number < (self._num_earlier or 0) or evaluation.arch in self._correct
            if is_known and (opponent is None or evaluation.accuracy > opponent.accuracy):
                opponent = evaluation
        return opponent

    def _evaluate(self, arch: Arch, opponent: Evaluation | None) -> float:
        """Return the accuracy of a subnet, and keep on which images it is right.

        Raises:
            CannotWinError: It is worse than the opponent.
        """
        data = self._evaluator.data
        task = TASKS[data.task]
        net = self._evaluator.subnet(arch)
        predictions: list[Any] = []
        truths: list[Any] = []
        for part in self._parts:
            if opponent and predictions:
                correct = torch.tensor(predictions) == torch.tensor(truths)
                correct_of_opponent = self._correct[opponent.arch][: len(correct)]
                if is_worse(correct, correct_of_opponent):
                    difference = correct.double().mean() - correct_of_opponent.double().mean()
                    raise CannotWinError(opponent.accuracy + 100 * float(difference))
            more_predictions, more_truths = self._evaluator.measure(task.predict, net, arch, part)
            predictions += more_predictions
            truths += more_truths
        self._correct[arch] = torch.tensor(predictions) == torch.tensor(truths)
        return float(task.metrics(predictions, truths, data.classes)["accuracy"])


def is_worse(correct: Tensor, correct_of_opponent: Tensor) -> bool:
    """Return whether a network is worse than its opponent by over 3 standard errors of the paired difference.

    On images where both are right or both wrong, they do not differ. If as good networks are each better on one half of
    the others, the number of these has the standard deviation sqrt(losses + wins) / 2.

    Args:
        correct: Whether the network is right on each image, booleans (N,).
        correct_of_opponent: The same of the opponent.

    Example:
        >>> right = torch.ones(10, dtype=torch.bool)
        >>> is_worse(~right, right), is_worse(~right[:9], right[:9]), is_worse(right, ~right)
        (True, False, False)
    """
    losses = int((correct_of_opponent & ~correct).sum())
    wins = int((correct & ~correct_of_opponent).sum())
    return losses - wins > _STANDARD_ERRORS * sqrt(losses + wins)


def balanced_parts(labels: Tensor, count: int) -> list[Tensor]:
    """Divide images into parts of equal size and with equally many images of each class, as near as it goes.

    The parts are always the same ones.

    Args:
        labels: Class indices (N,).
        count: Number of parts, at most N.

    Returns:
        The indices of the images of every part, in ascending order.

    Example:
        >>> labels = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0])
        >>> [labels[part].sort().values.tolist() for part in balanced_parts(labels, 4)]
        [[0, 1], [0, 1], [0, 1], [0, 1]]
    """
    order = torch.from_numpy(generator(0, "race").permutation(len(labels)))
    by_class = order[labels[order].argsort(stable=True)]
    parts = []
    for first in range(min(count, len(labels))):
        parts.append(by_class[first::count].sort().values)
    return parts
