"""The weights of a trained or imported model in a supernet, as far as they overlap."""

from pathlib import Path

from ..arch.space import SearchSpace
from ..data.base import Data
from ..experiment.run_folder import RunFolder
from ..experiment.runs import find_model
from ..experiment.search_plan import SearchPlan
from ..models.grey import for_grey_images
from ..models.model_file import read_model
from ..models.supernet import Supernet
from ..utils.errors import InputError
from ..utils.units import format_count

_BLOCKS = "stages."


def adopt_model(supernet: Supernet, path: Path, data: Data) -> dict[str, int]:
    """Copy a trained model's weights; of other classes, without the classifier; of another task, without the head.

    For grey images the kernels of a colour network's stem are summed over the colours.

    Args:
        supernet: Receives the weights; its largest network is fitted to the data set.
        path: The model's file or folder.
        data: The data set.

    Returns:
        How many values were copied, by the name of the tensor.

    Raises:
        InputError: The model is for images with other channels, which cannot be summed.
        FileError: Its file is missing or corrupt.
    """
    model = read_model(find_model(path))
    net = model.net
    if net.arch.in_channels != data.channels == 1:
        net = for_grey_images(net)
    if net.arch.in_channels != data.channels:
        raise InputError(
            f"model and data set must have the same number of input channels: the model {path} has "
            f"{net.arch.in_channels}, the data set {data.channels}; choose another model or data set"
        )
    if model.classes == data.classes:
        return supernet.adopt(net)
    if net.arch.task == supernet.space.task:
        return supernet.adopt(net, leave_out="head.classifier")
    return supernet.adopt(net, leave_out="head.")


def initialise_supernet(supernet: Supernet, plan: SearchPlan, data: Data) -> tuple[str, ...]:
    """Copy the weights of the plan's model, if it names one, into the largest network of its supernet.

    If the run has a checkpoint, nothing is copied or read: its weights are about to take their place.

    Args:
        supernet: The supernet, before it is trained.
        plan: The search.
        data: The data set.

    Returns:
        A line that says how much of the supernet is the model's, if it is.

    Raises:
        InputError: As `adopt_model` does, or the two have no weights of blocks in common.
        FileError: As `adopt_model` does.
    """
    if plan.config.init is None or RunFolder(plan.run).supernet.exists():
        return ()
    path = Path(plan.config.init)
    copied = adopt_model(supernet, path, data)
    if not any(name.startswith(_BLOCKS) for name in copied):
        raise InputError(
            f"the blocks of the model {path} are of other kinds than those of the search space, which can take none of "
            "their weights; choose another --init, or another --space"
        )
    total, taken = 0, 0
    for name, parameter in supernet.net.named_parameters():
        total += parameter.numel()
        taken += copied.get(name, 0)
    share = f"{format_count(taken)} of {format_count(total)} parameters ({taken / total:.0%})"
    return (f"init: {share} of the supernet are those of {path}; the others are fresh",)


def check_init(plan: SearchPlan, space: SearchSpace, data: Data) -> None:
    """Check that the supernet of a search can take the weights of the plan's model, before anything is written.

    Raises:
        InputError: As `initialise_supernet` does.
        FileError: As `initialise_supernet` does.
    """
    initialise_supernet(Supernet(space), plan, data)
