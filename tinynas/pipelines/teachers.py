"""Teachers: trained networks whose outputs are soft labels for a smaller one."""

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..arch.arch import Arch, DetectorHead
from ..data.base import Data
from ..experiment.run_folder import delivered
from ..models.model_file import read_model
from ..models.network import Network, build, fold
from ..models.supernet import extract_calibrated
from ..training.distillation import Teacher
from ..utils.distributed import device
from ..utils.errors import FileError, InputError, require
from .model_data import some_of
from .run_supernet import read_supernet

_COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal, in some of torch's messages


def load_teacher(name: str, run: Path, arch: Arch, data: Data, *, keep: bool = False) -> Teacher:
    """The teacher of a network: the largest of the run's supernet, a delivered model, or one of torchvision's.

    `name` is "supernet", the path of a model.safetensors, or "torchvision:NAME[:weights.pth]". Raises InputError or
    FileError, also if it has other classes or takes other images than the network. With `keep` it is asked about each
    training image once.
    """
    if name == "supernet":
        net: nn.Module = largest(run, arch.resolution, data)
    elif name.startswith("torchvision:"):
        net = _from_torchvision(*name.split(":", 2)[1:])
    else:
        net = _delivered(Path(name), arch, data)
    _check(name, net.eval(), arch)
    if isinstance(net, Network):
        net = fold(net)  # the same answers, in two thirds of the time
    return Teacher(net, images=len(data.train) if keep else 0)


def largest(run: Path, resolution: int, data: Data) -> Network:
    """The largest network of a run's supernet, for images of this size, its statistics set. Raises FileError."""
    supernet = read_supernet(run, data).to(device())
    arch = replace(supernet.space.max(), resolution=resolution)
    return extract_calibrated(supernet, arch, data.calibration_batches(resolution))


def _delivered(path: Path, arch: Arch, data: Data) -> nn.Module:
    model = read_model(delivered(path))
    theirs = model.net.arch.resolution
    rule = "a teacher sees images of the same size as the network"
    require(theirs == arch.resolution, rule, teacher=theirs, network=arch.resolution)
    if model.classes != data.classes:
        raise InputError(
            f"the teacher {path} knows {some_of(model.classes)}, and the network's are {some_of(data.classes)}"
        )
    rule = "a teacher sees images normalised as the network does"
    require(model.normalise == data.normalise, rule, teacher=model.normalise, network=data.normalise)
    if isinstance(head := model.net.arch.head, DetectorHead) and isinstance(arch.head, DetectorHead):
        rule = "a teacher has the network's anchors"
        require(head.anchors == arch.head.anchors, rule, teacher=head.anchors, network=arch.head.anchors)
    return model.net


def _from_torchvision(name: str, weights: str = "") -> nn.Module:
    import torchvision

    try:
        if not weights:
            return _quietly(lambda: torchvision.models.get_model(name, weights="DEFAULT"))
        state = torch.load(weights, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise FileError(f"{weights} is no state dict, of tensors by name; save the model's state_dict() in it")
        classes = list(state.values())[-1].shape[0]
        net = _quietly(lambda: torchvision.models.get_model(name, weights=None, num_classes=classes))
        net.load_state_dict(state)
    except FileError:
        raise
    except ValueError as error:  # of an unknown name
        raise InputError(f"no model {name!r} in torchvision: {str(error).splitlines()[0]}") from None
    except Exception as error:  # no network, no file, damaged bytes, another network's weights
        reason = ": ".join([type(error).__name__, *_COLOUR_CODES.sub("", str(error)).splitlines()[:1]])
        where, advice = weights or "the internet", f"give its state dict as torchvision:{name}:weights.pth"
        raise FileError(f"cannot load the teacher {name} from {where}: {reason}; {advice}") from None
    return net


def _quietly(make: Callable[[], nn.Module]) -> nn.Module:
    """Some of torchvision's networks warn that they initialise weights, which are replaced anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return make()


@torch.no_grad()
def _check(name: str, net: nn.Module, arch: Arch) -> None:
    """Raise InputError unless the teacher answers for the network's images with its classes."""
    images = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution, device=next(net.parameters()).device)
    try:
        outputs = net(images)
    except (RuntimeError, AssertionError) as error:
        takes = next((p.shape[1] for p in net.parameters() if p.ndim == 4), None)
        reason = f"it takes {takes} colours" if takes not in (None, arch.in_channels) else str(error).splitlines()[0]
        raise InputError(
            f"the teacher {name} cannot see images of {arch.in_channels} colours and "
            f"{arch.resolution}x{arch.resolution} pixels: {reason}"
        ) from None
    if not isinstance(outputs, Tensor):
        raise InputError(f"{name} cannot teach: its outputs are a {type(outputs).__name__}")
    made, expected = outputs.shape[1:], build(arch).eval().to(images.device)(images).shape[1:]
    if len(made) != len(expected):
        raise InputError(f"{name} cannot teach networks that {arch.task}: its outputs have the shape {tuple(made)}")
    rule = "a teacher has the network's classes"
    require(made[-1] == expected[-1], rule, teacher=made[-1] - 5 * (len(made) > 1), network=arch.classes)
    rule = "a teacher predicts at the network's places"
    require(made == expected, rule, teacher=tuple(made), network=tuple(expected))
