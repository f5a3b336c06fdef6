"""Decision rules: how sure an exit is of an example, as a score from 0 to 1.

An example exits at the first exit whose score reaches the threshold of that exit. All rules read calibrated
probabilities; what they add to them is their only difference.
"""

import numpy as np
import torch
from torch import Tensor, nn

from ..utils.errors import InputError, require

_EPSILON = 1e-12  # added to probabilities before their logarithm
_LOG_PROBABILITIES = 3  # of the most likely classes, that a gate reads


class ExitRule(nn.Module):
    """Score how sure each early exit is.

    Attributes:
        name: Its key in RULES.
        is_stateless: Whether a score depends on the exit's own probabilities alone, and on nothing that was learnt.
    """

    name = ""
    is_stateless = True

    @classmethod
    def create(cls, exits: int, classes: int) -> "ExitRule":
        """Return the rule for a number of exits, the whole network included, and a number of classes."""
        return cls()

    def forward(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        """Return the scores (N,) of an exit.

        Args:
            probabilities: Calibrated probabilities at this exit, (N, classes).
            earlier: Classes that the exits before this one predict, (exits before, N).
        """
        raise NotImplementedError

    def fit(self, probabilities: Tensor, labels: Tensor) -> None:
        """Learn from held-out examples, if there is anything to learn.

        Args:
            probabilities: Calibrated probabilities of every exit, (exits, N, classes), on the CPU.
            labels: Class indices, (N,).
        """


class Confidence(ExitRule):
    """The probability of the most likely class."""

    name = "confidence"

    def forward(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        """Return the scores (N,)."""
        return probabilities.amax(1)


class Entropy(ExitRule):
    """One minus the entropy of the probabilities, divided by that of equal ones (BranchyNet, ICPR 2016)."""

    name = "entropy"

    def forward(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        """Return the scores (N,)."""
        return 1 - relative_entropy(probabilities)


class Margin(ExitRule):
    """The probability of the most likely class minus that of the second."""

    name = "margin"

    def forward(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        """Return the scores (N,)."""
        first, second = probabilities.topk(2, dim=1).values.unbind(1)
        return first - second


class Patience(ExitRule):
    """How many exits in a row, this one included, predict the same class, as a fraction of the early exits.

    Two of three early exits that agree score 0.67 (PABEE, Zhou et al., NeurIPS 2020).
    """

    name = "patience"
    is_stateless = False

    def __init__(self, exits: int) -> None:
        super().__init__()
        self.exits = exits

    @classmethod
    def create(cls, exits: int, classes: int) -> "Patience":
        """Return the rule."""
        return cls(exits)

    def forward(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        """Return the scores (N,)."""
        predicted = probabilities.argmax(1)
        agreeing = torch.ones(len(predicted), device=predicted.device)
        in_a_row = torch.ones_like(predicted, dtype=torch.bool)
        for classes in reversed(earlier.unbind(0)):
            in_a_row = in_a_row & (classes == predicted)
            agreeing = agreeing + in_a_row
        return agreeing / max(1, self.exits - 1)


class Gate(ExitRule):
    """The probability that the exit is right, as a logistic regression learnt on held-out examples predicts it.

    It reads the logarithms of the three largest probabilities, the entropy, and the fraction of the earlier exits that
    agree.

    Attributes:
        weight: Coefficients of the early exits, (early exits, features).
        bias: Intercepts, (early exits,).
    """

    name = "gate"
    is_stateless = False
    weight: Tensor
    bias: Tensor

    def __init__(self, exits: int, classes: int) -> None:
        super().__init__()
        features = min(_LOG_PROBABILITIES, classes) + 2
        self.register_buffer("weight", torch.zeros(exits - 1, features))
        self.register_buffer("bias", torch.zeros(exits - 1))

    @classmethod
    def create(cls, exits: int, classes: int) -> "Gate":
        """Return the rule, not yet fitted."""
        return cls(exits, classes)

    def forward(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        """Return the scores (N,)."""
        number = len(earlier)
        scores: Tensor = self._features(probabilities, earlier) @ self.weight[number] + self.bias[number]
        return scores.sigmoid()

    def fit(self, probabilities: Tensor, labels: Tensor) -> None:
        """Fit the regression of each early exit by maximum likelihood, with scikit-learn's default penalty."""
        from sklearn.linear_model import LogisticRegression

        predicted = probabilities.argmax(2)
        for number in range(len(self.bias)):
            right = (predicted[number] == labels).numpy()
            if right.all() or not right.any():  # nothing to tell apart
                self.weight[number].zero_()
                self.bias[number] = 10.0 if right.all() else -10.0
                continue
            features = self._features(probabilities[number], predicted[:number])
            regression = LogisticRegression(max_iter=1000).fit(features.numpy(), right)
            self.weight[number] = torch.from_numpy(regression.coef_[0])
            self.bias[number] = float(regression.intercept_[0])

    def _features(self, probabilities: Tensor, earlier: Tensor) -> Tensor:
        count = min(_LOG_PROBABILITIES, probabilities.shape[1])
        largest = (probabilities.topk(count, dim=1).values + _EPSILON).log()
        agreeing = (earlier == probabilities.argmax(1)).float().sum(0) / max(1, len(earlier))
        return torch.cat([largest, relative_entropy(probabilities)[:, None], agreeing[:, None]], 1)


_RULES: tuple[type[ExitRule], ...] = (Confidence, Entropy, Margin, Patience, Gate)
RULES: dict[str, type[ExitRule]] = {rule.name: rule for rule in _RULES}


def make_rule(name: str, exits: int, classes: int) -> ExitRule:
    """Return a rule by name, for a number of exits, the whole network included, and a number of classes.

    Raises:
        InputError: There is no rule of that name, or there are fewer than two classes to decide between.
    """
    if name not in RULES:
        raise InputError(f"there is no exit rule {name!r}; choose one of {', '.join(RULES)}")
    require(classes > 1, "classes > 1", classes=classes)
    return RULES[name].create(exits, classes)


def relative_entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of probabilities (N, classes) as a fraction of its maximum, (N,)."""
    entropy = -(probabilities * (probabilities + _EPSILON).log()).sum(1)
    maximum = torch.tensor(probabilities.shape[1], dtype=entropy.dtype, device=entropy.device).log()
    return (entropy / maximum).clamp(0, 1)


def early_scores(rule: ExitRule, probabilities: Tensor) -> np.ndarray:
    """Return the scores (early exits, N) for the calibrated probabilities of all exits (exits, N, classes)."""
    predicted = probabilities.argmax(2)
    scores = []
    for number in range(len(probabilities) - 1):
        scores.append(rule(probabilities[number], predicted[:number]))
    return torch.stack(scores).cpu().numpy()
