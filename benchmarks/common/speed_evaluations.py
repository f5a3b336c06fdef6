"""Evaluations of subnets in speed.py: by the fused kernels, by PyTorch, and by the package ofa."""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median

import torch
from torch import nn

from tinynas import Arch, SearchSpace, Supernet, cost, load_space
from tinynas.data.base import Data, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.models.profile import macs_by_fvcore
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.tasks.registry import TASKS
from tinynas.training.backend import use_backend
from tinynas.training.recipe import Recipe
from tinynas.utils.rng import generator

from .step_runs import ignore
from .timing import Run, rates, ratios, summary, time_rounds

OFA_ROUNDS = 5
ROUNDS = 10
OFA_GOAL = ">= 6"
IMAGES = 500  # that calibrate, and as many that are classified
SIDES = {"micro-v1": 28, "mobile": 64}  # pixels along a side of an image, by space
RATE = f"subnet evaluations a second, {IMAGES} + {IMAGES} images"


class OfaEvaluator:
    """Evaluates subnets of OFAMobileNetV3 as the package ofa does. Raises ModuleNotFoundError without the package."""

    def __init__(self, data: Data, arch: Arch) -> None:
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

        self.supernet = OFAMobileNetV3(ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
        self.set_running_statistics = set_running_statistics
        self.data, self.arch = data, arch
        self.batches = [(images, None) for images in data.calibration_batches(arch.resolution)]

    def __call__(self) -> float:
        """Return the accuracy of the active subnet."""
        network = self.supernet.get_active_subnet(preserve_weight=True)
        self.set_running_statistics(network, self.batches)
        return TASKS["classify"].accuracy(network, self.arch, self.data, self.data.val)

    def sample(self) -> nn.Module:
        """Choose the next subnet, by Python's own generator; return it as a plain network."""
        self.supernet.sample_active_subnet()
        return self.supernet.get_active_subnet(preserve_weight=True).eval()


def measure_evaluations() -> Iterator[dict]:
    """Time evaluations of random subnets by the fused kernels and by PyTorch.

    Subnets are extracted and recalibrated on 500 images, and classify 500 others.
    """
    for name, side in SIDES.items():
        space = load_space(name)
        data = random_images(space.max(), side)
        fused, eager = evaluator(space, data, "fused"), evaluator(space, data, "eager")
        times = time_rounds(evaluation_rounds(space, side, fused, eager))
        what = f"{RATE} of {side} px, {name}"
        yield summary(f"{what}: fused kernels", rates(times, 0), aim="")
        yield summary(f"{what}: PyTorch", rates(times, 1), aim="")
        yield summary(f"the same in pairs, {name}: fused kernels / PyTorch", ratios(times, 1, 0), aim="")


def measure_ofa() -> Iterator[dict]:
    """Time the same evaluations beside those of the package ofa, of networks of about the same size."""
    space, side = load_space("mobile"), SIDES["mobile"]
    largest = replace(space.max(), resolution=side)
    data = random_images(largest, side)
    fused, ofa = evaluator(space, data, "fused"), OfaEvaluator(data, largest)
    own_macs: list[int] = []
    ofa_macs: list[int] = []
    times = time_rounds(ofa_rounds(space, side, fused, ofa, own_macs, ofa_macs))
    per_mac = []
    for ratio, own, other in zip(ratios(times, 1, 0), own_macs[1:], ofa_macs[1:], strict=True):
        per_mac.append(ratio * own / other)
    own_size, ofa_size = median(own_macs[1:]) / 1e6, median(ofa_macs[1:]) / 1e6
    what = f"{RATE} of {side} px"
    yield summary(f"{what}: tinynas, mobile ({own_size:.0f}M MACs)", rates(times, 0), aim="")
    yield summary(f"{what}: ofa, OFAMobileNetV3 ({ofa_size:.0f}M MACs)", rates(times, 1), aim="")
    yield summary("the same in pairs: tinynas / ofa", ratios(times, 1, 0), aim=OFA_GOAL)
    yield summary("the same in pairs, per MAC: tinynas / ofa", per_mac, aim="")


def evaluator(space: SearchSpace, data: Data, backend: str) -> SubnetEvaluator:
    """Return what evaluates subnets of random weights by a backend."""
    supernet = Supernet(space)
    use_backend(supernet, Recipe(backend=backend), note=ignore)
    return SubnetEvaluator(supernet, data)


def evaluation_rounds(
    space: SearchSpace, side: int, fused: SubnetEvaluator, eager: SubnetEvaluator
) -> Iterator[list[Run]]:
    """Yield evaluations of the same random subnets by both backends."""
    rng = generator(0, "speed evaluations")
    for _ in range(ROUNDS + 1):
        arch = replace(space.sample(rng), resolution=side)
        yield [partial(fused, arch), partial(eager, arch)]


def ofa_rounds(
    space: SearchSpace,
    side: int,
    evaluate: SubnetEvaluator,
    ofa: OfaEvaluator,
    own_macs: list[int],
    ofa_macs: list[int],
) -> Iterator[list[Run]]:
    """Yield evaluations of random subnets, and append the MACs of both sides to the lists."""
    rng = generator(0, "speed evaluations")
    random.seed(0)  # ofa samples by it
    for _ in range(OFA_ROUNDS + 1):
        arch = replace(space.sample(rng), resolution=side)
        own_macs.append(cost(arch).macs)
        ofa_macs.append(macs_by_fvcore(ofa.sample(), torch.zeros(1, 3, side, side)))
        yield [partial(evaluate, arch), ofa]


def random_images(arch: Arch, side: int) -> Data:
    """Return 500 images to calibrate on and as many to classify, of noise, for networks like an arch."""
    rng = torch.Generator().manual_seed(0)
    channels = arch.in_channels
    pixels = torch.randint(0, 256, (2, IMAGES, channels, side, side), dtype=torch.uint8, generator=rng)
    labels = torch.arange(IMAGES) % arch.classes
    train, val = MemorySplit(images=pixels[0], labels=labels), MemorySplit(images=pixels[1], labels=labels)
    normalise = Normalisation(mean=(0.5,) * channels, std=(0.3,) * channels)
    return Data(classes=tuple(map(str, range(arch.classes))), normalise=normalise, train=train, val=val, test=val)
