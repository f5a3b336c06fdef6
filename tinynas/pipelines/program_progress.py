"""Progress of functions for Python programs: none, that of the commands, or a program's own display."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..experiment.reporter import NullReporter, ProgressReporter
from ..utils.errors import InputError

Progress = bool | ProgressReporter  # True: as the commands show it; False: none


@contextmanager
def reporter_of(progress: Progress) -> Iterator[ProgressReporter]:
    """Return what receives messages and progress, and show progress bars while the body runs if it does.

    Raises:
        InputError: It is no boolean and has no methods `note` and `advance`.
    """
    if progress is True:
        from ..experiment.progress_screen import ProgressScreen  # which imports rich

        with ProgressScreen() as screen:
            yield screen
    elif progress is False:
        yield NullReporter()
    elif hasattr(progress, "note") and hasattr(progress, "advance"):
        yield progress
    else:
        raise InputError(
            f"progress is of the type {type(progress).__name__}; pass True, False, or an object with the methods "
            "note(text) and advance(task, done, total, text)"
        )
