"""Classification losses: cross-entropy with labels and with a teacher's outputs."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..data.base import Batch

Criterion = Callable[[Batch], Callable[[Tensor], Tensor]]  # a batch -> (a network's outputs -> loss)
Imitation = Callable[[Tensor, float], Callable[[Tensor], Tensor]]  # a teacher's outputs, temperature -> the same


def labelled(smoothing: float = 0.0) -> Criterion:
    """Cross-entropy of logits (N, classes) with the labels, a part of them spread evenly over the classes."""
    return lambda batch: lambda logits: cross_entropy(logits, batch.labels, label_smoothing=smoothing)


_LABELS = labelled()


def imitated(theirs: Tensor, temperature: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Cross-entropy of logits (N, classes) with a teacher's soft labels (Hinton et al., 2015, section 2).

    Multiplied by the temperature squared, so that its gradients keep their size.
    """
    soft = (theirs.detach() / temperature).softmax(1)
    return lambda logits: temperature**2 * cross_entropy(logits / temperature, soft)


def taught(
    teacher: Callable[[Batch], Tensor],
    *,
    criterion: Criterion = _LABELS,
    imitation: Imitation = imitated,
    weight: float = 0.5,
    temperature: float = 1.0,
) -> Criterion:
    """What the criterion asks and, with `weight`, what a teacher's outputs do at a temperature."""

    def of_batch(batch: Batch) -> Callable[[Tensor], Tensor]:
        hard, soft = criterion(batch), imitation(teacher(batch), temperature)
        return lambda outputs: (1 - weight) * hard(outputs) + weight * soft(outputs)

    return of_batch
