"""Costs of a program's own: functions of an arch."""

import json

import pytest

import tinynas
from tinynas.utils.errors import BudgetError, FileError, InputError

QUICK = {"space": "micro-v1", "data": "digits", "epochs": 1, "batch_size": 256, "trials": 8, "seed": 1}


def energy(arch):
    """Grows with the network."""
    return 1e-5 * tinynas.cost(arch).macs


def depthless(arch):
    """Falls where a network grows: a cost need not follow size."""
    return 1e6 / tinynas.cost(arch).params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("costs") / "run"


@pytest.fixture(scope="module")
def run(folder):
    costs = {"energy": energy, "depthless": depthless}
    return tinynas.search(costs=costs, limits={"energy": 8.0}, pareto=("energy", "depthless"), run=folder, **QUICK)


def test_functions_are_limited_searched_and_written(run, folder):
    assert run.result.objectives == ("energy", "depthless")
    assert len(run.evaluations) == 8
    for entry in run.evaluations:
        assert entry.cost.own == {"energy": energy(entry.arch), "depthless": depthless(entry.arch)}
        assert entry.cost.own["energy"] <= 8.0
    assert json.loads((folder / "front.json").read_text())["limits"] == {"own": {"energy": 8.0}}
    points = [(e.cost.own["energy"], e.cost.own["depthless"], e.accuracy) for e in run.evaluations]
    for entry in run.front:
        ours = entry.cost.own
        beaten = [p for p in points if p[0] < ours["energy"] and p[1] < ours["depthless"] and p[2] > entry.accuracy]
        assert not beaten
    bar = run.plot().axes[1]
    assert bar.get_ylabel() == "depthless"
    model = tinynas.retrain(run, limits={"energy": 4.0}, epochs=1, batch_size=256)
    within = [entry for entry in run.evaluations if entry.cost.own["energy"] <= 4.0]
    assert model.cost.macs in [e.cost.macs for e in within if e.accuracy == max(e.accuracy for e in within)]


def test_search_with_functions_needs_them_to_resume(run, folder):
    again = {"run": folder, "resume": True, "trials": 9}
    message = r"search to resume has costs that are missing: {}; name their sources again with `costs` or `cost_tables`"
    with pytest.raises(InputError, match=message.format("(energy, depthless|depthless, energy)")):
        tinynas.search(**again)
    with pytest.raises(InputError, match=message.format("depthless")):
        tinynas.search(costs={"energy": energy}, **again)
    with pytest.raises(FileError, match="the cost energy differs from that of the search to resume: restore its"):
        tinynas.search(costs={"energy": lambda arch: 2 * energy(arch), "depthless": depthless}, **again)
    resumed = tinynas.search(costs={"energy": energy, "depthless": depthless}, **again)
    assert len(resumed.evaluations) == 9
    before = {entry.arch for entry in run.evaluations}
    assert before < {entry.arch for entry in resumed.evaluations}


def test_search_with_a_recorded_cost_says_that_it_is_missing(tmp_path):
    tinynas.search(costs={"energy": energy}, run=tmp_path / "run", **QUICK | {"trials": 2})
    with pytest.raises(InputError, match="the search to resume has costs that are missing: energy; name their sources"):
        tinynas.search(run=tmp_path / "run", resume=True)


def test_costs_and_limits_without_names_or_sources_are_errors_in_a_line(tmp_path):
    with pytest.raises(
        InputError, match=r'costs is of the type list; pass values by name: costs=\{"energy": function\}'
    ):
        tinynas.search(costs=[energy], **QUICK)
    for call in (tinynas.search, tinynas.retrain):
        with pytest.raises(
            InputError, match=r'limits is of the type list; pass values by name: limits=\{"energy": 3.0\}'
        ):
            call(limits=["energy"])
    with pytest.raises(
        InputError, match="no cost enrgy to limit; there are energy: name its source with `costs` or `c"
    ):
        tinynas.search(costs={"energy": energy}, limits={"enrgy": 3}, run=tmp_path / "run", **QUICK)
    with pytest.raises(InputError, match="sram is no cost of your own; limit it with `sram`, to a value like 256KB"):
        tinynas.search(limits={"sram": 20}, **QUICK)


def test_workers_cannot_have_functions(tmp_path):
    with pytest.raises(InputError, match="workers are processes of their own, which lack the function of energy; sea"):
        tinynas.search(costs={"energy": energy}, workers=2, run=tmp_path / "run", **QUICK)


@pytest.mark.parametrize("name", ["macs", "sram", "accuracy", "2nd", "a b"])
def test_names_that_are_taken_or_no_names_are_errors(tmp_path, name):
    with pytest.raises(InputError, match=r"is a cost that tinynas has itself|a cost's name must be letters, digits"):
        tinynas.search(costs={name: energy}, run=tmp_path / "run", **QUICK)


def test_function_that_fails_ends_the_search_before_training(tmp_path):
    def broken(arch):
        raise RuntimeError("the simulator is not there")

    with pytest.raises(InputError, match="the function of the cost heat failed: RuntimeError: the simulator is not"):
        tinynas.search(costs={"heat": broken}, run=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_limit_may_leave_out_the_smallest_networks(tmp_path):
    limit = depthless(tinynas.load_space("micro-v1").min()) / 20
    run = tinynas.search(
        costs={"depthless": depthless},
        limits={"depthless": limit},
        run=tmp_path / "run",
        sampler="random",
        **QUICK | {"trials": 5},
    )
    assert len(run.evaluations) == 5
    assert all(entry.cost.own["depthless"] <= limit for entry in run.evaluations)
    with pytest.raises(BudgetError, match="no network of micro-v1 fits, the smallest has depthless"):
        tinynas.search(costs={"depthless": depthless}, limits={"depthless": 1e-9}, run=tmp_path / "other", **QUICK)
