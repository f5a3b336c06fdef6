"""Retraining of several networks of a run, spread over its Pareto front, in several ways and with several seeds."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..arch.budget import Budget
from ..data.base import Data
from ..data.registry import load_data
from ..experiment.config import RetrainConfig
from ..experiment.evaluated import EvaluatedNetworks
from ..experiment.front_choice import networks_to_retrain
from ..experiment.front_settings import NETAUG, PLAIN, TEACHER, FrontSettings
from ..experiment.plans import RetrainPlan
from ..experiment.reporter import NotesOnce, ProgressReporter
from ..experiment.results import FrontEntry
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..experiment.saved import check_retraining
from ..utils.distributed import world_size
from ..utils.errors import BudgetError, BusyError, FileError, InputError, TrainingError
from ..utils.io import json_digest
from ..utils.overrides import Overrides
from ..utils.processes import exit_on_sigterm
from ..utils.text import counted
from ..utils.units import format_count
from .folder_locks import wait_until_trained
from .planning import SUPERNET, check_name, plan_network, retraining_config
from .report import update_report_with
from .retrain import train_network
from .teachers import check_teacher
from .worker_processes import Messages, workers_beside

_DIGEST = 4  # characters of a network's digest in the names of its retrainings


def plan_front(
    run: Path,
    settings: FrontSettings,
    *,
    name: str = "front",
    budget: Budget,
    overrides: Overrides,
    fits_recipe: bool = True,
) -> list[RetrainPlan]:
    """Plan the retrainings of networks of a run: every network, in every way, with every seed.

    The smallest and the largest network of the front are among them; the others are those nearest to even steps of the
    front's first cost, on a log scale. A front of too few networks is filled up with evaluated ones that only it beats,
    then with those that only these beat. Those of the first seed come first.

    Args:
        run: The run's folder.
        settings: How many networks, which ways, how many seeds.
        name: How the names of the retrainings' folders begin.
        budget: Limits of the networks.
        overrides: Settings of `RetrainConfig`, the same for all; `seed` is the first seed.
        fits_recipe: Whether settings that were not named are fitted to each network and the data.

    Raises:
        BudgetError: No network of the front keeps the limits.
        InputError: The settings contradict each other, or do not fit the networks.
        FileError: The run has no front, a retraining of this name was trained with other settings, or the teacher's
            file is missing or corrupt.
    """
    assert settings.front is not None
    if world_size() > 1:
        raise InputError(
            "--front trains every network in a process of its own; retrain without torchrun, with --workers"
        )
    check_name(name)
    if not RunFolder(run).front.exists():
        raise FileError(
            f"there is no searched run {run}, whose front has the networks; search it first, or leave out --front"
        )
    if overrides.get("netaug"):
        raise InputError(f"netaug is a way of training here: remove it, and add --methods plain,{NETAUG} or --both")
    overrides = overrides.without("netaug")  # which files of settings say of plain training
    settings.check_used(overrides)
    front = RunFolder(run).read_front()
    if not EvaluatedNetworks(networks=front.front).within(budget):
        raise BudgetError(f"no network of the front of {run} keeps {budget.describe()}; raise the limits")
    evaluated = RunFolder(run).read_evaluations().within(budget)
    chosen = networks_to_retrain(evaluated, settings.front, costs=front.objectives)
    data = _load_data(run, chosen[0], overrides)
    first_seed = overrides.get("recipe.seed") or 0
    plans = []
    for seed in range(first_seed, first_seed + settings.seeds):
        for entry in chosen:
            for method in settings.ways:
                of_seed = _of_method(method, overrides) | Overrides.read({"seed": seed}, RetrainConfig)
                label = f"{name}-{_label(entry)}-{method.replace('+', '-')}"
                plans.append(plan_network(run, label, entry.arch, data, of_seed, fits_recipe=fits_recipe))
    for plan in plans:
        check_retraining(plan)
    _check_teachers(plans, data)
    return plans


def _check_teachers(plans: Sequence[RetrainPlan], data: Data) -> None:
    """Check that the teacher suits every network that is still to be trained, once for each; raises as it is loaded."""
    checked = set()
    for plan in plans:
        if plan.config.distillation and plan.arch not in checked and not RetrainFolder(plan.folder).is_finished():
            check_teacher(plan, data)
            checked.add(plan.arch)


def retrain_front(plans: Sequence[RetrainPlan], *, workers: int = 1, report: ProgressReporter) -> None:
    """Carry out retrainings: those that are finished are kept, interrupted ones are resumed.

    One that another process is at, of this command or of another one, is left to it; at the end this process waits for
    it, and carries it out if the other one has stopped.

    Args:
        plans: The retrainings, in the order in which they are carried out.
        workers: How many processes retrain, each one network at a time.
        report: Receives messages and progress.

    Raises:
        InputError: As `retrain` does, or the data set cannot be sent to another process.
        FileError: As `retrain` does.
        TrainingError: Some diverged; all others have been carried out.
    """
    unfinished = [plan for plan in plans if not RetrainFolder(plan.folder).is_finished()]
    networks = counted(len({plan.arch for plan in plans}), "network")
    report.note(f"retrainings of {networks}: {len(plans)}, of which finished: {len(plans) - len(unfinished)}")
    processes = min(workers, len(unfinished))
    display = _Display(report)
    once = NotesOnce(display)
    if processes > 1:
        make_task = partial(RetrainTask, plans=unfinished)
        with workers_beside(make_task, processes, display, what="the others' work"):
            busy = _carry_out(unfinished, report=once, note=display.note)
    else:
        busy = _carry_out(unfinished, report=once, note=display.note)
    for plan in busy:
        wait_until_trained(RetrainFolder(plan.folder), display)
    _carry_out(busy, report=once, note=display.note)
    left = [plan.folder.name for plan in unfinished if not RetrainFolder(plan.folder).is_finished()]
    if left:
        raise TrainingError(
            f"{counted(len(left), 'retraining')} of {len(plans)} did not finish ({', '.join(left)}); run the command "
            "again to continue them; delete the folders of those that diverge, and choose other settings"
        )
    if unfinished:
        update_report_with(plans[0].folder, report)


def _carry_out(
    plans: Sequence[RetrainPlan], *, report: ProgressReporter, note: Callable[[str], None]
) -> list[RetrainPlan]:
    """Carry out retrainings one after the other, but those that are finished or that another process is at.

    Args:
        plans: The retrainings.
        report: Receives the messages and progress of each.
        note: Shows why one could not be carried out.

    Returns:
        Those that another process was at.
    """
    busy = []
    for plan in plans:
        folder = RetrainFolder(plan.folder)
        if folder.is_finished():
            continue
        try:
            train_network(plan, report=report)
        except BusyError:
            busy.append(plan)
        except TrainingError as error:
            note(f"{folder.name}: {error}")
    return busy


@dataclass(frozen=True)
class RetrainTask:
    """What a worker is sent.

    Attributes:
        threads: Number of threads of torch.
        plans: The retrainings.
    """

    threads: int
    plans: Sequence[RetrainPlan]

    def __str__(self) -> str:
        return f"the plans of {counted(len(self.plans), 'retraining')}"

    def run(self, messages: Messages) -> None:
        """Carry out the retrainings that no other process is at."""
        torch.set_num_threads(self.threads)
        messages.ready()
        with exit_on_sigterm():
            _carry_out(self.plans, report=_Sender(messages), note=messages.note)


class _Sender:
    """A `ProgressReporter` that sends what it receives, without the messages that every retraining begins with.

    Args:
        messages: Sends it to the process that started this worker.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def note(self, text: str) -> None:
        """Leave the message out: the first process shows those of its own retrainings."""

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """Send the progress."""
        self._messages.send("progress", [task, done, total, text])


class _Display:
    """Reports the progress of all processes that retrain together; its methods may be called in any thread.

    Args:
        report: Receives it.
    """

    def __init__(self, report: ProgressReporter) -> None:
        self._report = report
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Show a message of one line."""
        with self._lock:
            self._report.note(text)

    def advance(self, task: str, done: int, total: int, text: str) -> None:
        """Show the progress of a retraining."""
        with self._lock:
            self._report.advance(task, done, total, text)

    def receive(self, number: int, kind: str, content: Any) -> None:
        """Show the progress that a worker has sent."""
        assert kind == "progress"
        self.advance(*content)


def _load_data(run: Path, entry: FrontEntry, overrides: Overrides) -> Data:
    """Load the data set of the retrainings."""
    config = retraining_config(run, entry.arch, _of_method(PLAIN, overrides))
    named_in = None if overrides.get("data") else run
    return load_data(config.data, skip_unreadable=config.skip_unreadable, named_in=named_in)


def _of_method(method: str, overrides: Overrides) -> Overrides:
    """Return the settings of a way of training: without those of NetAug or of a teacher if it has none."""
    parts = method.split("+")
    teacher = overrides.get("distillation.teacher") or SUPERNET
    switches = {"netaug": NETAUG in parts, "distillation": TEACHER in parts}
    changed = overrides | Overrides(switches)
    if TEACHER in parts:
        changed = changed | Overrides.read({"teacher": teacher}, RetrainConfig)
    return changed


def _label(entry: FrontEntry) -> str:
    """Return what tells a network from the others in the names of its retrainings: its MACs and a digest."""
    return f"{format_count(entry.cost.macs)}-{json_digest(entry.arch.to_dict())[:_DIGEST]}"
