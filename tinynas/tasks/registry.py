"""Tasks by name, and whether networks and data sets are for the same one."""

from typing import TypeVar

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Data
from ..utils.errors import InputError, unknown
from .task import Classification, Detection, Task

Fitted = TypeVar("Fitted", Arch, SearchSpace)

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), Detection())}


def task_named(name: str) -> Task:
    """Return the task "classify" or "detect".

    Raises:
        InputError: There is no such task.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def check_task(task: str, data: Data) -> Task:
    """Return the task of networks that are to be used with a data set.

    Raises:
        InputError: The data set is for another task.
    """
    if task != data.task:
        labels = TASKS[data.task].label_kind
        raise InputError(
            f"networks that {task} cannot learn from {labels}; take other --data, or networks that {data.task}: by "
            "--task, --space or another model"
        )
    return TASKS[task]


def fit_to_data(network: Fitted, data: Data) -> Fitted:
    """Return the arch or search space with the data's input channels and classes.

    Raises:
        InputError: The data set is for another task.
    """
    check_task(network.task, data)
    return network.fitted_to(in_channels=data.channels, classes=len(data.classes))


def check_fits(network: Arch | SearchSpace, data: Data) -> None:
    """Check that an arch or search space is fitted to a data set.

    Raises:
        InputError: They differ in their task, input channels or number of classes.
    """
    check_task(network.task, data)
    if (network.in_channels, network.classes) != (data.channels, len(data.classes)):
        raise InputError(
            f"the network has {network.in_channels} input channels and {network.classes} classes, the data set "
            f"{data.channels} and {len(data.classes)}; fit it with `fit_to_data`, or take the data set it was made for"
        )
