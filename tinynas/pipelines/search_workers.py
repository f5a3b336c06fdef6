"""Workers of a search: processes that search beside this one, on the same machine, until the study is complete."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..utils.text import counted
from .network_search import NetworkSearch
from .search_progress import SearchDisplay
from .worker_processes import workers_beside

_END_SECONDS = 10.0  # to wait for them when the search is complete


@contextmanager
def search_workers_beside(search: NetworkSearch, display: SearchDisplay) -> Iterator[None]:
    """Run all but one of the plan's workers as processes that search beside the body, no more than there are trials.

    Raises:
        InputError: The data set cannot be sent to another process.
    """
    count = min(search.plan.settings.workers, search.plan.settings.trials)
    if count == 1:
        yield
        return
    announcement = f"search: starting {counted(count - 1, 'worker')} beside this process"
    with workers_beside(
        search.task, count, display, what="the search", announcement=announcement, end_seconds=_END_SECONDS
    ):
        yield
