from dataclasses import replace

from helpers import SPACE
from tinynas import cost, load_arch
from tinynas.arch.cost import TimedCost, timed_cost
from tinynas.deploy.latency import MachineLatency, latency


def test_latency_is_longer_for_a_larger_network():
    small = replace(load_arch("mobilenet-v2-tiny"), resolution=48)
    assert 0 < latency(small) < latency(replace(small, resolution=160))


def test_timed_cost_keeps_the_counts_and_measures_once():
    timed = timed_cost(SPACE.max(), MachineLatency())
    assert timed == TimedCost(**vars(cost(SPACE.max())), latency=MachineLatency().seconds(SPACE.max()))
    assert timed.latency > 0
