"""Retraining of several networks of a run, in a Python program."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ..arch.budget import OwnLimits
from ..arch.cost_names import split_words
from ..experiment.config import RetrainConfig
from ..experiment.front_settings import FrontSettings
from ..experiment.recipes import AUTO, DEFAULTS
from ..experiment.retrain_folder import RetrainFolder
from ..utils.distributed import choose_device
from ..utils.errors import InputError, unknown
from .keywords import RetrainKeywords
from .program_arguments import Limit, limit_texts, own_limits, read_settings, tracker_names, without_none
from .program_data import DataSet, data_name
from .program_errors import keywords_in_errors
from .program_model import TrainedModel
from .program_progress import Progress, reporter_of
from .program_run import Run
from .retrain_front import plan_front
from .retrain_front import retrain_front as carry_out
from .run_network import front_budget


@keywords_in_errors()
def retrain_front(
    run: Run | Path | str,
    *,
    front: int,
    methods: str | Sequence[str] | None = None,
    seeds: int = 1,
    workers: int = 1,
    data: DataSet | None = None,
    flops: Limit = None,
    params: Limit = None,
    sram: Limit = None,
    flash: Limit = None,
    latency: str | None = None,
    limits: OwnLimits | None = None,
    recipe: str = AUTO,
    name: str = "front",
    device: str = "auto",
    track: str | Sequence[str] = (),
    progress: Progress = False,
    **settings: Unpack[RetrainKeywords],
) -> list[TrainedModel]:
    """Retrain networks spread over a run's front, in several ways and with several seeds, as `tinynas retrain --front`.

    What is finished is kept, and what was interrupted continues: call it again with the same arguments.

    Args:
        run: The run, or its folder.
        front: How many networks, the smallest and the largest of the front among them.
        methods: Ways in which every network is retrained: plain, netaug, teacher, netaug+teacher; a list, or a text
            such as "plain,netaug". None: plain.
        seeds: How often, with seeds from `seed` on.
        workers: How many processes retrain on this machine; 1 for a program's own data set.
        data: The data set: a name, or a program's own; by default that of the run.
        flops: Multiply-accumulates, at most, of the networks of the front that are retrained.
        params: Parameters.
        sram: Memory that an inference takes on the target.
        flash: Memory of the network on the target.
        latency: Time of one inference, if the search knew it.
        limits: Limits of costs of your own, by name.
        recipe: "auto" fits the settings that are not named to each network and the number of its training images;
            "defaults" leaves them as they are.
        name: How the names of the retrainings begin.
        device: What computes from now on in this program: auto, cpu, cuda, cuda:N or mps.
        track: Trackers that show every retraining live: mlflow, wandb, tensorboard; one, or a list.
        progress: True shows messages and progress as the commands do; an object of yours receives them.
        **settings: As the options of `tinynas retrain`, the same for all.

    Returns:
        The trained models: those of the first seed first, and of every network in the order of `methods`.

    Raises:
        BudgetError: No network of the front keeps the limits.
        InputError: A setting is unknown or not valid, or does not suit the networks.
        FileError: The run was not searched, a file is corrupt, or a folder has a retraining with other settings.
        TrainingError: A training diverged, or another process is at it; all others have been carried out.

    Example:
        >>> import tinynas
        >>> models = tinynas.retrain_front("runs/example", front=1, methods=["plain", "netaug"], epochs=1)
        >>> [model.metrics.netaug for model in models]
        [False, True]
    """
    trackers = tracker_names(track)
    choose_device(device)
    if workers > 1 and data is not None and not isinstance(data, str):
        raise InputError(
            "a program's own data set is in this process only, but --workers are processes; remove workers"
        )
    if recipe not in (AUTO, DEFAULTS):
        raise unknown("recipe of several networks", recipe, (AUTO, DEFAULTS))
    overrides = read_settings(retrain_front, without_none({**settings, "data": data_name(data)}), RetrainConfig)
    several = FrontSettings(front=front, methods=_ways_of(methods), seeds=seeds, workers=workers)
    texts = limit_texts(flops=flops, params=params, sram=sram, flash=flash, latency=latency)
    folder = _folder_of(run)
    budget = front_budget(str(folder), None, own=own_limits(limits), **texts)
    plans = plan_front(folder, several, name=name, budget=budget, overrides=overrides, fits_recipe=recipe == AUTO)
    plans = [replace(plan, track=trackers) for plan in plans]
    with reporter_of(progress) as report:
        carry_out(plans, workers=workers, report=report)
    return [TrainedModel(RetrainFolder(plan.folder).model) for plan in plans]


def _ways_of(methods: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the ways of training that a program names; None if it names none."""
    if methods is None:
        return None
    return split_words(methods) if isinstance(methods, str) else tuple(methods)


def _folder_of(run: Run | Path | str) -> Path:
    """Return the folder of a run. Raises InputError if it is something else."""
    if isinstance(run, Run):
        return run.folder
    if isinstance(run, (Path, str)):
        return Path(run)
    raise InputError(f"run is of the type {type(run).__name__}; pass a run, or its folder")
