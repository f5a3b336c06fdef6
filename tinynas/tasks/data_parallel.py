"""Evaluation that the processes of a data-parallel training share."""

from typing import Any

import torch
from torch import nn

from ..arch.arch import Arch
from ..data.base import Data, Split
from ..data.labels import original_pixels
from ..data.subset import SubsetSplit
from ..utils.distributed import gather, rank, world_size
from .task import Task


def evaluate_together(task: Task, model: nn.Module, arch: Arch, data: Data, split: Split) -> dict[str, Any]:
    """Return the metrics of a model on a split in all processes, each of which predicts a part of the images.

    All processes must call it, with the same weights. The predictions are those of a single process.

    Args:
        task: The model's task.
        model: A network, in every process.
        arch: Its arch.
        data: The data set.
        split: One of its splits, or a part of it.

    Returns:
        What `Task.metrics` returns.
    """
    if world_size() == 1:
        return task.evaluate(model, arch, data, split)
    mine: tuple[list[Any], list[Any]] = ([], [])
    indices = torch.arange(len(split))[rank() :: world_size()]
    if len(indices):  # none if there are fewer images than processes
        mine = task.predict(model, arch, data, SubsetSplit(split, indices))
    parts = gather(mine)
    predictions: list[Any] = []
    truths: list[Any] = []
    for position in range(len(split)):
        of_process, place = parts[position % world_size()], position // world_size()
        predictions.append(of_process[0][place])
        truths.append(of_process[1][place])
    return task.metrics(predictions, truths, data.classes, original_pixels(split))
