"""What a process of a data-parallel training computes; compared with what a single process does.

python tests/data_parallel.py FILES OUT    # started by tests/utils/test_distributed.py, with torchrun's environment
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from helpers import DETECTORS, SMALL, Stopped
from tinynas import SearchSpace, Supernet, augment, build
from tinynas.data.base import Data, Normalisation
from tinynas.data.boxes import BoxSplit
from tinynas.data.memory import MemorySplit
from tinynas.data.registry import load_data
from tinynas.data.sources import MemoryImages
from tinynas.data.subset import sample_of
from tinynas.models.layers import ShardedDropout
from tinynas.tasks.data_parallel import evaluate_together
from tinynas.tasks.detection_loss import DetectionDistillationLoss, DetectionLoss
from tinynas.tasks.losses import CrossEntropyLoss, TeacherLoss
from tinynas.tasks.registry import TASKS
from tinynas.training import checkpoint as checkpoints
from tinynas.training import loop
from tinynas.training.averaging import WeightAverage
from tinynas.training.distillation import Teacher
from tinynas.training.loop import make_optimizer, set_rate, train, train_step
from tinynas.training.objectives import NetAugObjective, PlainObjective, SandwichObjective
from tinynas.training.precision import MixedPrecision
from tinynas.training.recipe import Recipe
from tinynas.training.teacher_outputs import TeacherOutputs
from tinynas.utils.distributed import process_group, rank, shard

BATCH = 12
GREY = Normalisation(mean=(0.3,), std=(0.2,))


def memory_data() -> Data:
    """Images in memory that are mirrored and shifted."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 1, 12, 12), generator=generator).to(torch.uint8)
    split = MemorySplit(images=images, labels=torch.arange(30) % 3, flip=True, shift=2)
    return Data(classes=("a", "b", "c"), normalise=GREY, train=split, val=split, test=split)


def box_data() -> Data:
    """Images with 0 to 7 objects, more towards the end."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (30, 1, 64, 64), dtype=np.uint8))
    objects = []
    for i in range(30):
        count = int(rng.integers(0, 2 + i // 5))
        corners = rng.uniform(0, 0.5, (count, 2))
        sides = rng.uniform(0.2, 0.5, (count, 2))
        rows = np.concatenate([rng.integers(0, 3, (count, 1)), corners, corners + sides], 1)
        objects.append(torch.from_numpy(rows).float())
    split = BoxSplit(read=MemoryImages(images), objects=objects, flip=True)
    return Data(task="detect", classes=("a", "b", "c"), normalise=GREY, train=split, val=split, test=split)


def batches(data: Data, augmentation: str, resolutions: Sequence[int]) -> list[dict[str, torch.Tensor]]:
    """Return the batches of an epoch."""
    parts = []
    for batch in data.training_batches(BATCH, resolutions, seed=3, epoch=1, augmentation=augmentation):
        parts.append({"images": batch.images, "labels": batch.labels, "indices": batch.indices})
    return parts


def step(kind: str, dtype: torch.dtype = torch.float64, *, synchronised: bool = False) -> dict[str, object]:
    """Return loss, gradients and statistics of a step: batch norm in evaluation mode, or synchronised in training."""
    torch.manual_seed(0)
    space, data = SearchSpace.from_dict(SMALL), memory_data()
    objective = SandwichObjective(space)
    if kind == "netaug":
        target, shares = replace(space.min(), resolution=12), torch.randn(1, 3, dtype=torch.float64)
        space = augment(target)
        teacher = TeacherLoss(lambda batch: shares * batch.images.mean((1, 2, 3))[:, None])
        objective = NetAugObjective(target, space, teacher)
    if kind.startswith("detect"):
        space, data = SearchSpace.from_dict(DETECTORS), box_data()
        distillation = 1.0 if kind == "detect, soft" else 0.0
        loss = DetectionLoss(space.max(), label_smoothing=0.1)
        objective = SandwichObjective(space, loss, DetectionDistillationLoss(2.0), distillation=distillation)
    supernet = Supernet(space)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    supernet.to(dtype).train(synchronised)
    supernet.synchronise_norms(synchronised)
    batch = next(data.training_batches(BATCH, (32,) if data.task == "detect" else (12,), seed=0, epoch=0))
    batch = batch._replace(images=batch.images.to(dtype))
    optimizer = make_optimizer(supernet, Recipe())
    precision, rng = MixedPrecision.for_device("fp32", torch.device("cpu")), np.random.default_rng(0)
    set_rate(optimizer, 0.0)
    loss, _ = train_step(supernet, objective, batch, rng, optimizer, precision, max_grad_norm=0.0)
    gradients = [parameter.grad for parameter in supernet.parameters()]
    return {
        "images": len(batch.images),
        "labels": len(batch.labels),
        "loss": loss.item(),
        "gradients": gradients,
        "statistics": list(supernet.buffers()),
    }


def trained(checkpoint: Path, *, stop_after: int = 0) -> dict[str, torch.Tensor]:
    """Train for two epochs of two steps, or resume that; return the parameters and their averages.

    The initial weights are those of the process of rank 0. Its checkpoint is written after every step.
    """
    torch.manual_seed(rank())
    space = SearchSpace.from_dict(SMALL)
    target = replace(space.min(), resolution=12)
    objective = PlainObjective(target, CrossEntropyLoss())
    recipe = Recipe(epochs=2, batch_size=BATCH, warmup_epochs=0)
    supernet = Supernet(augment(target, width=(1.0,), expand=(1.0,)))
    average = WeightAverage(supernet, target, decay=0.9)
    steps = [0]

    def counted_step(*arguments: Any, **settings: Any) -> torch.Tensor:
        if stop_after and steps[0] == stop_after:
            raise Stopped
        steps[0] += 1
        return train_step(*arguments, **settings)

    patches = patch.object(loop, "train_step", counted_step), patch.object(checkpoints, "_SAVE_SECONDS", 0.0)
    with suppress(Stopped), patches[0], patches[1]:
        train(
            supernet,
            lambda epoch: objective,
            memory_data(),
            recipe,
            resolutions=(12,),
            checkpoint=checkpoint,
            average=average,
        )
    averages = {f"average of {name}": tensor for name, tensor in average.network().named_parameters()}
    return dict(supernet.named_parameters()) | averages


def resumed_trainings(folder: Path) -> dict[int, dict[str, torch.Tensor]]:
    """Train without a stop (0), and with one after each step; no process reads another's files. Return the weights."""
    weights = {}
    for stop_after in range(4):
        checkpoint = folder / f"{stop_after}.pt"
        if stop_after:
            trained(checkpoint, stop_after=stop_after)
        weights[stop_after] = trained(checkpoint)
    return weights


def taught(folder: Path) -> dict[str, object]:
    """Return a teacher's outputs for two epochs, computed and read, and on how many images it was evaluated."""
    torch.manual_seed(0)
    teacher = Teacher(build(SearchSpace.from_dict(SMALL).min()))
    data, taught = memory_data(), {}
    for augmentation in ("none", "standard"):
        recipe = Recipe(epochs=2, batch_size=BATCH, augmentation=augmentation)
        for attempt in ("computed", "read"):
            outputs = TeacherOutputs(teacher, data, recipe, resolution=12, folder=folder, note=print)
            rows = []
            with patch.object(teacher, "evaluate", wraps=teacher.evaluate) as evaluate:
                for epoch in range(2):
                    for batch in data.training_batches(BATCH, (12,), seed=0, epoch=epoch, augmentation=augmentation):
                        rows.append(outputs.add_to(batch, epoch).teacher_outputs)
            evaluated = sum(len(call.args[0]) for call in evaluate.call_args_list)
            taught[f"{augmentation}, {attempt}"] = {"outputs": rows, "evaluated": evaluated}
    return taught | {"files": len(list(folder.rglob("*.safetensors")))}


def dropped() -> torch.Tensor:
    """Return what is left of ones (BATCH, 50), or of this process's shard of them, after dropout."""
    torch.manual_seed(0)
    ones = torch.ones(BATCH, 50)[shard(BATCH)]
    output: torch.Tensor = ShardedDropout(0.5).train()(ones)
    return output


def scores() -> list[dict[str, object]]:
    """Return what a network scores that the processes evaluate together: on all images, on few, and a detector."""
    torch.manual_seed(0)
    measured = []
    for data, plain, counts in ((memory_data(), SMALL, (30, 1)), (box_data(), DETECTORS, (30,))):
        arch = SearchSpace.from_dict(plain).min()
        net = build(arch)
        for count in counts:
            split = sample_of(data.test, count)
            metrics = evaluate_together(TASKS[data.task], net, arch, data, split)
            measured.append({"accuracy": metrics["accuracy"], "by_class": metrics["by_class"]})
    return measured


def results(files: Path) -> dict[str, object]:
    """Return batches, steps, what dropout leaves, and the error of a training that is resumed."""
    data_sets = {"memory": memory_data(), "files": load_data(f"imagefolder:{files}"), "boxes": box_data()}
    by_name = {}
    for name, data in data_sets.items():
        for augmentation in ("none", "standard", "strong"):
            by_name[f"{name}, {augmentation}"] = batches(data, augmentation, (16, 32))
    steps = {kind: step(kind) for kind in ("sandwich", "netaug", "detect", "detect, soft")}
    for kind in ("sandwich", "netaug", "detect"):
        for dtype in (torch.float64, torch.float32):
            steps[f"{kind}, synchronised, {dtype}"] = step(kind, dtype, synchronised=True)
    with TemporaryDirectory() as folder:
        resumed = resumed_trainings(Path(folder))
        existing = sorted(path.name for path in Path(folder).iterdir())
    with TemporaryDirectory() as folder:
        outputs = taught(Path(folder))
    return {
        "batches": by_name,
        "steps": steps,
        "dropout": dropped(),
        "resumed": resumed,
        "files": existing,
        "taught": outputs,
        "scores": scores(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group():
        torch.save(results(Path(sys.argv[1])), Path(sys.argv[2]) / f"rank{rank()}.pt")
