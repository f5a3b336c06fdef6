from dataclasses import replace

from helpers import SPACE
from tinynas import load_arch
from tinynas.deploy.latency import MachineLatency, latency


def test_latency_is_longer_for_a_larger_network():
    small = replace(load_arch("mobilenet-v2-tiny"), resolution=48)
    assert 0 < latency(small) < latency(replace(small, resolution=160))


def test_machine_latency_measures_a_network_once():
    first = MachineLatency().measure(SPACE.max())
    assert first["latency"] > 0
    assert MachineLatency().measure(SPACE.max()) == first
