import pytest
import torch

from tinynas.tasks.metrics import accuracy_by_class, confusion, mean_accuracy
from tinynas.tasks.registry import TASKS


def test_balanced_accuracy_equals_scikit_learn(rng):
    from sklearn.metrics import balanced_accuracy_score

    labels = torch.from_numpy(rng.choice(4, 200, p=[0.7, 0.2, 0.1, 0.0]))
    predicted = torch.from_numpy(rng.choice(4, 200, p=[0.5, 0.3, 0.2, 0.0]))
    by_class = accuracy_by_class(confusion(predicted, labels, 4))
    assert by_class[3] is None
    assert mean_accuracy(by_class) == pytest.approx(100 * balanced_accuracy_score(labels, predicted))


def test_classification_metrics_of_uneven_classes():
    """Eight cats of ten images, and a network that knows cats only."""
    truths = [0] * 8 + [1] * 2
    metrics = TASKS["classify"].metrics([0] * 10, truths, ("cat", "dog", "fox"))
    assert metrics["accuracy"] == 80.0
    assert metrics["balanced_accuracy"] == 50.0
    assert metrics["by_class"] == {"cat": 100.0, "dog": 0.0, "fox": None}
    assert metrics["chance"] == TASKS["classify"].chance(torch.tensor(truths), ("cat", "dog", "fox"))
    assert metrics["chance"].explains(metrics["accuracy"])
