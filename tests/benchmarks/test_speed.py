"""How speed.py times and counts."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from tinynas import build, load_space

BATCH = 2


@pytest.fixture(scope="module")
def smallest():
    """A small classifier."""
    return load_space("micro-v1").min()


def test_every_round_begins_with_another_call():
    from common.timing import time_rounds

    calls = []
    rounds = [[partial(calls.append, name) for name in "abc"]] * 3
    assert len(time_rounds(rounds)) == 2
    assert calls == list("abcbcacab")


def test_times_are_those_of_each_call(monkeypatch):
    import common.timing

    monkeypatch.setattr(common.timing, "seconds", str.__len__)
    assert common.timing.time_rounds([["a", "bb", "ccc"]] * 3) == [[1, 2, 3]] * 2


def test_ratios_are_by_round():
    from common.timing import ratios

    assert ratios([[1.0, 2.0, 4.0], [3.0, 1.0, 6.0]], 0, 2) == [0.25, 0.5]


def sandwich_step():
    from common.speed_steps import sandwich_step

    return sandwich_step("micro-v1", batch=4, side=16)


def netaug_step():
    from common.speed_steps import netaug_step

    return netaug_step("micro-v1", replace(load_space("micro-v1").min(), resolution=16), batch=4)


def detector_step():
    from common.speed_steps import sandwich_step

    return sandwich_step("detect", batch=4, side=80)


@pytest.mark.parametrize("make_step", [sandwich_step, netaug_step, detector_step])
def test_supernet_and_plain_networks_have_the_same_gradients(make_step):
    from common.step_runs import PlainSteps, SupernetSteps, make_batch

    step = make_step()
    torch.manual_seed(0)
    steps = SupernetSteps(step, "eager")
    batch = make_batch(step, step.batch, step.side)
    networks = steps.networks(0)
    PlainSteps(step, networks).run(batch)
    steps.run(batch, 0)
    gradient = steps._supernet.net.stem.norm.bias.grad
    expected = torch.zeros_like(gradient)
    for network in networks:
        expected[: network.arch.stem.out] += network.stem.norm.bias.grad
    torch.testing.assert_close(gradient, expected)


def test_plain_steps_update_the_largest_network_only():
    from common.step_runs import PlainSteps, make_batch, num_parameters

    step = sandwich_step()
    networks = [build(arch) for arch in (step.space.max(), step.space.min())]
    before = [network.head.classifier.weight.clone() for network in networks]
    PlainSteps(step, networks).run(make_batch(step, step.batch, step.side))
    assert num_parameters(networks[0]) > num_parameters(networks[1])
    assert not torch.equal(networks[0].head.classifier.weight, before[0])
    assert torch.equal(networks[1].head.classifier.weight, before[1])


def test_least_work_is_what_is_counted_by_hand(smallest):
    from common.speed_roofline import least_work

    work = least_work(smallest, BATCH)
    first_maps, second_maps, third_maps = 3 * 14 * 14 * 4, 14 * 14 * 8 + 2 * 7 * 7 * 8, 7 * 7 * 16 + 2 * 4 * 4 * 16
    assert work.map_bytes == 4 * BATCH * (14 * 14 * 4 + first_maps + second_maps + third_maps)
    products = 14 * 14 * (2 * 4 * 4 + 4 * 8) + 7 * 7 * (8 * 8 + 8 * 16) + 4 * 4 * 16 * 16
    assert sum(gemm.flops for gemm in work.gemms) == 2 * BATCH * products
    stem, depthwise, classifier = 14 * 14 * 4 * 9, 9 * (14 * 14 * 4 + 7 * 7 * 8 + 4 * 4 * 16), 16 * 10
    assert work.flops == 2 * BATCH * (2 * stem + 3 * (products + depthwise + classifier))


@pytest.mark.parametrize(("copy_seconds", "least"), [(0.5, 3.0), (2.0, 6.0)])  # six passes are three copies
def test_roofline_is_the_larger_one_of_arithmetic_and_memory(copy_seconds, least):
    from common.speed_roofline import Gemm, Work, rows

    large = Gemm.of_size(10, 10, 10)
    work = Work(flops=3 * large.flops, map_bytes=8, gemms=[large])
    by_name = {}
    for row in rows("step", work, large, [[12.0, 24.0, 0.5, 1.0, copy_seconds]]):
        by_name[row["what"]] = row["median"]
    assert by_name["step: least time, ms"] == pytest.approx(1e3 * least)
    assert by_name["step: least time / fused kernels"] == pytest.approx(least / 12)
    assert by_name["step: least time / plain PyTorch network"] == pytest.approx(least / 24)


@pytest.fixture
def version(tmp_path):
    """A checkout whose command computes for a while and writes a file."""
    folder = tmp_path / "version" / "tinynas" / "cli"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    lines = (
        "import os, sys, time",
        "while time.process_time() < 0.3: pass",
        f"open({str(tmp_path / 'output')!r}, 'w').write(' '.join(sys.argv[1:]) + str('OMP_NUM_THREADS' in os.environ))",
    )
    (folder / "__main__.py").write_text("\n".join(lines))
    return folder.parent.parent


def test_command_of_a_version_is_timed(version, monkeypatch):
    from common.speed_commands import run_command

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wall, processor = run_command(version, "search --epochs 2")
    assert (version.parent / "output").read_text() == "search --epochs 2False"
    assert wall >= 0.28
    assert processor >= 0.28  # it is counted in hundredths


def test_commands_are_compared_with_the_earlier_version(version, monkeypatch):
    import common.speed_commands as commands

    times = {commands.ROOT: commands.CommandTime(1.0, 3.0), version: commands.CommandTime(4.0, 4.0)}
    monkeypatch.setattr(commands, "run_command", lambda folder, command: times[folder])
    monkeypatch.setattr(commands, "load_data", str)
    monkeypatch.setattr(commands, "COMMANDS", ("cost",))
    medians = {row["what"]: row["median"] for row in commands.measure_commands(str(version))}
    assert medians == {
        "tinynas cost: seconds": 1.0,
        "tinynas cost: seconds, earlier version": 4.0,
        "tinynas cost: now / earlier version": 0.25,
        "tinynas cost: now / earlier version, processor time": 0.75,
    }


def test_accuracies_are_compared_seed_by_seed():
    from common.speed_accuracy import accuracy_table

    table = accuracy_table({"eager": {"0": 80.0, "1": 82.0, "2": 84.0}, "fused": {"0": 81.0, "1": 84.0, "2": 87.0}})
    assert table.rows == [
        ["PyTorch", "82.00 ± 2.00", "80.00, 82.00, 84.00", ""],
        ["fused kernels", "84.00 ± 3.00", "81.00, 84.00, 87.00", "+2.00 (-0.48 to +4.48)"],
    ]
