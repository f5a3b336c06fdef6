"""The models that get early exits, and their data set."""

from dataclasses import replace
from pathlib import Path

from ..arch.cost import cost
from ..data.base import Data
from ..experiment.exit_plan import SUPERNET, ExitPlan
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..models.model_file import Model, read_model
from ..tasks.registry import TASKS, check_task
from ..utils.distributed import device
from ..utils.errors import InputError
from .model_data import data_of, some_of
from .teachers import largest_subnet

_IMAGES_PER_CLASS = 5  # that search-val must have on average


def load_exit_models(plan: ExitPlan) -> tuple[list[Model], Data]:
    """Load the plan's models, the smaller one first, and their data set."""
    of_run = str(plan.model) == SUPERNET
    paths = [] if of_run else [plan.model]
    if plan.tiny:
        paths.insert(0, plan.tiny)
    models = []
    for path in paths:
        model = read_model(path)
        models.append(replace(model, net=model.net.to(device())))
        _check_classifier(models[-1], path)
    data = data_of(models[0], paths[0], plan.data, skip_unreadable=plan.skip_unreadable)
    check_task(models[0].net.arch.task, data)
    if of_run:
        models.append(_supernets_largest(models[0], paths[0], data))
    if plan.tiny:
        _check_cascade(models[0], models[1])
    _check_calibration_images(data)
    return models, data.to(device())


def _check_classifier(model: Model, path: Path) -> None:
    task = model.net.arch.task
    if not TASKS[task].supports_early_exits:
        raise InputError(
            f"only a classifier can have early exits, but {path} is a network to {task}; pass another model"
        )


def _supernets_largest(tiny: Model, path: Path, data: Data) -> Model:
    """Return the largest network of the supernet of the run that a model is in, at the model's image size."""
    run = RunFolder(RetrainFolder(path.resolve().parent).run)
    if not run.supernet.exists():
        raise InputError(
            f"--cascade TINY supernet needs a model inside a run folder with a supernet, but {path} is not in one; "
            "pass a model from RUN/retrain/NAME"
        )
    return replace(tiny, net=largest_subnet(run.path, tiny.net.arch.resolution, data))


def _check_cascade(tiny: Model, big: Model) -> None:
    if tiny.classes != big.classes:
        raise InputError(
            f"both networks of a cascade must have the same classes, but the first has {some_of(tiny.classes)}, the "
            f"second {some_of(big.classes)}; pass models that were trained on the same data set"
        )
    if tiny.normalise != big.normalise:
        raise InputError(
            f"both networks of a cascade must take images normalised alike, but the first has {tiny.normalise}, the "
            f"second {big.normalise}; pass models that were trained on the same data set"
        )
    macs, limit = cost(tiny.net.arch).macs, cost(big.net.arch).macs
    if macs > limit:
        raise InputError(
            f"the first network of a cascade must be the cheaper one, but it has {macs:,} MACs and the second "
            f"{limit:,}; swap them"
        )


def _check_calibration_images(data: Data) -> None:
    counts = data.val.labels.bincount(minlength=len(data.classes))
    if len(data.val) < _IMAGES_PER_CLASS * len(data.classes) or not counts.min():
        raise InputError(
            f"calibration needs {_IMAGES_PER_CLASS} images per class on average in search-val, and one of each class, "
            f"but it has {len(data.val)} images of {len(data.classes)} classes, of one class {int(counts.min())}; "
            "use a larger data set"
        )
