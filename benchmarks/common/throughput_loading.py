"""The parts of throughput.py that load batches: beside the decode limit, and memory over epochs."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from tinynas.data.base import IMAGENET, BatchRequest, Data
from tinynas.data.image_split import ImageSplit
from tinynas.data.labelled_files import labelled_files
from tinynas.utils.machine import LOADERS_VARIABLE

from .timing import summary

RESOLUTION = 160
BATCH_SIZE = 32
BATCHES = 60  # of a round, for each process
ROUNDS = 7
EPOCHS = 6
EPOCH_BATCHES = 60


def photograph_data(files: Sequence[str]) -> Data:
    """Return a data set of photographs with ten classes; a tenth of them is search-val."""
    samples = [(file, number % 10) for number, file in enumerate(files)]
    return labelled_files(tuple("abcdefghij"), samples, samples[:10])


@contextmanager
def loaders(count: int) -> Iterator[None]:
    """Let so many processes load images in the body."""
    os.environ[LOADERS_VARIABLE] = str(count)
    try:
        yield
    finally:
        del os.environ[LOADERS_VARIABLE]


def measure_loading(files: Sequence[str], processes: int) -> Iterator[dict]:
    """Yield batches a second beside the decode limit: of the same photographs, with as many processes, interleaved."""
    split, limits, rates, ratios = photograph_data(files).train, [], [], []
    rng = np.random.default_rng(0)
    context = multiprocessing.get_context("fork")
    with context.Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool, loaders(processes):
        for number in range(ROUNDS + 1):
            chosen = torch.from_numpy(rng.integers(len(split), size=(BATCHES * processes, BATCH_SIZE)))
            runs = [partial(decode_all, pool, split.files, chosen), partial(load_all, split, chosen)]
            seconds = interleaved(runs, first=number % 2)
            if number:  # the first round starts the loader's processes and fills the cache of files
                limits.append(chosen.numel() / seconds[0])
                rates.append(chosen.numel() / seconds[1])
                ratios.append(seconds[0] / seconds[1])
    what = f"{processes} process{'es' if processes > 1 else ''}"
    yield summary(f"{what}: decode limit, images a second", limits, aim="")
    yield summary(f"{what}: training batches, images a second", rates, aim="")
    yield summary(f"{what}: training batches / decode limit", ratios, aim=">= 0.9")


def interleaved(runs: Sequence[Callable[[], object]], *, first: int) -> list[float]:
    """Return the seconds that pass in each run, beginning with one of them."""
    seconds = [0.0] * len(runs)
    for number in range(len(runs)):
        position = (first + number) % len(runs)
        start = time.perf_counter()
        runs[position]()
        seconds[position] = time.perf_counter() - start
    return seconds


def decode_all(pool: Pool, files: Sequence[str], chosen: torch.Tensor) -> None:
    """Decode and resize the chosen photographs, and nothing else."""
    batches = []
    for indices in chosen.tolist():
        batches.append([files[index] for index in indices])
    for _ in pool.imap_unordered(decode_batch, batches):
        pass


def decode_batch(files: Sequence[str]) -> None:
    """Decode photographs and resize a crop of each: about the mean size of the crops that training draws."""
    for file in files:
        with Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        height, width = pixels.shape[1:]
        box = height // 10, width // 10, round(0.79 * height), round(0.79 * width)
        functional.resized_crop(pixels, *box, [RESOLUTION, RESOLUTION])


def load_all(split: ImageSplit, chosen: torch.Tensor) -> None:
    """Load the chosen photographs as training does: batches of normalised floats."""
    requests = []
    for number, indices in enumerate(chosen):
        requests.append(BatchRequest(indices, RESOLUTION, seed=1000 * number))
    for _ in split.batches(requests, IMAGENET):
        pass


def measure_memory(files: Sequence[str]) -> Iterator[dict]:
    """Yield the memory of the training process after each epoch over that after the first one, with two processes."""
    data = photograph_data(files[: EPOCH_BATCHES * BATCH_SIZE])
    megabytes = []
    with loaders(2):
        for epoch in range(EPOCHS):
            for _ in data.training_batches(BATCH_SIZE, (RESOLUTION,), seed=0, epoch=epoch):
                pass
            megabytes.append(resident_megabytes())
    ratios = [value / megabytes[0] for value in megabytes[1:]]
    yield summary("memory of the training process after epoch 1, MB", megabytes[:1], aim="")
    what = f"memory after epochs 2 to {EPOCHS} / after epoch 1"
    yield summary(what, ratios, aim="<= 1.02", megabytes=megabytes)


def resident_megabytes() -> float:
    """Return the memory of this process that is in use."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell how much memory a process uses")
