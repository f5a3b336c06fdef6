"""The retraining job: train one network from scratch, alone or with NetAug, and deliver it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from .arch import Arch
from .augmentation import augment
from .cost import cost
from .data import Data
from .datasets import load_data
from .evaluation import accuracy, extract_calibrated
from .files import write_json
from .nets import Network
from .objectives import Objective, netaug, plain
from .parallel import device, rank
from .plans import RetrainConfig, RetrainPlan
from .reporting import Report, advance, record
from .runs import Log, Model, last_record, save_model, settle_config
from .space import SearchSpace
from .supernet import Supernet
from .training import Progress, train


def retrain(plan: RetrainPlan, *, report: Report) -> dict[str, Any]:
    """Train a network from scratch, with NetAug if asked, and write it to the folder; returns metrics.json.

    Goes on where a killed retraining was. The arch takes its colours and classes from the data. Under torchrun all
    processes train; all but the first return an empty result.
    """
    folder, config = plan.folder, plan.config
    data = load_data(config.data)
    arch = replace(plan.arch, in_channels=data.channels, classes=len(data.classes))
    if rank() == 0:
        settle_config(folder / "config.yaml", {"arch": arch.to_dict(), **asdict(config)})
    net = _train_target(folder, arch, config, data, report)
    if rank() > 0:
        return {}
    model = Model(net=net, data=config.data, classes=data.classes, normalise=data.normalise)
    save_model(folder / "model.safetensors", model)
    metrics = {
        "accuracy": accuracy(net, data, data.test, arch.resolution),
        "train_accuracy": accuracy(net, data, data.train, arch.resolution),
        **asdict(cost(arch)),
        "seconds": last_record(folder / "log.jsonl")["seconds"],
        "epochs": config.recipe.epochs,
        "netaug": config.netaug,
        "teacher": None,
        "seed": config.recipe.seed,
        "data": config.data,
    }
    write_json(folder / "metrics.json", metrics)
    return metrics


def _train_target(folder: Path, arch: Arch, config: RetrainConfig, data: Data, report: Report) -> Network:
    """The network alone, trained and calibrated, in eval mode."""
    recipe, calibration = config.recipe, data.calibration_batches(arch.resolution)
    torch.manual_seed(recipe.seed)
    supernet = Supernet(_augmented(arch, config, epoch=0)).to(device())
    log = Log(folder / "log.jsonl")

    def objective(epoch: int) -> Objective:
        if not config.netaug:
            return plain(arch, smoothing=recipe.smoothing)
        return netaug(arch, _augmented(arch, config, epoch), smoothing=recipe.smoothing)

    def before_epoch(epoch: int, optimizer: Optimizer) -> None:
        if config.widens(epoch):
            supernet.sort_channels(optimizer)

    def after_step(progress: Progress) -> None:
        advance(report, folder.name, progress)
        if progress.ends_epoch:
            net = extract_calibrated(supernet, arch, calibration)
            log.add(record(progress) | {"val_accuracy": accuracy(net, data, data.val, arch.resolution)})

    train(
        supernet,
        objective,
        data,
        recipe,
        resolutions=(arch.resolution,),
        checkpoint=folder / "checkpoint.pt",
        before_epoch=before_epoch,
        after_step=after_step,
    )
    return extract_calibrated(supernet, arch, calibration)


def _augmented(arch: Arch, config: RetrainConfig, epoch: int) -> SearchSpace:
    """The networks around the target at an epoch; without NetAug the target alone."""
    if not config.netaug:
        return augment(arch, width=(1.0,), expand=(1.0,))
    return augment(arch, width=config.width if config.widens(epoch) else (1.0,), expand=config.expand)
