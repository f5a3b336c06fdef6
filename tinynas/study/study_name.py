"""Names of studies: limits, and the weights evaluated. An accuracy holds in all studies of the same weights."""

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from ..arch.arch import Arch
from .feasible import Feasible
from .shared_study import SharedStudy

_MACS = ("macs",)  # the only front of earlier versions, whose studies are continued
_OF = " of "  # between the limits and the weights


def study_name(feasible: Feasible, weights: str, *, objectives: Sequence[str]) -> str:
    """Return the name of a study, with the limits to the last digit: "macs <= 60000 of supernet 1f3a".

    A front of other costs is another study, and so are figures of a source of costs with another digest.

    Args:
        feasible: The networks to choose from.
        weights: Identifies the weights: "supernet 1f3a".
        objectives: Costs of the front, if one is searched for.
    """
    prefix = f"front of {', '.join(objectives)}, " if objectives else ""
    if tuple(objectives) == _MACS:
        prefix = "front, "
    suffix = f" by {feasible.digest[:12]}" if feasible.digest else ""
    return f"{prefix}{feasible.budget.describe(exact=True)}{suffix}{_OF}{weights}"


def evaluated_in_other_studies(study: SharedStudy, feasible: Feasible) -> dict[Arch, FrozenTrial]:
    """Return the trials of evaluated networks that other studies of the same weights have, with other limits."""
    _, _, weights = study.name.rpartition(_OF)

    def has_same_weights(name: str) -> bool:
        return name.rpartition(_OF)[2] == weights

    evaluated = {}
    for trial in study.trials_of_other_studies(has_same_weights):
        if trial.state == TrialState.COMPLETE and study.has_genes(trial):
            evaluated[feasible.space.decode(trial.params)] = trial
    return evaluated


def best_known(evaluated: Mapping[Arch, FrozenTrial], feasible: Feasible) -> list[Arch]:
    """Return the most accurate of evaluated networks within the limits, alone; none if none keeps them."""
    for arch in sorted(evaluated, key=lambda arch: evaluated[arch].values[0], reverse=True):
        if arch in feasible:
            return [arch]
    return []
