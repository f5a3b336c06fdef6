"""The part `evaluations` of speed.py: evaluating subnets, beside the package ofa."""

import random
from collections.abc import Callable, Iterator
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
from tinynas.utils.rng import generator

from .timing import Pair, summary, time_pairs

ROUNDS = 5
SIDE = 64  # pixels along a side of an image
IMAGES = 500  # that calibrate, and as many that are classified


class OfaEvaluator:
    """Evaluates subnets of OFAMobileNetV3 as the package ofa does. Raises ModuleNotFoundError without the package."""

    def __init__(self, data: Data, arch: Arch) -> None:
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

        self.supernet = OFAMobileNetV3(ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
        self.set_running_statistics = set_running_statistics
        self.data, self.arch = data, arch
        self.batches = [(images, None) for images in data.calibration_batches(SIDE)]

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
    """Time evaluations of random subnets: extracted, recalibrated on 500 images, 500 others classified."""
    space = load_space("mobile")
    data = random_images()
    ofa = OfaEvaluator(data, replace(space.max(), resolution=SIDE))
    evaluate = SubnetEvaluator(Supernet(space), data)
    own_macs: list[int] = []
    ofa_macs: list[int] = []
    times = time_pairs(evaluation_pairs(space, evaluate, ofa, own_macs, ofa_macs))
    own_rates, ofa_rates, ratios, per_mac = [], [], [], []
    for (own_time, ofa_time), own, other in zip(times, own_macs[1:], ofa_macs[1:], strict=True):
        own_rates.append(1 / own_time)
        ofa_rates.append(1 / ofa_time)
        ratios.append(ofa_time / own_time)
        per_mac.append(ofa_time / own_time * own / other)
    what = f"subnet evaluations a second, {IMAGES} + {IMAGES} images of {SIDE} px"
    own_size, ofa_size = median(own_macs[1:]) / 1e6, median(ofa_macs[1:]) / 1e6
    yield summary(f"{what}: tinynas, mobile ({own_size:.0f}M MACs)", own_rates, aim="")
    yield summary(f"{what}: ofa, OFAMobileNetV3 ({ofa_size:.0f}M MACs)", ofa_rates, aim="")
    yield summary("the same in pairs: tinynas / ofa", ratios, aim="")
    yield summary("the same in pairs, per MAC: tinynas / ofa", per_mac, aim="")


def evaluation_pairs(
    space: SearchSpace,
    evaluate: Callable[[Arch], float],
    ofa: OfaEvaluator,
    own_macs: list[int],
    ofa_macs: list[int],
) -> Iterator[Pair]:
    """Yield evaluations of random subnets, and append the MACs of both sides to the lists."""
    rng = generator(0, "speed evaluations")
    random.seed(0)  # ofa samples by it
    for _ in range(ROUNDS + 1):
        arch = replace(space.sample(rng), resolution=SIDE)
        own_macs.append(cost(arch).macs)
        ofa_macs.append(macs_by_fvcore(ofa.sample(), torch.zeros(1, 3, SIDE, SIDE)))
        yield partial(evaluate, arch), ofa


def random_images() -> Data:
    """Return 500 images to calibrate on and as many to classify, of noise, in 1000 classes."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, IMAGES, 3, SIDE, SIDE), dtype=torch.uint8, generator=rng)
    labels = torch.arange(IMAGES)
    train, val = MemorySplit(images=pixels[0], labels=labels), MemorySplit(images=pixels[1], labels=labels)
    normalise = Normalisation(mean=(0.5,) * 3, std=(0.3,) * 3)
    return Data(classes=tuple(map(str, range(1000))), normalise=normalise, train=train, val=val, test=val)
