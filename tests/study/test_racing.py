from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers import SPACE
from tinynas import Budget, cost
from tinynas.data.base import Data, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.models.supernet import Supernet
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.study.feasible import Feasible
from tinynas.study.history import CannotWinError, Evaluation
from tinynas.study.racing import Race, balanced_parts, is_worse
from tinynas.utils.rng import generator

FEASIBLE = Feasible(space=SPACE, budget=Budget())
IMAGES = 400
LABELS = torch.arange(IMAGES) % 3
BEST, WORSE, SIMILAR, *_ = ARCHS = sorted(
    {replace(SPACE.sample(generator(0, "racing", number)), resolution=12) for number in range(9)},
    key=lambda arch: cost(arch).macs,
)


class PredictsByTable(nn.Module):
    """Is right on the images of a table; an image's number is in its first two pixels."""

    def __init__(self, correct):
        super().__init__()
        self.correct = correct
        self.anchor = nn.Parameter(torch.zeros(1))
        self.seen = 0

    def forward(self, images):
        pixels = (images[:, 0, 0, :2] * 255).round().long()
        numbers = pixels[:, 0] * 250 + pixels[:, 1]
        self.seen += len(numbers)
        classes = torch.where(self.correct[numbers], LABELS[numbers], (LABELS[numbers] + 1) % 3)
        return nn.functional.one_hot(classes, 3).float()


class TableEvaluator(SubnetEvaluator):
    """Evaluates networks that are right on the images of their tables."""

    def __init__(self, tables):
        images = torch.zeros(IMAGES, 1, 12, 12, dtype=torch.uint8)
        images[:, 0, 0, 0] = torch.arange(IMAGES) // 250
        images[:, 0, 0, 1] = torch.arange(IMAGES) % 250
        split = MemorySplit(images=images, labels=LABELS)
        normalise = Normalisation(mean=(0.0,), std=(1.0,))
        data = Data(classes=("a", "b", "c"), normalise=normalise, train=split, val=split, test=split)
        super().__init__(Supernet(SPACE), data)
        self.nets = {arch: PredictsByTable(correct) for arch, correct in tables.items()}

    def subnet(self, arch):
        return self.nets[arch]

    def seen(self, arch):
        """The number of images that a network has seen since the last call."""
        seen, self.nets[arch].seen = self.nets[arch].seen, 0
        return seen


def right_but_every(number, first=0):
    """A table with a wrong prediction for every so manieth image."""
    return torch.arange(IMAGES) % number != first


def evaluation(arch, accuracy):
    return Evaluation(arch=arch, accuracy=accuracy, cost=cost(arch))


@pytest.fixture
def evaluator():
    return TableEvaluator({BEST: right_but_every(10), WORSE: right_but_every(2), SIMILAR: right_but_every(10, 1)})


def test_worse_is_by_more_than_three_standard_errors():
    """Of losses and wins alone: 20 > 3 sqrt(40), 18 < 3 sqrt(38), 10 > 3 sqrt(10), 9 = 3 sqrt(9)."""
    for losses, wins, expected in ((30, 10, True), (28, 10, False), (10, 0, True), (9, 0, False), (0, 100, False)):
        for both in (0, 1000):
            losing = torch.tensor([False] * losses + [True] * wins + [True, False] * both)
            winning = torch.tensor([True] * losses + [False] * wins + [True, False] * both)
            assert is_worse(losing, winning) is expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 4))
def test_parts_are_balanced(labels, count):
    labels = torch.tensor(labels)
    parts = balanced_parts(labels, count)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(labels)))
    assert len(parts) == min(count, len(labels))
    counts = torch.stack([labels[part].bincount(minlength=5) for part in parts])
    assert (counts.amax(0) - counts.amin(0)).max() <= 1
    assert counts.sum(1).max() - counts.sum(1).min() <= 1


def test_race_drops_a_worse_network_after_a_quarter(evaluator):
    race = Race(evaluator, FEASIBLE, objectives=())
    assert race(BEST, []) == 90.0
    with pytest.raises(CannotWinError) as dropped:
        race(WORSE, [evaluation(BEST, 90.0)])
    assert evaluator.seen(WORSE) == IMAGES / 4
    assert evaluator.seen(BEST) == IMAGES
    quarter = balanced_parts(LABELS, 4)[0]
    lead = right_but_every(10)[quarter].sum() - right_but_every(2)[quarter].sum()
    assert dropped.value.estimate == pytest.approx(90 - float(lead))


def test_race_drops_later_what_is_less_clear(evaluator):
    """Losses alone suffice from 10 on; there are 7 in each quarter."""
    correct = torch.ones(IMAGES, dtype=torch.bool)
    for part in balanced_parts(LABELS, 4):
        correct[part[:7]] = False
    evaluator.nets[WORSE] = PredictsByTable(correct)
    evaluator.nets[BEST] = PredictsByTable(torch.ones(IMAGES, dtype=torch.bool))
    evaluator.nets[SIMILAR] = PredictsByTable(torch.arange(IMAGES) % 100 != 0)
    race = Race(evaluator, FEASIBLE, objectives=())
    race(BEST, [])
    assert race(SIMILAR, [evaluation(BEST, 100.0)]) == 99.0, "4 losses are too few"
    with pytest.raises(CannotWinError):
        race(WORSE, [evaluation(BEST, 100.0), evaluation(SIMILAR, 99.0)])
    assert evaluator.seen(WORSE) == IMAGES / 2


@given(st.integers(0, 10_000), st.floats(0, 0.5), st.floats(0, 0.5))
def test_race_changes_no_accuracy_and_drops_only_what_is_worse_so_far(seed, wrong, otherwise):
    random = torch.Generator().manual_seed(seed)
    draws = torch.rand(3, IMAGES, generator=random)
    first = draws[2] >= wrong
    second = torch.where(draws[0] < 0.5, first, draws[1] >= otherwise)
    evaluator = TableEvaluator({BEST: first, WORSE: second, SIMILAR: first})
    race = Race(evaluator, FEASIBLE, objectives=())
    accuracy = race(BEST, [])
    assert accuracy == evaluator(BEST)
    known = [evaluation(BEST, accuracy)]
    assert race(SIMILAR, known) == accuracy, "a network that equals the best is never dropped"
    evaluator.seen(WORSE)
    order = torch.cat(balanced_parts(LABELS, 4))
    estimate = None
    try:
        assert race(WORSE, known) == evaluator(WORSE)
    except CannotWinError as dropped:
        estimate = dropped.estimate
    if estimate is not None:
        seen = order[: evaluator.seen(WORSE)]
        losses, wins = (first & ~second)[seen].sum(), (second & ~first)[seen].sum()
        assert losses - wins > 3 * (losses + wins) ** 0.5
        assert estimate < accuracy


def test_race_for_a_front_compares_with_networks_of_no_more_macs(evaluator):
    small, large = WORSE, ARCHS[-1]
    evaluator.nets[large] = PredictsByTable(right_but_every(10))
    race = Race(evaluator, FEASIBLE, objectives=("macs",))
    race(large, [])
    assert race(small, [evaluation(large, 90.0)]) == evaluator(small) == 50.0
    evaluator.nets[SIMILAR] = PredictsByTable(right_but_every(2))
    known = [evaluation(large, 90.0), evaluation(small, 50.0)]
    assert race(SIMILAR, known) == 50.0, "not worse than the smaller one"
    race(BEST, known)
    with pytest.raises(CannotWinError):
        race(SIMILAR, [*known, evaluation(BEST, 90.0)])


def test_race_evaluates_earlier_networks_again_but_not_those_of_others(evaluator):
    race = Race(evaluator, FEASIBLE, objectives=())
    with pytest.raises(CannotWinError):
        race(WORSE, [evaluation(BEST, 90.0)])
    assert (evaluator.seen(BEST), evaluator.seen(WORSE)) == (IMAGES, IMAGES / 4)
    with pytest.raises(CannotWinError):
        race(WORSE, [evaluation(BEST, 90.0)])
    assert evaluator.seen(BEST) == 0

    race = Race(evaluator, FEASIBLE, objectives=())
    assert race(WORSE, []) == 50.0
    assert race(WORSE, [evaluation(BEST, 90.0)]) == 50.0, "another worker evaluated the best one meanwhile"
    assert evaluator.seen(BEST) == 0
