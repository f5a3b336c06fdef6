"""Files that a run no longer needs: checkpoints of what has finished, and outputs that can be computed again."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..utils.errors import BusyError, FileError
from ..utils.io import folder_size
from ..utils.locks import exclusive_lock
from .retrain_folder import LOCK
from .run_folder import RunFolder
from .runs import is_run
from .saved import is_supernet_trained

_COMMAND = "tinynas clean"


@dataclass(frozen=True, kw_only=True)
class Removable:
    """A file or folder that can be deleted without loss of results.

    Attributes:
        path: The file or folder.
        bytes: Its size.
        locks: Locks of the processes that use it.
    """

    path: Path
    bytes: int
    locks: tuple[Path, ...] = ()


@dataclass(kw_only=True)
class Cleaning:
    """What can be deleted of runs.

    Attributes:
        removable: Files and folders that can be deleted.
        kept: What is kept, and why, in a line each.
    """

    removable: list[Removable] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of what can be deleted."""
        return sum(item.bytes for item in self.removable)

    def add(self, path: Path, *locks: Path) -> None:
        """Add a file or folder, if it exists and nobody is at work in it."""
        if not path.exists():
            return
        try:
            with _locked(locks):
                size = folder_size(path)[0] if path.is_dir() else path.stat().st_size
        except BusyError as error:
            self.kept.append(f"{path}: {error}")
        else:
            self.removable.append(Removable(path=path, bytes=size, locks=locks))


def find_removable(runs: Sequence[Path], *, supernet: bool = False) -> Cleaning:
    """Find what can be deleted of runs without loss of results; what is unfinished or in use is kept.

    Of a finished retraining these are its checkpoint and the network of its best epoch, which resuming needs; of a
    finished search, folders that interrupted trainings have left; and, if no retraining is unfinished, teachers'
    outputs, which can be computed again.

    Args:
        runs: Run folders.
        supernet: Whether trained supernets can be deleted as well. Searches with other limits would train them again.

    Raises:
        FileError: A folder is no run, or a file in it is damaged.
    """
    cleaning = Cleaning()
    for path in runs:
        if not is_run(RunFolder(path)):
            raise FileError(f"{path} is no run: it has neither a search nor a retraining; `tinynas runs` lists runs")
        _add_run(cleaning, RunFolder(path), supernet=supernet)
    return cleaning


def remove(items: Sequence[Removable]) -> None:
    """Delete files and folders; nobody can begin to work in them meanwhile.

    Raises:
        BusyError: Another process has begun to work in one of them. What comes before it is deleted.
        FileError: A file cannot be deleted.
    """
    for item in items:
        with _locked(item.locks):
            try:
                if item.path.is_dir() and not item.path.is_symlink():
                    shutil.rmtree(item.path)
                else:
                    item.path.unlink(missing_ok=True)
            except OSError as error:
                raise FileError(f"cannot delete {item.path}: {error.strerror}") from None


def _add_run(cleaning: Cleaning, run: RunFolder, *, supernet: bool) -> None:
    """Add what can be deleted of a run."""
    unfinished = []
    for retraining in run.retrainings():
        if not retraining.is_finished():
            unfinished.append(retraining.name)
            cleaning.kept.append(f"{retraining.path}: not finished")
            continue
        retraining.read_metrics()  # raises an error if the results are damaged
        cleaning.add(retraining.checkpoint, retraining.lock)
        cleaning.add(retraining.best_model, retraining.lock)
    if _has_finished_search(run):
        cleaning.add(run.candidates, *_locks_in(run.candidates))
    elif run.candidates.exists():
        cleaning.kept.append(f"{run.candidates}: the search has not finished")
    if run.teacher_outputs.exists() and unfinished:
        cleaning.kept.append(f"{run.teacher_outputs}: unfinished retrainings may use them")
    else:
        cleaning.add(run.teacher_outputs)
    if run.supernet.exists():
        _add_supernet(cleaning, run, unfinished, asked_for=supernet)


def _add_supernet(cleaning: Cleaning, run: RunFolder, unfinished: Sequence[str], *, asked_for: bool) -> None:
    """Add a run's supernet if it is asked for, and nothing that is unfinished can need it."""
    if not is_supernet_trained(run.path) or not _has_finished_search(run):
        cleaning.kept.append(f"{run.supernet}: the search has not finished")
    elif unfinished:
        cleaning.kept.append(f"{run.supernet}: unfinished retrainings may use it")
    elif not asked_for:
        cleaning.kept.append(f"{run.supernet}: searches with other limits use it; --supernet deletes it")
    else:
        cleaning.add(run.supernet, run.lock)


def _has_finished_search(run: RunFolder) -> bool:
    """Return whether the newest search has written its front since it began; one that fails leaves an older front."""
    if not run.front.exists():
        return False
    return not run.search.exists() or run.search.stat().st_mtime <= run.front.stat().st_mtime


def _locks_in(candidates: Path) -> Iterator[Path]:
    """Yield the locks of trainings that are in progress, or were killed."""
    yield from sorted(candidates.glob(f"*/*/{LOCK}"))


@contextmanager
def _locked(locks: Sequence[Path]) -> Iterator[None]:
    """Hold locks while the body runs. Raises BusyError if another process holds one."""

    def refuse(holder: str) -> None:
        """Refuse to delete what another process uses."""
        raise BusyError(f"in use by {holder}")

    with ExitStack() as held:
        for lock in locks:
            held.enter_context(exclusive_lock(lock, _COMMAND, refuse))
        yield
