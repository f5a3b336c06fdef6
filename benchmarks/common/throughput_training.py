"""The parts of throughput.py that train, and what decoding photographs smaller changes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tinynas import Supernet, augment, load_arch
from tinynas.data.augmentation import DEFAULT_RANGES
from tinynas.data.base import Data
from tinynas.data.images import read_image
from tinynas.data.memory import MemorySplit
from tinynas.data.transforms import RandomCrop
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.training.backend import use_backend
from tinynas.training.loop import train
from tinynas.training.objectives import PlainObjective
from tinynas.training.recipe import Recipe

from .throughput_loading import BATCH_SIZE, RESOLUTION, interleaved, loaders, photograph_data
from .timing import summary

ROUNDS = 3
TRAINED = 640  # photographs
EPOCHS = 2
NETWORK = "mobilenet-v2-tiny"
LARGE = 20  # photographs of 12 times the pixels
SIZES = (96, 160, 224)  # pixels, at which large photographs are trained on


def measure_training(files: Sequence[str]) -> Iterator[dict]:
    """Yield images a second of a training from files, over those of the same with images in memory; two threads."""
    data = photograph_data(files[: TRAINED * 10 // 9])
    in_memory = replace(data, train=memory_split(data))
    from_files, from_memory = [], []
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with loaders(2):
        for number in range(ROUNDS + 1):
            seconds = interleaved([partial(train_network, data), partial(train_network, in_memory)], first=number % 2)
            if number:
                from_files.append(EPOCHS * len(data.train) / seconds[0])
                from_memory.append(EPOCHS * len(data.train) / seconds[1])
    torch.set_num_threads(threads)
    what = f"training {NETWORK}, {RESOLUTION} px, batch {BATCH_SIZE}"
    yield summary(f"{what}: images a second, from files", from_files, aim="")
    yield summary(f"{what}: images a second, from memory", from_memory, aim="")
    ratios = [own / other for own, other in zip(from_files, from_memory, strict=True)]
    yield summary(f"{what}: from files / from memory", ratios, aim="")


def memory_split(data: Data) -> MemorySplit:
    """Return the training images, decoded and resized."""
    pixels = []
    for images, _ in data.evaluation_batches(data.train, RESOLUTION):
        pixels.append(data.normalise.undone(images))
    return MemorySplit(images=torch.cat(pixels), labels=data.train.labels, flip=True, shift=4)


def train_network(data: Data) -> None:
    """Train a network as `tinynas retrain` does."""
    arch = replace(load_arch(NETWORK), resolution=RESOLUTION, classes=len(data.classes))
    recipe = Recipe(epochs=EPOCHS, batch_size=BATCH_SIZE)
    supernet = Supernet(augment(arch, width=(1.0,), expand=(1.0,)))
    use_backend(supernet, recipe, note=str)
    objective = PlainObjective(arch, CrossEntropyLoss())
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        train(supernet, lambda epoch: objective, data, recipe, resolutions=(RESOLUTION,), checkpoint=checkpoint)


def measure_smaller(files: Sequence[str]) -> Iterator[dict]:
    """Yield the time of reading crops of large photographs smaller, over that at full size, and how pixels differ."""
    for resolution in SIZES:
        ratios, means, tails = [], [], []
        for number, file in enumerate(files):
            torch.manual_seed(number)
            height, width = read_image(file).shape[1:]
            crop = RandomCrop.draw(height, width, resolution, DEFAULT_RANGES.file_crop_scale)
            start = time.process_time()
            whole = crop(read_image(file))
            middle = time.process_time()
            smaller = crop(read_image(file, reduction=crop.reduction))
            ratios.append((time.process_time() - middle) / (middle - start))
            differences = (smaller.float() - whole.float()).abs()
            means.append(differences.mean().item())
            tails.append(float(np.quantile(differences, 0.99)))
        what = f"photographs of 2000x1500, {resolution} px"
        yield summary(f"{what}: processor time, decoded smaller / at full size", ratios, aim="")
        yield summary(f"{what}: mean difference of pixels, levels of 256", means, aim="<= 1")
        yield summary(f"{what}: 99th percentile of the difference, levels", tails, aim="")
