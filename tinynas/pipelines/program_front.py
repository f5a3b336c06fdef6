"""Retraining of several networks of a run, in a Python program."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ..experiment.config import RetrainConfig
from ..experiment.front_settings import FrontSettings
from ..experiment.run_folder import RetrainFolder
from ..utils.distributed import choose_device
from ..utils.errors import InputError
from .keywords import RetrainKeywords
from .planning import NO_LIMITS
from .program_arguments import path_of, read_settings, without_none
from .program_data import DataSet, data_name
from .program_errors import keywords_in_errors
from .program_model import TrainedModel
from .program_progress import Progress, reporter_of
from .program_run import Run
from .retrain_front import plan_front
from .retrain_front import retrain_front as carry_out


@keywords_in_errors()
def retrain_front(
    run: Run | Path | str,
    *,
    front: int,
    methods: Sequence[str] = ("plain",),
    seeds: int = 1,
    workers: int = 1,
    data: DataSet | None = None,
    name: str = "front",
    device: str = "auto",
    progress: Progress = False,
    **settings: Unpack[RetrainKeywords],
) -> list[TrainedModel]:
    """Retrain networks spread over a run's front, in several ways and with several seeds, as `tinynas retrain --front`.

    What is finished is kept, and what was interrupted continues: call it again with the same arguments.

    Args:
        run: The run, or its folder.
        front: How many networks, the smallest and the largest of the front among them.
        methods: Ways in which every network is retrained: plain, netaug, teacher, netaug+teacher.
        seeds: How often, with seeds from `seed` on.
        workers: How many processes retrain on this machine; 1 for a program's own data set.
        data: The data set: a name, or a program's own; by default that of the run.
        name: How the names of the retrainings begin.
        device: What computes from now on in this program: auto, cpu, cuda, cuda:N or mps.
        progress: True shows messages and progress as the commands do; an object of yours receives them.
        **settings: As the options of `tinynas retrain`, the same for all.

    Returns:
        The trained models: those of the first seed first, and of every network in the order of `methods`.

    Raises:
        InputError: A setting is unknown or not valid, or does not suit the networks.
        FileError: The run was not searched, a file is corrupt, or a folder has a retraining with other settings.
        TrainingError: A training diverged, or another process is at it; all others have been carried out.

    Example:
        >>> import tinynas
        >>> models = tinynas.retrain_front("runs/example", front=1, methods=["plain", "netaug"], epochs=1)
        >>> [model.metrics.netaug for model in models]
        [False, True]
    """
    choose_device(device)
    if workers > 1 and data is not None and not isinstance(data, str):
        raise InputError(
            "a program's own data set is in this process only, but --workers are processes; remove workers"
        )
    overrides = read_settings(retrain_front, without_none({**settings, "data": data_name(data)}), RetrainConfig)
    several = FrontSettings(front=front, methods=tuple(methods), seeds=seeds, workers=workers)
    plans = plan_front(Path(str(path_of(run))), several, name=name, budget=NO_LIMITS, overrides=overrides)
    with reporter_of(progress) as report:
        carry_out(plans, workers=workers, report=report)
    return [TrainedModel(RetrainFolder(plan.folder).model) for plan in plans]
