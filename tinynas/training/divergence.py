"""Divergence of a training: which tensors are not finite, and the error that says so with a remedy."""

from pathlib import Path

from torch import nn

from ..utils.errors import TrainingError
from .recipe import Recipe

_LISTED = 3  # tensors named in an error


def check_finite(model: nn.Module, recipe: Recipe, *, checkpoint: Path | None = None) -> None:
    """Check the parameters and the batch-norm statistics of a model that a recipe trains.

    Raises:
        TrainingError: One of them is not finite. The message names the checkpoint that is kept.
    """
    tensors = model.state_dict()
    names = []
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            names.append(name)
    if names:
        listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
        problem = f"{len(names)} of {len(tensors)} weights and batch-norm statistics are not finite ({listed})"
        raise divergence(problem, recipe, checkpoint=checkpoint)


def divergence(problem: str, recipe: Recipe, *, checkpoint: Path | None = None) -> TrainingError:
    """Return the error of a training that diverged: the problem, the checkpoint that is kept, what to change.

    A checkpoint of finite weights may be of a training that was about to diverge, and does so again when resumed.
    """
    kept, advice = "", "try"
    if checkpoint is not None and checkpoint.exists():
        kept = f"; the last finite checkpoint is {checkpoint}"
        advice = "--resume is likely to diverge again: start anew with another --name (of a search: --run) and"
    elif checkpoint is not None:
        kept = "; there is no checkpoint yet"
    remedy = f"{advice} a --lr below {recipe.lr:g} or --warmup-epochs above {recipe.warmup_epochs:g}"
    if not 0 < recipe.max_grad_norm <= 1:
        remedy += ", with --max-grad-norm 1"
    return TrainingError(f"the training diverged: {problem}{kept}; {remedy}")
