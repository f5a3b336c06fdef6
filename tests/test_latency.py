from dataclasses import asdict, replace

from conftest import SMALL

from tinynas import Budget, SearchSpace, cost, load_arch
from tinynas.deploy.latency import latency, timed_cost
from tinynas.study.feasible import Feasible
from tinynas.study.loop import search

SPACE = SearchSpace.from_dict(SMALL)


def test_a_larger_network_takes_longer():
    small = replace(load_arch("mobilenet-v2-tiny"), resolution=48)
    assert 0 < latency(small) < latency(replace(small, resolution=160))


def test_the_counts_stay_the_same_and_the_time_is_measured_once():
    timed = timed_cost(SPACE.max())
    assert asdict(timed) == {**asdict(cost(SPACE.max())), "latency": timed.latency}
    assert timed_cost(SPACE.max()) is timed


def test_only_networks_within_the_latency_are_evaluated(tmp_path):
    times = {}

    def price(arch):
        times[arch] = 1e-3 * sum(len(stage) for stage in arch.stages)
        assert cost(arch).macs <= 60_000, "measured though its counts do not fit"
        return replace(timed_cost(SPACE.min()), **asdict(cost(arch)), latency=times[arch])

    feasible = Feasible(space=SPACE, budget=Budget(macs=60_000, latency=3e-3), price=price)
    found = search(feasible, lambda arch: float(cost(arch).macs), storage=str(tmp_path / "j"), trials=20)
    assert len(found) == 20
    assert all(e.cost.latency == times[e.arch] <= 3e-3 for e in found)
    assert any(seconds > 3e-3 for seconds in times.values()), "the limit decided nothing"
