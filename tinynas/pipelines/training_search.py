"""Search without a supernet: every network is trained from scratch, and stopped if it falls behind the others."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import inf
from pathlib import Path
from statistics import fmean

import torch

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Data
from ..data.identity import DataIdentity
from ..experiment.config import RetrainConfig
from ..experiment.plans import RetrainPlan
from ..experiment.reporter import NullReporter
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..experiment.search_plan import SearchPlan
from ..experiment.space_file import space_to_yaml
from ..study.attempt import Attempt
from ..study.halving import Halving
from ..study.index import SearchOutcome
from ..study.loop import AfterTrial
from ..training.divergence import divergence
from ..utils.distributed import choose_device, device
from ..utils.errors import TrainingError
from ..utils.io import json_digest
from .folder_locks import retraining_lock
from .network_search import search_as_worker, search_study
from .retraining import AfterEpoch, build_retraining
from .search_limits import feasible_networks
from .short_training import deleted_when_over, train_for_accuracy
from .worker_processes import Messages, WorkerTask

_DIGEST = 12  # characters


@dataclass(frozen=True, kw_only=True)
class TrainingSearch:
    """A `NetworkSearch` that trains every network as `tinynas retrain` would with the run's recipe, and evaluates it.

    All networks have the same seeds, so the same order of images and the same augmentation.

    Attributes:
        plan: The search.
        space: The search space, fitted to the data set.
        data: The data set.
        identity: Its classes, images and labels.
    """

    plan: SearchPlan
    space: SearchSpace
    data: Data
    identity: DataIdentity

    @property
    def dropping(self) -> str:
        """What happens to networks that fall behind."""
        epochs = self.plan.config.recipe.epochs
        rungs = " or ".join(map(str, Halving(epochs).rungs))
        return f"stopped early, behind others after {rungs} of {epochs} epochs"

    @cached_property
    def config(self) -> RetrainConfig:
        """The settings of every training."""
        config = self.plan.config
        return RetrainConfig(
            data=config.data,
            skip_unreadable=config.skip_unreadable,
            eval_images=max(1, len(self.data.val)),
            recipe=config.recipe,
        )

    def run(self, *, after_trial: AfterTrial, note: Callable[[str], None]) -> SearchOutcome:
        """Search until the study is complete. For a front, networks of all costs are trained to their end."""
        trained: dict[str, object] = {"space": space_to_yaml(self.space), "data": self.identity.to_dict()}
        trained["config"] = asdict(self.config)
        if self.plan.settings.num_seeds > 1:
            trained["seeds"] = self.plan.settings.num_seeds
        outcome = search_study(
            self.plan,
            feasible_networks(self.plan, self.space),
            self.train,
            evaluate_or_drop=None if self.plan.objectives else self.train_or_stop,
            weights=f"networks trained by {json_digest(trained)[:_DIGEST]}",
            after_trial=after_trial,
            note=note,
        )
        with suppress(OSError):  # others are at work in it, or it is not there
            RunFolder(self.plan.run).candidates.rmdir()
        return outcome

    def train(self, arch: Arch) -> float:
        """Train a network to its end; return its accuracy on search-val in percent.

        Raises:
            TrainingError: The training diverged.
        """
        with deleted_when_over(self._folder(arch)):
            return self._train(arch, 0, _go_on)

    def train_or_stop(self, arch: Arch, attempt: Attempt) -> float:
        """Train a network; return its accuracy on search-val in percent.

        As long as it would be the best, it is trained again with the next seed, up to the search's number of seeds, and
        its accuracy is the mean.

        Raises:
            CannotWinError: It is stopped, as it is behind others.
            TrainingError: The training diverged.
        """
        best = max((evaluation.accuracy for evaluation in attempt.evaluations), default=-inf)
        halving = Halving(self.plan.config.recipe.epochs)

        def report(epochs: int, accuracy: float) -> None:
            """Report the accuracy after an epoch."""
            attempt.report(epochs, accuracy, halving)

        with deleted_when_over(self._folder(arch)):
            accuracies = [self._train(arch, 0, report)]
            while len(accuracies) < self.plan.settings.num_seeds and fmean(accuracies) > best:
                accuracies.append(self._train(arch, len(accuracies), _go_on))
        return fmean(accuracies)

    def _folder(self, arch: Arch) -> Path:
        """Return the folder of a network's trainings."""
        name = json_digest({"arch": arch.to_dict(), "config": asdict(self.config)})[:_DIGEST]
        return RunFolder(self.plan.run).candidates / name

    def _train(self, arch: Arch, number: int, after_epoch: AfterEpoch) -> float:
        """Train a network with the seed of this number, from 0, and call a function after every epoch."""
        recipe = replace(self.config.recipe, seed=self.config.recipe.seed + number)
        config = replace(self.config, recipe=recipe)
        plan = RetrainPlan(folder=self._folder(arch) / f"seed-{recipe.seed}", arch=arch, config=config)
        with retraining_lock(RetrainFolder(plan.folder)):
            training = build_retraining(plan, self.data, self.identity, NullReporter(), after_epoch=after_epoch)
            try:
                return train_for_accuracy(training)
            except TrainingError:
                raise divergence("its loss, gradients or weights were not finite", self.config.recipe) from None

    def task(self, threads: int) -> WorkerTask:
        """Return what a worker is sent."""
        return _TrainingSearchTask(search=self, device=str(device()), threads=threads)


def _go_on(epochs: int, accuracy: float) -> None:
    """Do nothing after an epoch."""


@dataclass(frozen=True, kw_only=True)
class _TrainingSearchTask:
    """What a worker is sent: the search, with the data set.

    Attributes:
        search: The search.
        device: Where networks are trained.
        threads: Number of threads of torch.
    """

    search: TrainingSearch
    device: str
    threads: int

    def __str__(self) -> str:
        return f"the data set {self.search.plan.config.data}"

    def run(self, messages: Messages) -> None:
        """Search until the study is complete."""
        torch.set_num_threads(self.threads)
        choose_device(self.device)
        search_as_worker(self.search, messages)
