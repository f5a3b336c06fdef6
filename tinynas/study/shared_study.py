"""An Optuna study that several processes write to, through a storage that may be away for a while.

A trial takes two writes: one creates it, running, with its genes and all attributes; one finishes it.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..utils.errors import FileError
from .halving import Halving
from .journal import JournalFileStorage
from .storage import failure_reason, is_transient, open_storage, quiet_optuna, redact_password, storage_errors

Result = TypeVar("Result")
_CLAIM = "claim"  # user attribute of a trial: a random id of the write that created it
_FIRST_PAUSE = 1.0  # seconds before a storage that failed is tried again; doubled each time
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How long a storage that cannot be reached is tried again.

    Attributes:
        url: The storage.
        timeout: Seconds for which one access is tried.
        note: Shows a line each time.
        advice: What to do once it can be reached.
    """

    url: str
    timeout: float
    note: Callable[[str], None]
    advice: str = "continue with --resume"

    def call(self, access: Callable[[], Result]) -> Result:
        """Return what an access to the storage returns; try it again, with growing pauses, while it cannot be reached.

        Raises:
            FileError: The storage could not be reached in time.
        """
        began, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                return access()
            except Exception as error:
                if not is_transient(error):
                    raise
                reason = failure_reason(error, self.url)
                left = began + self.timeout - time.monotonic()
            if left <= 0:
                raise FileError(
                    f"cannot reach the study in {redact_password(self.url)} for {self.timeout:.0f} s: {reason}; start "
                    f"its server, then {self.advice}; or wait longer, with --storage-timeout"
                )
            pause = min(pause, left)
            self.note(f"storage {redact_password(self.url)}: {reason}; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class SharedStudy:
    """An Optuna study by its name, created if it does not exist.

    Args:
        url: Path of a journal file, or URL of a database or gRPC proxy.
        name: The study's name.
        objectives: Names of the costs of a front. The values of a trial are accuracy, which is maximised, and log10 of
            these costs, such as MACs, which are minimised.
        num_options: Number of options of every gene, by its name.
        retries: What to do while the storage cannot be reached.

    Raises:
        InputError: The URL cannot be used.
        FileError: The study in it cannot be used.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        objectives: Sequence[str] = (),
        num_options: Mapping[str, int],
        retries: Retries,
    ) -> None:
        self.name = name
        self._retries = retries
        self._distributions = gene_distributions(num_options)
        study = retries.call(lambda: _create_study(url, name, objectives))
        self._study = study
        self._storage: BaseStorage = study._storage
        self._id: int = study._study_id

    def trials(self, first: int = 0, others: Iterable[int] = ()) -> list[FrozenTrial]:
        """Return the trials with other numbers, and all from a first number on, in this order.

        Storages keep what they read of finished trials; it is not copied.
        """

        def read() -> list[FrozenTrial]:
            if isinstance(self._storage, JournalFileStorage):
                return self._storage.trials_from(self._id, first, others)
            trials = self._storage.get_all_trials(self._id, deepcopy=False)
            return [*(trials[number] for number in others), *trials[first:]]

        return self._retries.call(read)

    def trials_of_other_studies(self, belongs: Callable[[str], bool]) -> list[FrozenTrial]:
        """Return the trials of the storage's other studies whose names belong."""

        def read() -> list[FrozenTrial]:
            trials: list[FrozenTrial] = []
            for study in self._storage.get_all_studies():
                if study.study_name != self.name and belongs(study.study_name):
                    trials += self._storage.get_all_trials(study._study_id, deepcopy=False)
            return trials

        return self._retries.call(read)

    def has_genes(self, trial: FrozenTrial) -> bool:
        """Return whether a trial has exactly the study's genes."""
        return trial.distributions == self._distributions

    def share_distributions(self, trial: FrozenTrial) -> None:
        """Let a trial that has the study's genes use its distributions; a journal has its own for every trial."""
        trial.distributions = self._distributions

    def begin(self, genes: Mapping[str, int], attributes: Mapping[str, Any], constraints: Mapping[str, float]) -> int:
        """Create a running trial; return its id.

        Args:
            genes: The option of every gene.
            attributes: User attributes.
            constraints: Values that are at most 0 if the constraint holds.
        """
        claim = uuid4().hex
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(genes),
            distributions=self._distributions,
            user_attrs={**attributes, _CLAIM: claim},
            system_attrs={f"constraints:{name}": value for name, value in constraints.items()},
        )
        attempts = 0

        def create() -> int:
            nonlocal attempts
            attempts += 1
            if attempts > 1:  # the connection may have been lost after the trial was created
                for trial in self._storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.RUNNING,)):
                    if trial.user_attrs.get(_CLAIM) == claim:
                        return trial._trial_id
            return self._storage.create_new_trial(self._id, template_trial=template)

        return self._retries.call(create)

    def finish(self, trial_id: int, values: Sequence[float]) -> bool:
        """Complete a trial with its values; return whether it is complete with them: nobody else has finished it."""

        def complete() -> bool:
            try:
                self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, values)
            except UpdateFinishedTrialError:
                trial = self._storage.get_trial(trial_id)  # perhaps by this process, before the connection was lost
                return trial.state == TrialState.COMPLETE and trial.values == list(values)
            return True

        return self._retries.call(complete)

    def fail(self, trial_id: int, attributes: Mapping[str, Any]) -> bool:
        """Fail a running trial, with further user attributes; return whether no other process had finished it."""
        return self._end(trial_id, TrialState.FAIL, attributes)

    def prune(self, trial_id: int, attributes: Mapping[str, Any]) -> bool:
        """Prune a running trial, with further user attributes; return whether no other process had finished it."""
        return self._end(trial_id, TrialState.PRUNED, attributes)

    def _end(self, trial_id: int, state: TrialState, attributes: Mapping[str, Any]) -> bool:
        """Finish a running trial without values; return whether no other process had finished it."""

        def mark() -> bool:
            try:
                for name, value in attributes.items():
                    self._storage.set_trial_user_attr(trial_id, name, value)
                self._storage.set_trial_state_values(trial_id, state)
            except UpdateFinishedTrialError:
                return False
            return True

        return self._retries.call(mark)

    def report(self, trial_id: int, step: int, value: float) -> bool:
        """Set an intermediate value of a running trial; return whether no other process had finished the trial."""

        def write() -> bool:
            try:
                self._storage.set_trial_intermediate_value(trial_id, step, value)
            except UpdateFinishedTrialError:
                return False
            return True

        return self._retries.call(write)

    def copy_reports(self, trial_id: int, other: FrozenTrial) -> None:
        """Give a running trial the intermediate values of another one, also those that successive halving compares."""

        def write() -> None:
            with suppress(UpdateFinishedTrialError):  # another process has taken it over
                for step, value in other.intermediate_values.items():
                    self._storage.set_trial_intermediate_value(trial_id, step, value)
                for name, value in Halving.compared(other).items():
                    self._storage.set_trial_system_attr(trial_id, name, value)

        self._retries.call(write)

    def stops(self, trial_id: int, halving: Halving) -> bool:
        """Return whether successive halving stops a running trial after what it has reported last."""
        trial = self._retries.call(lambda: self._storage.get_trial(trial_id))  # once: asking again changes nothing
        return self._retries.call(lambda: halving.stops(self._study, trial))

    def release(self, trial_id: int) -> None:
        """Fail a trial that this process will not evaluate, as it was interrupted. Errors are ignored."""
        try:
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except Exception:  # then others notice that this process is gone
            return

    def set_attribute(self, trial_id: int, name: str, value: Any) -> None:
        """Set a user attribute of a running trial. The storage is tried once."""
        self._storage.set_trial_user_attr(trial_id, name, value)


def try_storage(url: str, *, timeout: float, note: Callable[[str], None]) -> None:
    """Open the storage of a study, to see whether it can be used.

    Args:
        url: Path of a journal file, or URL of a database or gRPC proxy.
        timeout: Seconds for which a storage that cannot be reached is tried again.
        note: Shows a line each time.

    Raises:
        InputError: The URL cannot be used.
        FileError: The storage cannot be reached, or the study in it cannot be used.
    """
    opened = partial(open_storage, url, advice="create it, or name another --storage")
    with storage_errors(url), quiet_optuna():
        Retries(url=url, timeout=timeout, note=note, advice="search again").call(opened)


def gene_distributions(num_options: Mapping[str, int]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every gene, whose value is the index of an option.

    Args:
        num_options: Number of options of every gene, by its name.
    """
    distributions: dict[str, BaseDistribution] = {}
    for gene, count in num_options.items():
        distributions[gene] = IntDistribution(0, count - 1)
    return distributions


def directions_of(num_values: int) -> list[StudyDirection]:
    """Return the directions of a trial's values: accuracy is maximised, costs are minimised."""
    return [StudyDirection.MAXIMIZE] + [StudyDirection.MINIMIZE] * (num_values - 1)


def _create_study(url: str, name: str, objectives: Sequence[str]) -> optuna.Study:
    """Return the study of this name; a new one with the names of its values, which optuna-dashboard shows."""
    names = ["accuracy"]
    for cost in objectives:
        names.append(f"log10 {cost}")
    directions = directions_of(len(names))
    study = optuna.create_study(storage=open_storage(url), study_name=name, directions=directions, load_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if study.metric_names is None:
            study.set_metric_names(names)
    return study
