"""Trainings of which only the accuracy is wanted: their files are deleted in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from ..experiment.log import last_record, records
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.saved import save_retraining
from ..study.history import DroppedError
from ..utils.errors import TrainingError
from .retraining import Retraining


@contextmanager
def deleted_when_over(folder: Path) -> Iterator[None]:
    """Delete a folder of trainings that have ended, were dropped or diverged; not if they were interrupted."""
    try:
        yield
    except (DroppedError, TrainingError):
        rmtree(folder)
        raise
    rmtree(folder)


def train_for_accuracy(training: Retraining) -> float:
    """Train, and return the accuracy on search-val in percent after the last epoch.

    An interrupted training continues from its files. What is called after every epoch is then called for those that are
    over, first.

    Args:
        training: The training, in a folder that it has for itself, whose files are left there.

    Raises:
        DroppedError: What is called after every epoch has dropped it.
        TrainingError: It diverged.
        FileError: The folder has another training.
    """
    folder = RetrainFolder(training.plan.folder)
    save_retraining(training.plan, training.identity)
    if folder.checkpoint.exists() and folder.log.exists():
        for record in records(folder.log):
            training.after_epoch(record["epoch"], record["val_accuracy"])
    training.train()
    return float(last_record(folder.log)["val_accuracy"])
