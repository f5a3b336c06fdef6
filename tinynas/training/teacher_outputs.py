"""A teacher's outputs for training images, computed once for all retrainings of a run.

The training images of an epoch do not depend on the network that is trained, so neither do a teacher's outputs for
them. The first retraining that needs those of an epoch writes them to a file, and the others read it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.base import Batch, Data, Split
from ..data.subset import SubsetSplit
from ..models.model_file import read_weights, save_weights
from ..utils.distributed import broadcast_from_rank0, device, rank, sum_over_processes, world_size
from ..utils.errors import FileError
from ..utils.io import json_digest, to_json
from ..utils.sizes import Size, pair
from ..utils.units import format_bytes
from .augmentation import augmentation_ranges
from .distillation import Teacher
from .recipe import Recipe

MAX_SAVED_BYTES = 2**30  # of all epochs of a retraining
_BYTES_ON_DEVICE = 2**30
_BATCH = 64  # images that are never augmented are evaluated in such batches
_VERSION = 1  # to be raised when the same settings give other training images
_KIND = "tinynas-teacher-outputs"
_NAME = "outputs"  # of the tensor in a file
_AGAIN = "the teacher is evaluated again"


class TeacherOutputs:
    """A teacher's outputs for the batches of a training, read from files where these are, else computed and saved.

    The files are FOLDER/KEY/epoch-N.safetensors, each of a whole epoch, N counted from 0: a row for every training
    image, in fp32, of zeros for the few that the epoch leaves out. Without augmentation there is one file,
    images.safetensors, for all epochs. KEY is a digest of everything that the outputs depend on:

    - the teacher: its structure and weights, and the precision in which it computes
    - the images: those of the training split in their order (with those of search-val, if they are trained on), how
      the split crops, mirrors and shifts, the normalisation, and the resolution
    - with augmentation: its kind and ranges, the seed, and the batch size, as an image's random numbers depend on its
      batch and its place there
    - what decides on rounding: the processor, its number of threads, the processes of a data-parallel training, and
      the versions of torch and torchvision

    They depend neither on the network that is trained nor on its objective, learning rate or number of epochs. Outputs
    are kept in fp32, as they were computed: so a training that computes them, one that reads them and one without
    files end with the same weights to the bit. Processes that compute the same epoch write the same file. An epoch
    that was resumed is not saved, nor are outputs that would take more than `MAX_SAVED_BYTES` in all epochs.

    Args:
        teacher: The teacher.
        data: Its training split is trained on, with the batches' images on the device.
        recipe: Of the training.
        resolution: Of the images, in pixels.
        folder: Where the files are.
        note: Receives messages of one line.
    """

    def __init__(
        self,
        teacher: Teacher,
        data: Data,
        recipe: Recipe,
        *,
        resolution: Size,
        folder: Path,
        note: Callable[[str], None],
    ) -> None:
        self._teacher = teacher
        self._data = data
        self._resolution = resolution
        self._is_augmented = recipe.augmentation != "none"
        self._epochs = recipe.epochs if self._is_augmented else 1
        self._steps = data.steps_per_epoch(recipe.batch_size)
        self._files = _OutputFiles(teacher, pixels_of(data, recipe, resolution), folder, note)
        self._note = note
        self._name = ""  # of the present epoch's file
        self._rows: Tensor | None = None  # its content
        self._computed: list[tuple[Tensor, Tensor]] = []  # indices and outputs of the epoch's batches, if they fit
        self._fits: bool | None = None

    def add_to(self, batch: Batch, epoch: int) -> Batch:
        """Return a batch of an epoch, counted from 0, with the teacher's outputs for its images.

        All processes of a data-parallel training call it, each with its part of the batch.
        """
        name = f"epoch-{epoch}" if self._is_augmented else "images"
        if name != self._name:
            self._begin(name)
        if self._rows is None:
            return batch._replace(teacher_outputs=self._evaluate(batch))
        outputs = self._rows[batch.indices.to(self._rows.device)]
        return batch._replace(teacher_outputs=outputs.to(batch.images.device))

    def _begin(self, name: str) -> None:
        """Read the outputs of this name; without augmentation, compute them if there is no file."""
        self._name = name
        self._computed = []
        self._rows = self._files.read(name)
        if self._rows is None and not self._is_augmented:
            self._rows = self._evaluate_all()
            if self._may_save(self._rows):
                self._files.write(name, self._rows)
        if self._rows is not None and self._rows.nbytes <= _BYTES_ON_DEVICE:
            self._rows = self._rows.to(device())

    def _evaluate(self, batch: Batch) -> Tensor:
        """Return the outputs for an augmented batch; after the last one of an epoch, save those of all."""
        outputs = self._teacher(batch)
        if self._may_save(outputs):
            self._computed.append((batch.indices, outputs))
            if len(self._computed) == self._steps:  # not where the epoch was resumed, whose first batches are missing
                self._files.write(self._name, self._joined(self._computed))
                self._computed = []
        return outputs

    def _evaluate_all(self) -> Tensor:
        """Return the outputs for all training images, of which every process computes those of a part."""
        indices = torch.arange(len(self._data.train))[rank() :: world_size()]
        part = SubsetSplit(self._data.train, indices)
        outputs = []
        for images, _ in self._data.evaluation_batches(part, self._resolution, _BATCH):
            outputs.append(self._teacher.evaluate(images.to(device())).cpu())
        return self._joined(list(zip(torch.split(indices, _BATCH), outputs, strict=True)))

    def _joined(self, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return a row for every training image, from indices and outputs of images, and those of other processes."""
        outputs = parts[0][1]
        rows = torch.zeros(len(self._data.train), *outputs.shape[1:], device=outputs.device)
        for indices, outputs in parts:
            rows[indices.to(rows.device)] = outputs
        return sum_over_processes(rows)

    def _may_save(self, outputs: Tensor) -> bool:
        """Return whether outputs like these, for some images (N, ...), are few enough to be saved in all epochs."""
        if self._fits is None:
            size = outputs[0].nbytes * len(self._data.train) * self._epochs
            self._fits = size <= MAX_SAVED_BYTES
            if not self._fits:
                self._note(
                    f"the teacher's outputs are not saved for other retrainings: they would take {format_bytes(size)}, "
                    f"more than {format_bytes(MAX_SAVED_BYTES)}"
                )
        return self._fits


class _OutputFiles:
    """The files of a teacher's outputs. Only the process of rank 0 reads and writes them."""

    def __init__(self, teacher: Teacher, pixels: dict[str, Any], folder: Path, note: Callable[[str], None]) -> None:
        self._teacher = teacher
        self._pixels = pixels
        self._root = folder
        self._note = note

    @cached_property
    def _key(self) -> dict[str, Any]:
        """What the outputs depend on. It is computed in training, where fused kernels leave torch one thread."""
        teacher = {"network": self._teacher.digest(), "precision": self._teacher.precision}
        return {"version": _VERSION, "teacher": teacher, "pixels": self._pixels, "rounding": _rounding()}

    def _path(self, name: str) -> Path:
        return self._root / json_digest(self._key)[:16] / f"{name}.safetensors"

    def read(self, name: str) -> Tensor | None:
        """Return the content of a file, on the CPU; None if there is none, or if it is damaged, which is noted."""
        return broadcast_from_rank0(self._read, name)

    def _read(self, name: str) -> Tensor | None:
        path = self._path(name)
        if not path.exists():
            return None
        try:
            return read_weights(path, _KIND, self._rows, expected="file of this teacher's outputs", advice=_AGAIN)
        except FileError as error:
            self._note(str(error))
            return None

    def _rows(self, about: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the rows of a file. Raises ValueError if they are of another key."""
        if about["key"] != to_json(self._key, canonical=True):
            raise ValueError
        return tensors[_NAME]

    def write(self, name: str, rows: Tensor) -> None:
        """Write a file. Raises FileError."""
        if rank() == 0:
            save_weights(self._path(name), _KIND, {"key": to_json(self._key, canonical=True)}, {_NAME: rows})


def pixels_of(data: Data, recipe: Recipe, resolution: Size) -> dict[str, Any]:
    """Return what the pixels of training images depend on, beside the epoch."""
    pixels: dict[str, Any] = {
        "images": data.train.digest(),
        "split": _preparation(data.train),
        "normalise": asdict(data.normalise),
        "resolution": pair(resolution),
        "augmentation": recipe.augmentation,
    }
    if recipe.augmentation != "none":
        pixels["ranges"] = asdict(augmentation_ranges(recipe))
        pixels["seed"] = recipe.seed
        pixels["batch_size"] = recipe.batch_size
    return pixels


def _preparation(split: Split) -> dict[str, Any]:
    """Return how a split prepares its images, by the names of the attributes that say so."""
    settings = {"kind": type(split).__name__}
    for name in ("crop", "flip", "shift"):
        if hasattr(split, name):
            settings[name] = getattr(split, name)
    return settings


def _rounding() -> dict[str, Any]:
    """Return what decides how a computation is rounded on this machine."""
    on_gpu = device().type == "cuda"
    return {
        "device": device().type,
        "processor": torch.cuda.get_device_name(device()) if on_gpu else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
    }
