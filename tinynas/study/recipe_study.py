"""Search for the recipe of one network by Optuna's TPE, with successive halving on search-val."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ..utils.errors import TrainingError
from ..utils.rng import generator
from .halving import Halving
from .history import DroppedError
from .storage import open_storage, quiet_optuna, storage_errors

TUNED: Mapping[str, BaseDistribution] = {  # ranges by the paths of settings of a retraining
    "recipe.lr": FloatDistribution(0.02, 0.5, log=True),
    "recipe.weight_decay": FloatDistribution(1e-5, 2e-3, log=True),
    "recipe.label_smoothing": FloatDistribution(0.0, 0.15, step=0.05),
    "recipe.augmentation": CategoricalDistribution(("none", "light", "standard")),
    "dropout": FloatDistribution(0.0, 0.3, step=0.1),
}
_NAME = "recipe"
_ADVICE = "restore the file, then run the command again; or tune anew, with another --name"
_DIVERGED = "diverged"  # attribute of a trial whose training has


@dataclass(frozen=True, kw_only=True)
class TriedRecipe:
    """A recipe that was tried.

    Attributes:
        values: Its settings, by path.
        accuracy: On search-val in percent, after the last epoch that was trained; None if it diverged.
        epochs: How many epochs were trained.
        is_complete: Whether that were all.
    """

    values: Mapping[str, Any]
    accuracy: float | None
    epochs: int
    is_complete: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


AfterEpoch = Callable[[int, float], None]
TrainRecipe = Callable[[Mapping[str, Any], AfterEpoch], float]


class RecipeStudy:
    """The recipes that were tried for one network, in a journal file.

    A recipe that a killed process was at is tried again first.

    Args:
        path: The file.
        ranges: Distributions of the settings that are tuned, by path.
        epochs: Epochs of a training.
        seed: Of the sampler.

    Raises:
        FileError: The file is damaged.
    """

    def __init__(self, path: str, ranges: Mapping[str, BaseDistribution], *, epochs: int, seed: int) -> None:
        self._path = path
        self._ranges = dict(ranges)
        self._seed = seed
        self._halving = Halving(epochs)
        with quiet_optuna(), storage_errors(path, ValueError, KeyError, advice=_ADVICE):
            self._study = optuna.create_study(
                storage=open_storage(path, advice=_ADVICE), study_name=_NAME, direction="maximize", load_if_exists=True
            )
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self._study.tell(trial.number, state=TrialState.FAIL)
                self._study.enqueue_trial(trial.params)

    def tried(self) -> list[TriedRecipe]:
        """Return the recipes that were tried to their end or dropped, in the order in which they began."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return [_tried(trial) for trial in self._study.get_trials(deepcopy=False, states=states)]

    def try_first(self, values: Mapping[str, Any]) -> None:
        """Let the study begin with a recipe, unless it has begun."""
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(dict(values))

    def try_one(self, train: TrainRecipe) -> None:
        """Try a recipe that the study proposes.

        Args:
            train: Trains with its values by path, calls its second argument after every epoch, and returns the accuracy
                on search-val. A TrainingError says that it diverged.
        """
        draws = int(generator(self._seed, "recipe", len(self.tried())).integers(2**31))  # the same when it is resumed
        self._study.sampler = TPESampler(seed=draws, multivariate=True)
        with quiet_optuna():
            trial = self._study.ask(self._ranges)
            after_epoch = _AfterEpoch(trial, self._halving)
            try:
                accuracy = train(trial.params, after_epoch)
            except DroppedError:
                self._study.tell(trial, state=TrialState.PRUNED)
            except TrainingError:
                trial.set_user_attr(_DIVERGED, True)
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, accuracy)


class _AfterEpoch:
    """Reports the accuracy of a trial after every epoch, and drops it if others were better by then.

    Args:
        trial: The trial.
        halving: Decides which are dropped.
    """

    def __init__(self, trial: Trial, halving: Halving) -> None:
        self._trial = trial
        self._halving = halving

    def __call__(self, epochs: int, accuracy: float) -> None:
        """Report an accuracy. Raises DroppedError."""
        self._trial.report(accuracy, epochs)
        study = self._trial.study
        if self._halving.stops(study, study._storage.get_trial(self._trial._trial_id)):
            raise DroppedError


def _tried(trial: FrozenTrial) -> TriedRecipe:
    epochs = trial.last_step or 0
    accuracy = None if trial.user_attrs.get(_DIVERGED) else trial.intermediate_values.get(epochs)
    return TriedRecipe(
        values=trial.params,
        accuracy=trial.value if trial.state == TrialState.COMPLETE else accuracy,
        epochs=epochs,
        is_complete=trial.state == TrialState.COMPLETE,
    )
