"""The supernet of a retraining: the networks around the target, and the weights that their training starts from."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..arch.arch import Arch
from ..arch.netaug import augment
from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.config import RetrainConfig
from ..experiment.netaug_settings import NetAug
from ..experiment.plans import RetrainPlan
from ..experiment.retrain_folder import RetrainFolder
from ..models.model_file import read_model
from ..models.network import INITS, Network
from ..models.supernet import Supernet
from ..training.checkpoint import read_checkpoint
from ..utils.distributed import broadcast_from_rank0, rank
from ..utils.errors import InputError
from .run_supernet import read_supernet


def augmented_space(target: Arch, netaug: NetAug | None, fraction: float | None = None) -> SearchSpace:
    """Return the networks around a target that are trained when this fraction of the epochs is over.

    Without a fraction they are those of the whole training; without NetAug, the target alone.

    Raises:
        InputError: NetAug widens nothing in the target.
    """
    if netaug is None:
        return augment(target, width=(1.0,), expand=(1.0,))
    if fraction is None:
        largest = augment(target, width=netaug.width, expand=netaug.expand, from_stage=netaug.augment_from_stage)
        if largest.max() == target:
            raise InputError(
                f"NetAug with the widths {netaug.width} and the expansion ratios {netaug.expand} augments nothing in "
                "this network, which may have no expansions; add a factor above 1 to --width, or remove --netaug"
            )
        return largest
    width, expand = netaug.factors(fraction)
    return augment(target, width=width, expand=expand, from_stage=netaug.augment_from_stage)


def _space_to_train(plan: RetrainPlan) -> SearchSpace:
    """Return the networks that the weights of a retraining's checkpoint are for; without one, those of its beginning.

    They are fewer when NetAug no longer augments, but not in checkpoints of earlier versions.
    """
    largest = augmented_space(plan.arch, plan.config.netaug)
    checkpoint = RetrainFolder(plan.folder).checkpoint
    if not checkpoint.exists():
        return largest
    weights = read_checkpoint(checkpoint)["model"]
    for epoch in range(plan.config.recipe.epochs):
        space = augmented_space(plan.arch, plan.config.netaug, epoch / plan.config.recipe.epochs)
        if _has_shapes(weights, space):
            return space
    return largest


def _has_shapes(weights: Mapping[str, Tensor], space: SearchSpace) -> bool:
    """Return whether weights have the shapes of those of a space's supernet."""
    with torch.device("meta"):
        net = Network(space.max())
    for name, tensor in net.state_dict().items():
        if f"net.{name}" not in weights or weights[f"net.{name}"].shape != tensor.shape:
            return False
    return True


def initial_supernet(plan: RetrainPlan, data: Data) -> Supernet:
    """Build the networks around the target, with the weights that training starts from.

    These are fresh, or a trained network's with fresh ones around them. Fresh weights of the target are those of plain
    training, the ones around them are drawn for the size of the largest network. If there is a checkpoint, they are
    about to be replaced by its weights; in a data-parallel training those of all processes but the first one by its
    own. Then no other file is read.

    Raises:
        InputError: The trained network is for images with other channels.
        FileError: The trained network's file is missing or corrupt.
    """
    config = plan.config
    supernet = _fresh_supernet(broadcast_from_rank0(_space_to_train, plan), config)
    if rank() > 0 or RetrainFolder(plan.folder).checkpoint.exists():
        return supernet
    if config.netaug:
        supernet.adopt(_fresh_supernet(augmented_space(plan.arch, None), config).net)
    if config.init == "supernet":
        supernet.adopt(read_supernet(plan.run, data).net)
    elif config.init not in INITS:
        _adopt_model(supernet, Path(config.init), plan.arch, data)
    return supernet


def _fresh_supernet(space: SearchSpace, config: RetrainConfig) -> Supernet:
    """Build the networks of a space with fresh weights, which the seed decides."""
    torch.manual_seed(config.recipe.seed)
    return Supernet(
        space,
        init=_fresh_init(config),
        residual_gain=config.residual_gain,
        classifier_std=config.classifier_std,
        dropout=config.dropout,
    )


def _fresh_init(config: RetrainConfig) -> str:
    """Return how weights are initialised that no trained network provides."""
    return config.init if config.init in INITS else str(RetrainConfig().init)


def _adopt_model(supernet: Supernet, path: Path, arch: Arch, data: Data) -> None:
    """Copy a trained model's weights; of other classes, without the classifier; of another task, without the head."""
    model = read_model(path)
    trained = model.net.arch
    if trained.in_channels != data.channels:
        raise InputError(
            f"model and data set must have the same number of input channels: the model {path} has "
            f"{trained.in_channels}, the data set {data.channels}; choose another model or data set"
        )
    if model.classes == data.classes:
        supernet.adopt(model.net)
    elif trained.task == arch.task:
        supernet.adopt(model.net, leave_out="head.classifier")
    else:
        supernet.adopt(model.net, leave_out="head.")
