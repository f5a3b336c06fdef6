"""A training of which only the accuracy is wanted: its files are deleted when it has ended."""

from shutil import rmtree

from ..experiment.log import last_record, records
from ..experiment.run_folder import RetrainFolder
from ..experiment.saved import save_retraining
from ..study.history import DroppedError
from ..utils.errors import TrainingError
from .retraining import Retraining


def train_for_accuracy(training: Retraining) -> float:
    """Train, and return the accuracy on search-val in percent after the last epoch.

    An interrupted training leaves its files, and continues from them. What is called after every epoch is then called
    for those that are over, first.

    Args:
        training: The training, in a folder that it has for itself.

    Raises:
        DroppedError: What is called after every epoch has dropped it.
        TrainingError: It diverged.
        FileError: The folder has another training.
    """
    folder = RetrainFolder(training.plan.folder)
    save_retraining(training.plan, training.identity)
    try:
        if folder.checkpoint.exists() and folder.log.exists():
            for record in records(folder.log):
                training.after_epoch(record["epoch"], record["val_accuracy"])
        training.train()
    except (DroppedError, TrainingError):
        rmtree(folder.path)
        raise
    accuracy = last_record(folder.log)["val_accuracy"]
    rmtree(folder.path)
    return float(accuracy)
