from dataclasses import asdict, replace

from helpers import SPACE
from tinynas import cost, load_arch
from tinynas.deploy.latency import latency, timed_cost


def test_latency_is_longer_for_a_larger_network():
    small = replace(load_arch("mobilenet-v2-tiny"), resolution=48)
    assert 0 < latency(small) < latency(replace(small, resolution=160))


def test_timed_cost_keeps_the_counts_and_measures_once():
    timed = timed_cost(SPACE.max())
    assert asdict(timed) == {**asdict(cost(SPACE.max())), "latency": timed.latency}
    assert timed_cost(SPACE.max()) is timed
