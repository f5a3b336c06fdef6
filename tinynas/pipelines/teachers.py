"""Teachers: trained networks whose outputs are soft labels for a smaller one."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..data.base import Data
from ..experiment.plans import RetrainPlan
from ..experiment.run_folder import RunFolder
from ..experiment.runs import find_model
from ..models.foreign_weights import classifier_weight, load_weights, read_weights, reason_of, with_names_of
from ..models.model_file import Model, read_model
from ..models.network import Network, build, example_input, fold
from ..models.renormalised import Renormalised
from ..models.supernet import extract_calibrated
from ..tasks.losses import AlphaDivergenceLoss, DistillationLoss, FunctionLoss, Loss, TeacherLoss
from ..tasks.registry import TASKS
from ..training.distillation import Teacher
from ..training.teacher_outputs import TeacherOutputs
from ..utils.distributed import broadcast_from_rank0, device
from ..utils.errors import FileError, InputError, errors_in, suggestion
from ..utils.paths import is_on_hub
from ..utils.sizes import Size, format_size
from ..utils.text import first_line
from .model_data import some_of
from .run_supernet import read_supernet


def load_teacher(name: str, run: Path, arch: Arch, data: Data, *, precision: str = "fp32") -> Teacher:
    """Load the teacher of a network: the run's largest subnet, a trained model, or one of torchvision's.

    In data-parallel training only the process of rank 0 reads files.

    Args:
        name: "supernet", the path of a model.safetensors, "hf:USER/REPO", or "torchvision:NAME[:weights.pth]".
        run: The run's folder.
        arch: The network.
        data: The data set.
        precision: "fp32", "bf16" or "fp16", in which the teacher computes.

    Raises:
        InputError: The teacher has other classes than the network, or takes other images.
        FileError: The teacher's file is missing or corrupt.
    """
    net = broadcast_from_rank0(_load_net, name, run, arch, data)
    return Teacher(net, precision=precision)


def _load_net(name: str, run: Path, arch: Arch, data: Data) -> nn.Module:
    """Return the network of a teacher, on the CPU."""
    model: Model | None = None
    if name == "supernet":
        net: nn.Module = largest_subnet(run, arch.resolution, data).cpu()
    elif name.startswith("torchvision:"):
        net = _load_from_torchvision(name, arch)
    elif is_on_hub(name) or Path(name).exists():
        model = _load_model(Path(name), arch, data)
        net = model.net
    else:
        hint = suggestion(name, ("supernet", "torchvision:NAME", "hf:USER/REPO"))
        raise FileError(f"the teacher {name!r} is neither supernet, torchvision:NAME, hf:USER/REPO nor a file; {hint}")
    _check_outputs(name, net.eval(), arch)
    if isinstance(net, Network):
        TASKS[arch.task].check_teacher(net.arch, arch)
        net = fold(net)  # the same outputs, in two thirds of the time
    if model is not None and model.normalise != data.normalise:
        net = Renormalised(net, own=model.normalise, others=data.normalise).eval()
    return net


def check_teacher(plan: RetrainPlan, data: Data) -> None:
    """Check that the plan's teacher suits its network, before it is trained; the run's supernet is not read for that.

    Args:
        plan: The retraining.
        data: The data set.

    Raises:
        InputError: As `load_teacher` does; the message begins with the name of the plan's folder.
        FileError: The teacher's file is missing or corrupt.
    """
    distillation = plan.config.distillation
    if distillation is not None and distillation.teacher != "supernet":
        with errors_in(plan.folder.name):
            _load_net(distillation.teacher, plan.run, plan.arch, data)


def load_teacher_outputs(plan: RetrainPlan, data: Data, *, note: Callable[[str], None]) -> TeacherOutputs | None:
    """Load the plan's teacher, if it has one, whose outputs the retrainings of a run share.

    Args:
        plan: The retraining.
        data: The data set, on the device.
        note: Receives messages of one line.

    Raises:
        InputError: The teacher has other classes than the network, or takes other images.
        FileError: The teacher's file is missing or corrupt.
    """
    distillation, recipe = plan.config.distillation, plan.config.recipe
    if distillation is None:
        return None
    teacher = load_teacher(distillation.teacher, plan.run, plan.arch, data, precision=recipe.precision)
    shared_folder = plan.run if plan.is_in_run else plan.folder
    return TeacherOutputs(
        teacher,
        data,
        recipe,
        resolution=plan.arch.resolution,
        folder=RunFolder(shared_folder).teacher_outputs,
        note=note,
    )


def losses_of(plan: RetrainPlan, data: Data) -> tuple[Loss[Any], Loss[Any] | None]:
    """Return the loss of the target, with a teacher if the plan has one; and the augmented networks', if it differs."""
    arch = plan.arch
    task, distillation, recipe = TASKS[arch.task], plan.config.distillation, plan.config.recipe
    label_loss = own_loss(plan)
    if label_loss is None:
        label_loss = task.loss(arch, data, label_smoothing=recipe.label_smoothing, class_weights=recipe.class_weights)
    if distillation is None:
        return label_loss, None
    teacher_loss = TeacherLoss(
        label_loss=label_loss,
        distillation_loss=task.distillation_loss(distillation.temperature),
        weight=distillation.teacher_weight,
    )
    return teacher_loss, None if distillation.teach_augmented else label_loss


def inplace_distillation_loss(plan: RetrainPlan) -> DistillationLoss[Any]:
    """Return the loss by which the target learns from augmented networks, if NetAug says so.

    Raises:
        InputError: It is an alpha-divergence, and the network is no classifier.
    """
    netaug, task = plan.config.netaug, plan.arch.task
    if netaug is None or netaug.inplace_divergence == "kl":
        return TASKS[task].distillation_loss()
    if task != "classify":
        raise InputError(
            f"inplace_divergence is {netaug.inplace_divergence}, which is for classifiers, but the network {task}s; "
            "choose kl"
        )
    return AlphaDivergenceLoss()


def own_loss(plan: RetrainPlan) -> Loss[Any] | None:
    """Return the loss on labels that is a program's function; None if the plan names none.

    Raises:
        InputError: The plan lacks the function, or the network is no classifier.
    """
    name = plan.config.loss
    if name is None:
        return None
    if plan.loss is None:
        raise InputError(
            f"the loss is the function {name} of a program; retrain or resume there, with loss={name}, or retrain anew "
            "without it"
        )
    if plan.arch.task != "classify":
        raise InputError(f"the loss {name} is for classifiers, but the network {plan.arch.task}s; remove it")
    return FunctionLoss(plan.loss)


def largest_subnet(run: Path, resolution: Size, data: Data) -> Network:
    """Return the largest subnet of a run's supernet for images of this size, recalibrated.

    Raises:
        FileError: The supernet is missing or corrupt.
    """
    supernet = read_supernet(run, data).to(device())
    arch = replace(supernet.space.max(), resolution=resolution)
    return extract_calibrated(supernet, arch, data.calibration_batches(resolution))


def _load_model(path: Path, arch: Arch, data: Data) -> Model:
    """Load a trained model of tinynas; raise InputError unless it sees what the network sees and has its classes."""
    model = read_model(find_model(path))
    teacher = model.net.arch
    if teacher.resolution != arch.resolution:
        of_teacher, of_network = format_size(teacher.resolution), format_size(arch.resolution)
        raise InputError(
            f"teacher and network must take images of the same size: the teacher takes {of_teacher} px, the network "
            f"{of_network} px; choose a teacher trained at {of_network} px"
        )
    if model.classes != data.classes:
        raise InputError(
            f"the teacher {path} knows {some_of(model.classes)}, the network {some_of(data.classes)}; choose a teacher "
            "trained on the same data set"
        )
    return model


def _load_from_torchvision(name: str, arch: Arch) -> nn.Module:
    """Load "torchvision:NAME", with weights from the internet, or "torchvision:NAME:weights.pth"."""
    _, model, *files = name.split(":", 2)
    try:
        if not files:
            return _torchvision_model(model, weights="DEFAULT")
        net = _torchvision_model(model, weights=None, num_classes=arch.classes)
    except ValueError as error:  # of an unknown name
        raise InputError(f"no model {model!r} in torchvision: {first_line(str(error))}") from None
    except Exception as error:  # no connection
        raise FileError(
            f"cannot load the teacher {model} from the internet: {reason_of(error)}; "
            f"pass its state dict as torchvision:{model}:weights.pth"
        ) from None
    source = Path(files[0])
    state = with_names_of(net.state_dict(), read_weights(source))
    classifier = classifier_weight(net, arch.classes)
    if classifier in state and len(state[classifier]) != arch.classes:
        raise _other_classes(len(state[classifier]), arch)
    if getattr(net, "aux_logits", False):  # auxiliary heads serve the network's own training only
        net, state = _without_auxiliary_heads(model, net, state, arch.classes)
    load_weights(net, state, source)
    return net


def _without_auxiliary_heads(
    model: str, net: nn.Module, state: dict[str, Tensor], classes: int
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a network of torchvision, and weights for it, without the auxiliary heads."""
    smaller = _torchvision_model(model, weights=None, num_classes=classes, aux_logits=False, init_weights=False)
    auxiliary = net.state_dict().keys() - smaller.state_dict().keys()
    return smaller, {name: tensor for name, tensor in state.items() if name not in auxiliary}


def _torchvision_model(name: str, **arguments: Any) -> nn.Module:
    """Build a network of torchvision, without the warnings of some that they initialise weights."""
    import torchvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net: nn.Module = torchvision.models.get_model(name, **arguments)
    return net


def _other_classes(classes: int, arch: Arch) -> InputError:
    return InputError(
        f"teacher and network must have the same classes: the teacher has {classes}, the network {arch.classes}; "
        "choose a teacher trained on the same data set"
    )


@torch.no_grad()
def _check_outputs(name: str, net: nn.Module, arch: Arch) -> None:
    """Raise InputError unless the teacher's outputs for the network's images have the shape of the network's."""
    on_device = next(net.parameters()).device
    images = example_input(arch).to(on_device)
    try:
        outputs = net(images)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the teacher {name} cannot take images of shape {tuple(images.shape[1:])}: {_why_not(net, arch, error)}; "
            "choose a teacher trained on such images"
        ) from None
    if not isinstance(outputs, Tensor):
        raise InputError(f"{name} cannot teach: its outputs are a {type(outputs).__name__}")
    expected = build(arch).eval().to(on_device)(images)
    if outputs.ndim != expected.ndim:
        shape = tuple(outputs.shape[1:])
        raise InputError(f"{name} cannot teach networks that {arch.task}: its outputs have the shape {shape}")
    classes = TASKS[arch.task].num_classes(outputs)
    if classes != arch.classes:
        raise _other_classes(classes, arch)
    if outputs.shape != expected.shape:
        raise InputError(
            "teacher and network must predict the same boxes: the teacher's outputs have the shape "
            f"{tuple(outputs.shape[1:])}, the network's {tuple(expected.shape[1:])}; choose another teacher"
        )


def _why_not(net: nn.Module, arch: Arch, error: Exception) -> str:
    """Return why a teacher failed on the network's images: their channels, or what torch says."""
    convolutions = [parameter for parameter in net.parameters() if parameter.ndim == 4]
    if convolutions and convolutions[0].shape[1] != arch.in_channels:
        return f"its first convolution has in_channels={convolutions[0].shape[1]}"
    return first_line(str(error))
