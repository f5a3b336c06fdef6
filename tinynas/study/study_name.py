"""Names of studies: limits, and the weights evaluated. An accuracy holds in all studies of the same weights."""

from optuna.trial import TrialState

from ..arch.arch import Arch
from .feasible import Feasible
from .shared_study import SharedStudy

_OF = " of supernet "  # between the limits and the weights


def study_name(feasible: Feasible, weights: str, *, pareto: bool) -> str:
    """Return the name of a study, with the limits to the last digit: "macs <= 60000 of supernet 1f3a".

    Figures of a source of measured costs with a digest are another study's than those of one with another digest.
    """
    prefix = "front, " if pareto else ""
    source = feasible.measured.digest[:12] if feasible.measured else ""
    suffix = f" by {source}" if source else ""
    return f"{prefix}{feasible.budget.describe(exact=True)}{suffix}{_OF}{weights}"


def accuracies_of_other_studies(study: SharedStudy, feasible: Feasible) -> dict[Arch, float]:
    """Return the accuracies of networks that other studies of the same weights have, with other limits."""
    _, _, weights = study.name.partition(_OF)

    def has_same_weights(name: str) -> bool:
        return name.partition(_OF)[2] == weights

    accuracies = {}
    for trial in study.trials_of_other_studies(has_same_weights):
        if trial.state == TrialState.COMPLETE and study.has_genes(trial):
            accuracies[feasible.space.decode(trial.params)] = float(trial.values[0])
    return accuracies
