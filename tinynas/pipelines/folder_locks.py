"""One process at a time trains or writes in a folder, and those that come meanwhile learn who it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..experiment.reporter import ProgressReporter
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..utils.distributed import world_size
from ..utils.errors import BusyError, FileError
from ..utils.locks import exclusive_lock


@contextmanager
def supernet_lock(run: RunFolder, report: ProgressReporter) -> Iterator[None]:
    """Let one process at a time train a run's supernet. The others wait, since they can use it then.

    Raises:
        FileError: Another process trains it, and this one has further processes beside it, which cannot wait for long.
    """

    def report_holder(holder: str) -> None:
        """Report who trains the supernet, or refuse to wait under torchrun."""
        if world_size() > 1:
            raise FileError(f"the supernet of {run.path} is being trained by {holder}; wait until that has ended")
        report.note(f"waiting for {holder}, which trains the supernet of {run.path}")

    with exclusive_lock(run.lock, "tinynas search", report_holder):
        yield


def refuse_while_trained(run: RunFolder) -> None:
    """Check that no process trains a run's supernet.

    Raises:
        FileError: One does.
    """

    def refuse(holder: str) -> None:
        """Refuse to go on beside another process."""
        raise FileError(
            f"the supernet of {run.path} is being trained by {holder}; add --resume to wait for it, and then search too"
        )

    with exclusive_lock(run.lock, "tinynas search", refuse):
        pass


@contextmanager
def retraining_lock(retraining: RetrainFolder) -> Iterator[None]:
    """Let one process train in a retraining's folder.

    Raises:
        BusyError: Another process does.
    """

    def refuse(holder: str) -> None:
        """Refuse to train beside another process."""
        raise BusyError(
            f"{retraining.path} is being trained by {holder}; wait until that has ended, or choose another --name"
        )

    with exclusive_lock(retraining.lock, "tinynas retrain", refuse):
        yield


def wait_until_trained(retraining: RetrainFolder, report: ProgressReporter) -> None:
    """Wait while another process trains in a retraining's folder, and report which one it is."""

    def report_holder(holder: str) -> None:
        """Report who trains there."""
        report.note(f"waiting for {holder}, which trains {retraining.path}")

    with exclusive_lock(retraining.lock, "tinynas retrain", report_holder):
        pass


@contextmanager
def writing_lock(folder: Path, command: str, report: ProgressReporter) -> Iterator[None]:
    """Let one process at a time write the files of an export or of early exits, so that all are of one of them.

    Args:
        folder: Where the files are written.
        command: What this process runs, for those that wait for it.
        report: Is notified if this process waits for another one.
    """

    def report_holder(holder: str) -> None:
        """Report who writes the files."""
        report.note(f"waiting for {holder}, which writes {folder}")

    with exclusive_lock(folder / ".writing", command, report_holder):
        yield
