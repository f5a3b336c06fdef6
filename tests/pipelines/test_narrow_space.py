"""Searches whose run has a space for its limits."""

from dataclasses import replace

import pytest

from helpers import Quiet
from tinynas import Budget, SearchSpace, cost
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines.search import search
from tinynas.utils.errors import InputError
from tinynas.utils.schema import read_yaml


@pytest.fixture
def plan(small_config, tmp_path) -> SearchPlan:
    config = replace(small_config, narrow=True)
    settings = SearchSettings(trials=4)
    return SearchPlan(run=tmp_path / "run", config=config, budget=Budget(macs=10_000), settings=settings)


def space_of(run):
    return SearchSpace.from_dict(read_yaml(RunFolder(run).space.read_text(), "space"))


def test_space_of_the_run_is_narrower_and_the_supernet_is_of_it(watched, plan, tmp_path):
    wide = replace(plan, run=tmp_path / "wide", config=replace(plan.config, narrow=False))
    search(wide, report=Quiet())
    report = Quiet()
    result = search(plan, report=report)
    narrow, whole = space_of(plan.run), space_of(wide.run)
    assert cost(narrow.max()).macs < cost(whole.max()).macs
    assert all(whole.contains(entry.arch) and narrow.contains(entry.arch) for entry in result.front)
    assert RunFolder(plan.run).supernet.stat().st_size < RunFolder(wide.run).supernet.stat().st_size
    (note,) = [note for note in report.notes if note.startswith("space: narrowed to networks of up to")]
    assert "MACs, from " in note


def test_run_keeps_its_space_when_it_is_searched_within_other_limits(watched, plan):
    search(plan, report=Quiet())
    before = RunFolder(plan.run).space.read_bytes()
    result = search(replace(plan, budget=Budget(macs=60_000)), report=Quiet())
    assert RunFolder(plan.run).space.read_bytes() == before
    assert all(space_of(plan.run).contains(entry.arch) for entry in result.front)


def test_space_without_limits_is_not_narrowed(watched, plan):
    with pytest.raises(InputError, match="--narrow leaves out what is far from the limits, but there are none"):
        search(replace(plan, budget=Budget()), report=Quiet())
    assert not plan.run.exists()


def test_it_is_said_if_nothing_is_left_out(watched, plan):
    report = Quiet()
    search(replace(plan, budget=Budget(macs=10**9)), report=report)
    assert "space: nothing is left out, networks near the limits have all options" in report.notes
