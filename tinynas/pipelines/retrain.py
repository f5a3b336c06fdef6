"""The retraining job: train one network, alone or with NetAug, and deliver it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from ..arch.arch import Arch
from ..arch.cost import cost
from ..arch.netaug import augment
from ..arch.space import SearchSpace
from ..data.base import Data
from ..data.registry import load_data
from ..experiment.config import RetrainConfig, RetrainPlan
from ..experiment.log import Log, last_record
from ..experiment.reporter import Report, advance, record
from ..experiment.run_folder import settle_config
from ..models.model_file import Model, read_model, save_model
from ..models.network import INITS
from ..models.supernet import Supernet, extract_calibrated
from ..tasks.losses import Criterion, taught
from ..tasks.registry import TASKS, fit_to_data
from ..training.loop import train
from ..training.objectives import Objective, netaug, plain
from ..training.precision import check_precision
from ..training.progress import Progress
from ..utils.distributed import device, rank
from ..utils.errors import TrainingError, require
from ..utils.io import write_json
from .run_supernet import read_supernet
from .teachers import load_teacher


def retrain(plan: RetrainPlan, *, report: Report) -> dict[str, Any]:
    """Train a network, with NetAug or a teacher if asked, and write it to the folder; returns metrics.json.

    Goes on where a killed retraining was. The arch takes its colours and classes from the data. Under torchrun all
    processes train; all but the first return an empty result.
    """
    folder, config = plan.folder, plan.config
    data = load_data(config.data)
    arch = fit_to_data(plan.arch, data)
    task = TASKS[arch.task]
    supernet, criterion = _initial(plan, arch, data).to(device()), _criterion(plan, arch, data)
    check_precision(config.recipe.precision, device())
    log = Log(folder / "log.jsonl", tensorboard=plan.tensorboard)
    if rank() == 0:
        settle_config(folder / "config.yaml", {"arch": arch.to_dict(), **asdict(config)})
    _train(supernet, arch, criterion, plan, data, log, report)
    net = extract_calibrated(supernet, arch, data.calibration_batches(arch.resolution))
    if rank() > 0:
        return {}
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
        raise TrainingError(
            "the training diverged: weights or statistics are not finite; try a lower --lr, or --clip 1"
        )
    model = Model(net=net, data=config.data, classes=data.classes, normalise=data.normalise, crop=data.crop)
    save_model(folder / "model.safetensors", model)
    metrics = {
        "metric": task.metric,
        **task.score(net, arch, data, data.test),
        "train_accuracy": task.measure(net, arch, data, data.train),
        **asdict(cost(arch)),
        "seconds": last_record(folder / "log.jsonl")["seconds"],
        "epochs": config.recipe.epochs,
        "netaug": config.netaug is not None,
        "teacher": config.distillation.teacher if config.distillation else None,
        "init": config.init,
        "seed": config.recipe.seed,
        "data": config.data,
    }
    write_json(folder / "metrics.json", metrics)
    return metrics


def _train(
    supernet: Supernet, arch: Arch, criterion: Criterion, plan: RetrainPlan, data: Data, log: Log, report: Report
) -> None:
    """Train the networks around the arch, and log how the arch on its own does on search-val."""
    folder, config, calibration = plan.folder, plan.config, data.calibration_batches(arch.resolution)
    task = TASKS[arch.task]

    def objective(epoch: int) -> Objective:
        space = _augmented(arch, config, epoch)
        if not config.netaug or space.min() == space.max():
            return plain(arch, criterion)
        return netaug(
            arch,
            space,
            criterion,
            of_augmented=None if _teaches_augmented(config) else task.criterion(arch, config.recipe.label_smoothing),
            num_augmented=config.netaug.num_augmented,
            alpha=config.netaug.alpha,
            every=config.netaug.every,
        )

    def before_epoch(epoch: int, optimizer: Optimizer) -> None:
        """Fresh weights have no order, and those that are carried over have the target's in front."""
        if epoch and config.netaug and config.netaug.sort and len(_augmented(arch, config, epoch).stem.width) > 1:
            supernet.sort_channels(optimizer)

    def after_step(progress: Progress) -> None:
        advance(report, folder.name, progress)
        if progress.ends_epoch:
            net = extract_calibrated(supernet, arch, calibration)
            log.add(record(progress) | {"val_accuracy": task.measure(net, arch, data, data.val)})

    train(
        supernet,
        objective,
        data,
        config.recipe,
        resolutions=(arch.resolution,),
        checkpoint=folder / "checkpoint.pt",
        before_epoch=before_epoch,
        after_step=after_step,
    )


def _augmented(arch: Arch, config: RetrainConfig, epoch: int) -> SearchSpace:
    """The networks around the target at an epoch; without NetAug the target alone."""
    if not config.netaug:
        return augment(arch, width=(1.0,), expand=(1.0,))
    width, expand = config.netaug.factors(epoch / config.recipe.epochs)
    return augment(arch, width=width, expand=expand)


def _initial(plan: RetrainPlan, arch: Arch, data: Data) -> Supernet:
    """The networks before the first step: fresh, or around weights that are there; a checkpoint's come later."""
    config = plan.config
    torch.manual_seed(config.recipe.seed)
    space = augment(arch, width=config.netaug.width, expand=config.netaug.expand) if config.netaug else None
    fresh = config.init if config.init in INITS else "kaiming-uniform" if space else "kaiming-normal"
    supernet = Supernet(space or _augmented(arch, config, 0), init=fresh, dropout=config.dropout)
    if (plan.folder / "checkpoint.pt").exists():
        return supernet
    if config.init == "supernet":
        supernet.adopt(read_supernet(plan.run, data).net)
    elif config.init not in INITS:
        model = read_model(Path(config.init))
        rule = "a network goes on with images of as many colours"
        require(model.net.arch.in_channels == data.channels, rule, model=model.net.arch.in_channels, data=data.channels)
        leave_out = "head." if model.net.arch.task != arch.task else "head.classifier"
        supernet.adopt(model.net, leave_out="" if model.classes == data.classes else leave_out)
    return supernet


def _criterion(plan: RetrainPlan, arch: Arch, data: Data) -> Criterion:
    distillation, recipe, task = plan.config.distillation, plan.config.recipe, TASKS[arch.task]
    criterion = task.criterion(arch, recipe.label_smoothing)
    if not distillation:
        return criterion
    return taught(
        load_teacher(distillation.teacher, plan.run, arch, data, keep=recipe.augmentation == "none"),
        criterion=criterion,
        imitation=task.imitation,
        weight=distillation.teacher_weight,
        temperature=distillation.temperature,
    )


def _teaches_augmented(config: RetrainConfig) -> bool:
    return config.distillation is not None and config.distillation.teach_augmented
