import time

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from tinynas.study.shared_study import Retries, SharedStudy
from tinynas.study.storage import is_transient
from tinynas.utils.errors import FileError

URL = "postgresql://me:secret@host/nas"


class Away(Exception):
    """What a driver raises."""


def away(text='connection to server at "host", port 5432 failed: Connection refused\n\tIs the server running?'):
    """Return what Optuna raises when a database cannot be reached."""
    hidden = OperationalError("SELECT 1", {}, Away(text))
    error = optuna.exceptions.StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = hidden
    return error


@pytest.fixture
def pauses(monkeypatch):
    """Return the pauses that were slept; time passes by them alone."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: float(sum(slept)))
    return slept


def test_retries_with_growing_pauses_and_one_line_each(pauses):
    failures = [away() for _ in range(8)]
    notes = []

    def access():
        if failures:
            raise failures.pop()
        return "read"

    assert Retries(url=URL, timeout=600, note=notes.append).call(access) == "read"
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(notes) == 8
    assert notes[1] == (
        'storage postgresql://me@host/nas: connection to server at "host", port 5432 failed: Connection refused; '
        "trying again in 2 s"
    )


def test_retries_end_with_one_line(pauses):
    def access():
        raise away()

    with pytest.raises(FileError, match=r"cannot reach the study in .*me@host/nas for 100 s: .*refused; .*--resume"):
        Retries(url=URL, timeout=100, note=pauses.count).call(access)
    assert sum(pauses) == 100


@pytest.mark.parametrize(
    "text",
    [
        'FATAL:  password authentication failed for user "me"',
        'FATAL:  database "nas" does not exist',
        "could not translate host name",
    ],
)
def test_retries_do_not_repeat_what_stays_wrong(pauses, text):
    assert not is_transient(away(text))

    def access():
        raise away(text)

    with pytest.raises(optuna.exceptions.StorageInternalError):
        Retries(url=URL, timeout=100, note=pauses.count).call(access)
    assert pauses == []


@pytest.fixture
def shared(tmp_path):
    retries = Retries(url=str(tmp_path / "j"), timeout=10, note=print)
    return SharedStudy(str(tmp_path / "j"), "s", num_options={"a": 3}, retries=retries)


def lose_the_answer(monkeypatch, shared, method):
    """Let the next call of a method of the storage be carried out, and its connection be lost before the answer."""
    original = getattr(shared._storage, method)

    def call(*arguments, **named):
        monkeypatch.setattr(shared._storage, method, original)
        original(*arguments, **named)
        raise away("server closed the connection unexpectedly")

    monkeypatch.setattr(shared._storage, method, call)


def test_shared_study_creates_one_trial_when_the_answer_is_lost(shared, monkeypatch, pauses):
    lose_the_answer(monkeypatch, shared, "create_new_trial")
    trial_id = shared.begin({"a": 2}, {"cost": 1}, constraints={"macs": -1.0})
    (trial,) = shared.trials()
    assert (trial._trial_id, trial.params, trial.constraints) == (trial_id, {"a": 2}, {"macs": -1.0})
    assert len(pauses) == 1


def test_shared_study_finishes_a_trial_when_the_answer_is_lost(shared, monkeypatch, pauses):
    trial_id = shared.begin({"a": 2}, {}, constraints={})
    lose_the_answer(monkeypatch, shared, "set_trial_state_values")
    assert shared.finish(trial_id, [0.5])
    assert [trial.values for trial in shared.trials()] == [[0.5]]
    assert not shared.finish(trial_id, [0.6]), "another worker's values stay"
    assert not shared.fail(trial_id, {"failure": "too late"})
    assert [trial.values for trial in shared.trials()] == [[0.5]]


def test_shared_study_writes_a_trial_in_two_lines(shared, tmp_path):
    before = len((tmp_path / "j").read_text().splitlines())
    shared.finish(shared.begin({"a": 1}, {"cost": {"macs": 5}, "worker": {}}, constraints={"macs": -5.0}), [0.5])
    assert len((tmp_path / "j").read_text().splitlines()) == before + 2


def test_shared_study_reads_other_studies_again_when_the_connection_is_lost(shared, tmp_path, monkeypatch, pauses):
    retries = Retries(url=str(tmp_path / "j"), timeout=10, note=print)
    other = SharedStudy(str(tmp_path / "j"), "other", num_options={"a": 3}, retries=retries)
    other.finish(other.begin({"a": 1}, {}, constraints={}), [0.5])
    lose_the_answer(monkeypatch, shared, "get_all_trials")
    (trial,) = shared.trials_of_other_studies(lambda name: True)
    assert trial.values == [0.5]
    assert len(pauses) == 1


@pytest.mark.parametrize("storage", ["journal", "sqlite:///{folder}/study.db"])
def test_trials_are_read_from_a_number_on(tmp_path, storage):
    url = storage.format(folder=tmp_path) if ":" in storage else str(tmp_path / storage)
    retries = Retries(url=url, timeout=10, note=print)
    for name in ("other", "study"):
        study = SharedStudy(url, name, num_options={"a": 9}, retries=retries)
        for value in range(5):
            study.begin({"a": value}, {}, constraints={})
    assert [trial.params["a"] for trial in study.trials(3, others=[2, 0])] == [2, 0, 3, 4]
    assert study.trials(5) == []


@pytest.mark.parametrize("objectives", [(), ("macs",), ("params", "flash")])
def test_values_have_names_for_other_programs(objectives, tmp_path):
    url = f"sqlite:///{tmp_path / 'study'}"
    retries = Retries(url=url, timeout=0, note=print)
    for _ in range(2):
        SharedStudy(url, "s", objectives=objectives, num_options={"a": 3}, retries=retries)
    study = optuna.load_study(study_name="s", storage=url)
    assert study.metric_names == ["accuracy", *(f"log10 {cost}" for cost in objectives)]
    assert len(study.directions) == 1 + len(objectives)
