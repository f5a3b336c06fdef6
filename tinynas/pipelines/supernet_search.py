"""Search of a trained supernet."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.reporter import ProgressReporter
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..kernels.threads import all_threads_for_kernels
from ..models.model_file import digest
from ..models.supernet import Supernet
from ..study.attempt import Attempt, EvaluateOrDrop
from ..study.evaluator import SubnetEvaluator
from ..study.feasible import Feasible
from ..study.index import SearchOutcome
from ..study.loop import AfterTrial
from ..study.racing import Race
from ..training.backend import use_gpu_layout
from .network_search import search_as_worker, search_study
from .search_limits import feasible_networks
from .search_progress import SearchProgress, SearchState
from .worker_processes import Messages, WorkerTask


@dataclass(frozen=True, kw_only=True)
class SupernetSearch:
    """A `NetworkSearch` that evaluates networks with the weights of a supernet.

    Attributes:
        plan: The search.
        supernet: The run's supernet, trained.
        data: The data set.
    """

    plan: SearchPlan
    supernet: Supernet
    data: Data
    dropping: str = "dropped after a part of search-val"

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.supernet.space

    def run(self, *, after_trial: AfterTrial, note: Callable[[str], None]) -> SearchOutcome:
        """Search until the study is complete."""
        plan = self.plan
        feasible = feasible_networks(plan, self.space)
        evaluator = SubnetEvaluator(self.supernet, self.data, note=note, evaluate=plan.evaluate)
        weights = f"supernet {digest(self.supernet.state_dict())[:12]}"
        if plan.settings.own_metric:
            weights += f" by {plan.settings.own_metric}"
        with all_threads_for_kernels(self.supernet.fused):
            return search_study(
                plan,
                feasible,
                evaluator,
                evaluate_or_drop=_race(plan, evaluator, feasible) if plan.settings.race else None,
                weights=weights,
                after_trial=after_trial,
                note=note,
            )

    def task(self, threads: int) -> WorkerTask:
        """Return what a worker is sent."""
        supernet = self.supernet
        return SupernetSearchTask(
            plan=self.plan,
            space=self.space,
            weights={name: tensor.cpu() for name, tensor in supernet.state_dict().items()},
            data=self.data,
            device=next(supernet.parameters()).device,
            threads=threads,
            fused=supernet.fused,
        )


def _race(plan: SearchPlan, evaluator: SubnetEvaluator, feasible: Feasible) -> EvaluateOrDrop:
    """Return what races networks."""
    race = Race(evaluator, feasible, objectives=plan.objectives)

    def evaluate_or_drop(arch: Arch, attempt: Attempt) -> float:
        """Return the accuracy of a network, unless it cannot win."""
        return race(arch, attempt.evaluations)

    return evaluate_or_drop


@dataclass(frozen=True, kw_only=True)
class SupernetSearchTask:
    """What a worker is sent: the trained supernet and the data, so that it neither trains nor checks image files again.

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
        search_as_worker(SupernetSearch(plan=self.plan, supernet=supernet, data=self.data), messages)


def join_search(search: SupernetSearch, *, report: ProgressReporter) -> None:
    """Search beside the first process of torchrun until the study is complete, if this process can reach the study.

    Args:
        search: The search of the run's supernet, the same as the first process has.
        report: What there is to say about the search.
    """
    plan = search.plan
    storage = plan.settings.storage or ""
    is_on_server = "://" in storage and not storage.startswith("sqlite")
    if is_on_server or RunFolder(plan.run).search.exists():  # a file is the first process's where its run is seen
        search.run(after_trial=SearchProgress(_ignore, plan.front_costs).after_trial, note=report.note)


def _ignore(state: SearchState) -> None:
    """Do not show the state of a worker: the first process shows that of the study."""
