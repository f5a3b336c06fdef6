"""Workers of a search: processes that search beside this one, on the same machine, until the study is complete.

They are sent the trained supernet and the data set, so that they neither train nor check image files again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.search_plan import SearchPlan
from ..models.supernet import Supernet
from ..training.backend import use_gpu_layout
from ..utils.processes import exit_on_sigterm
from ..utils.text import counted
from .search_progress import SearchDisplay, SearchProgress, SearchState
from .supernet_search import search_supernet
from .worker_processes import Messages, workers_beside

_END_SECONDS = 10.0  # to wait for them when the search is complete


@dataclass(frozen=True, kw_only=True)
class SearchTask:
    """What a worker is sent.

    Attributes:
        plan: The search.
        space: The search space, with the data set's classes.
        weights: The supernet's state_dict, on the CPU.
        data: The data set.
        device: Where networks are evaluated.
        threads: Number of threads of torch.
        fused: Whether the fused kernels run the networks.
    """

    plan: SearchPlan
    space: SearchSpace
    weights: dict[str, Tensor]
    data: Data
    device: torch.device
    threads: int
    fused: bool

    def __str__(self) -> str:
        return f"the data set {self.plan.config.data}"

    def run(self, messages: Messages) -> None:
        """Search until the study is complete."""
        torch.set_num_threads(self.threads)
        supernet = Supernet(self.space)
        supernet.load_state_dict(self.weights)
        supernet.to(self.device)
        supernet.fused = self.fused
        use_gpu_layout(supernet)

        def show(state: SearchState) -> None:
            messages.send("state", asdict(state))

        progress = SearchProgress(show, self.plan.front_costs)
        messages.ready()
        with exit_on_sigterm():  # earlier, there is nothing to release
            search_supernet(self.plan, supernet, self.data, after_trial=progress.after_trial, note=messages.note)


@contextmanager
def search_workers_beside(plan: SearchPlan, supernet: Supernet, data: Data, display: SearchDisplay) -> Iterator[None]:
    """Run all but one of the plan's workers as processes that search beside the body.

    Raises:
        InputError: The data set cannot be sent to another process.
    """
    count = plan.settings.workers
    if count == 1:
        yield
        return

    def make_task(threads: int) -> SearchTask:
        return SearchTask(
            plan=plan,
            space=supernet.space,
            weights={name: tensor.cpu() for name, tensor in supernet.state_dict().items()},
            data=data,
            device=next(supernet.parameters()).device,
            threads=threads,
            fused=supernet.fused,
        )

    announcement = f"search: starting {counted(count - 1, 'worker')} beside this process"
    with workers_beside(
        make_task, count, display, what="the search", announcement=announcement, end_seconds=_END_SECONDS
    ):
        yield
