"""The reproduce command: the trainings of NetAug's paper, one after the other, in one run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arch.arch import Arch
from ..data.registry import load_data
from ..experiment.config import RetrainConfig
from ..experiment.front_settings import TEACHER
from ..experiment.plans import RetrainPlan
from ..experiment.recipes import load_recipe
from ..experiment.reporter import ProgressReporter
from ..experiment.reproduction import FIXED, IMAGENET, KD, Training
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..experiment.saved import check_retraining
from ..tasks.registry import fit_to_data
from ..utils.distributed import broadcast_from_rank0, world_size
from ..utils.errors import FileError, InputError
from ..utils.overrides import Overrides
from .planning import resolve_retraining
from .resolved_retraining import ResolvedRetraining
from .retrain import train_network
from .retrain_front import retrain_front

_OTHER_SETTINGS = "choose another --run, or delete the folder"


@dataclass(frozen=True, kw_only=True)
class ResolvedTraining:
    """A training of a reproduction, whose network and settings are resolved, before its data set is read."""

    training: Training
    arch: Arch
    config: RetrainConfig


def resolve_reproduction(
    run: Path, net: str, trainings: Sequence[Training], data_sets: dict[str, str], overrides: Overrides
) -> list[ResolvedTraining]:
    """Resolve the trainings of a reproduction. No data set is read, and nothing is written.

    Args:
        run: The run's folder, which need not exist.
        net: Name of the network, as recipes have it.
        trainings: What is trained.
        data_sets: Names of data sets by those of the trainings.
        overrides: Settings of `RetrainConfig` for all trainings, in place of the authors'.

    Raises:
        InputError: The settings contradict each other, a teacher is missing, or named for trainings without one.
        FileError: A model that is trained further is damaged.
    """
    _check_overrides(trainings, overrides)
    resolved = []
    for training in trainings:
        data = Overrides.read({"data": data_sets[training.data_set]}, RetrainConfig)
        retraining = _resolve(run, net, training, overrides | data)
        resolved.append(ResolvedTraining(training=training, arch=retraining.arch, config=retraining.config))
    return resolved


def _check_overrides(trainings: Sequence[Training], overrides: Overrides) -> None:
    """Raise InputError unless the settings are for all of the trainings."""
    for name in FIXED:
        if name in overrides.values:
            raise InputError(f"{name} follows from the way of training here; remove it, or choose --methods")
    taught = [training.method for training in trainings if training.has_teacher]
    teacher = overrides.get("distillation.teacher")
    if taught and not teacher:
        raise InputError(
            f"the training by {taught[0]} needs a trained model, and the authors publish none; add --teacher MODEL or "
            "--teacher torchvision:NAME"
        )
    if teacher and not taught:
        raise InputError(f"no training here has a teacher; remove --teacher {teacher}, or choose --part kd")


def _resolve(run: Path, net: str, training: Training, overrides: Overrides) -> ResolvedRetraining:
    """Resolve one training: from the model that it trains further, if that exists."""
    recipe = training.recipe(net)
    source = None
    if training.source and (model := RunFolder(run).retraining(training.source).model).exists():
        source = model
    settings = training.settings((recipe.overrides if recipe else Overrides()) | overrides)
    task = "detect" if recipe is None else None
    named = recipe or load_recipe(f"imagenet-netaug-{net}")  # its network, if there is no model yet
    return resolve_retraining(None, task=task, source=source, recipe=named, fits_recipe=False, overrides=settings)


def plan_reproduction(run: Path, resolved: Sequence[ResolvedTraining]) -> list[RetrainPlan]:
    """Fit the networks of a reproduction to their data sets.

    Raises:
        InputError: A data set is unknown, or does not suit the network.
        FileError: A file is missing or damaged, a model that is to be trained further does not exist, or a training of
            the run has other settings.
    """
    plans = []
    for item in resolved:
        _check_source(run, item.training)
        data = load_data(item.config.data, skip_unreadable=item.config.skip_unreadable)
        folder = RunFolder(run).retraining(item.training.name)
        plan = RetrainPlan(folder=folder.path, arch=fit_to_data(item.arch, data), config=item.config)
        check_retraining(plan, advice=_OTHER_SETTINGS)
        plans.append(plan)
    return plans


def _check_source(run: Path, training: Training) -> None:
    """Raise FileError unless the model exists that a training trains further."""
    if training.source and not RunFolder(run).retraining(training.source).is_finished():
        part = KD if TEACHER in training.method else IMAGENET
        raise FileError(
            f"{training.name} trains the model of {training.source} further, which is not in {run}; train it first, "
            f"with --part {part} --methods {training.method}, or name the --run that has it"
        )


def reproduce(plans: Sequence[RetrainPlan], *, report: ProgressReporter) -> None:
    """Carry out the trainings: those that are finished are kept, interrupted ones are resumed.

    Under torchrun all processes train each of them together. Otherwise, what another command trains is left to it.

    Raises:
        InputError: As `retrain` does.
        FileError: As `retrain` does.
        TrainingError: Some diverged.
    """
    if world_size() == 1:
        retrain_front(plans, report=report)
        return
    for plan in broadcast_from_rank0(_unfinished, plans):
        train_network(plan, report=report)


def _unfinished(plans: Sequence[RetrainPlan]) -> list[RetrainPlan]:
    """Return the trainings whose results are not written."""
    return [plan for plan in plans if not RetrainFolder(plan.folder).is_finished()]
