"""Networks chosen among all that a search has evaluated, against brute force over a space of 512 networks."""

from dataclasses import fields, replace
from functools import cache
from itertools import product

import pytest

from helpers import SMALL, score
from tinynas import Budget, SearchSpace
from tinynas.arch.cost import cost
from tinynas.experiment.evaluated import EvaluatedNetworks, most_accurate
from tinynas.experiment.results import FrontEntry, SearchResult
from tinynas.experiment.run_folder import RunFolder
from tinynas.utils.errors import FileError, InputError
from tinynas.utils.io import json_digest

STAGE = {"depth": [1, 2], "width": [4, 8], "kernel": [3, 5], "expand": [1, 2], "stride": 2}
SPACE_512 = SearchSpace.from_dict({**SMALL, "resolution": [8, 12], "stages": [STAGE]})


@cache
def networks():
    """All networks of the space, with an accuracy that no cost decides."""
    counts = SPACE_512.genes()
    archs = {}
    for options in product(*map(range, counts.values())):
        archs[SPACE_512.decode(dict(zip(counts, options, strict=True)))] = None
    entries = []
    for number, arch in enumerate(archs):
        accuracy = score(arch) + (7 * number % 5) / 4
        costs = cost(arch).with_values({"energy": 0.5 + (number * 37 % 101) / 10})
        entries.append(FrontEntry(arch=arch, accuracy=accuracy, cost=costs))
    return EvaluatedNetworks(networks=tuple(entries))


COSTS = ("macs", "params", "peak_sram", "peak_sram_tflm", "file_tflite", "energy")


def test_space_is_large_enough():
    assert len(networks().networks) > 400


@pytest.mark.parametrize("name", COSTS)
def test_network_within_any_limit_is_the_most_accurate_of_all(name):
    entries = networks().networks
    for limit in sorted({entry.cost.named()[name] for entry in entries}):
        budget = Budget(own={name: limit}) if name == "energy" else Budget(**{name: limit})
        chosen = networks().best_within(budget)
        assert chosen.cost.named()[name] <= limit
        assert chosen.accuracy == max(entry.accuracy for entry in entries if entry.cost.named()[name] <= limit)


def test_network_within_several_limits_is_the_most_accurate_of_all(rng):
    entries = networks().networks
    chosen = 0
    for number in rng.integers(len(entries), size=60).tolist():
        costs = entries[number].cost
        budget = Budget(macs=2 * costs.macs, peak_sram_tflm=costs.peak_sram_tflm, own={"energy": 6.0})
        within = [entry.accuracy for entry in entries if budget.fits(entry.cost)]
        best = networks().best_within(budget)
        assert (best is None) == (not within)
        if best:
            chosen += 1
            assert best.accuracy == max(within)
    assert chosen > 30


def test_front_by_macs_lacks_the_best_networks_for_other_limits():
    """Why choosing among the networks of a front is not enough."""
    front = EvaluatedNetworks(networks=tuple(networks().front_of(["macs"])))
    worse = 0
    for limit in sorted({entry.cost.peak_sram_tflm for entry in networks().networks}):
        budget = Budget(peak_sram_tflm=limit)
        of_front = front.best_within(budget)
        worse += of_front is None or of_front.accuracy < networks().best_within(budget).accuracy
    assert worse


def beats(other, entry, names):
    """Whether a network is no worse than another in anything, and better in something."""
    ours, theirs = other.cost.named(), entry.cost.named()
    if other.accuracy < entry.accuracy or any(ours[name] > theirs[name] for name in names):
        return False
    return other.accuracy > entry.accuracy or any(ours[name] < theirs[name] for name in names)


@pytest.mark.parametrize("names", [["macs"], ["energy"], ["peak_sram_tflm", "macs"], ["energy", "file_tflite"]])
def test_front_is_all_that_no_network_beats(names):
    entries = networks().networks
    unbeaten = {entry.point(names) for entry in entries if not any(beats(other, entry, names) for other in entries)}
    front = networks().front_of(names)
    assert [entry.point(names) for entry in front] == sorted(unbeaten)
    assert most_accurate(front).accuracy == max(entry.accuracy for entry in entries)


def test_costs_that_were_not_recorded_are_an_error_in_a_line():
    with pytest.raises(InputError, match="did not record the latency of its networks; search again with latency as"):
        networks().best_within(Budget(latency=1.0))
    with pytest.raises(InputError, match="did not record the heat"):
        networks().smallest(Budget(own={"heat": 1.0}))
    with pytest.raises(InputError, match="did not record the latency"):
        networks().front_of(["latency", "macs"])
    assert networks().smallest(Budget(macs=1, own={"energy": 1.0})).own == {"energy": 0.5}


def search_result(**changes):
    front = networks().front_of(["macs"])
    return SearchResult(
        space="s", data="d", budget=Budget(macs=10**9), front=tuple(front), best=len(front) - 1, **changes
    )


def test_run_keeps_all_evaluated_networks(tmp_path):
    run, result = RunFolder(tmp_path), search_result(own_costs={"energy": {"unit": "uJ", "digest": "d"}})
    run.write_front(result, networks().networks, b"")
    assert run.read_front() == result
    assert run.read_front().units == {"energy": "uJ"}
    evaluated = run.read_evaluations()
    assert evaluated.networks == networks().networks
    assert evaluated.front == json_digest(result.to_dict())

    run.evaluations.write_text(run.evaluations.read_text().replace('"macs": ', '"macs": 1', 1))
    with pytest.raises(FileError, match=r"evaluations.json is damaged or was edited"):
        run.read_evaluations()
    run.evaluations.unlink()
    assert run.read_evaluations().networks == result.front, "a run of an earlier version"


def test_evaluations_of_another_front_are_not_used(tmp_path):
    """As after a crash between the two files, or a search by an earlier version."""
    run, result = RunFolder(tmp_path), search_result()
    run.write_front(result, networks().networks, b"")
    stale = run.evaluations.read_bytes()
    smaller = replace(result, front=result.front[:3], best=2)
    run.write_front(smaller, smaller.front, b"")
    run.evaluations.write_bytes(stale)
    assert run.read_evaluations().networks == smaller.front


def test_results_of_a_search_by_other_costs_are_kept(tmp_path):
    run, result = RunFolder(tmp_path), search_result()
    run.write_front(result, networks().networks, b"")
    others = [
        replace(result, objectives=("peak_sram_tflm", "macs")),
        replace(result, own_costs={"energy": {"unit": "uJ", "digest": "d"}}),
    ]
    for other in others:
        run.write_front(other, other.front, b"")
    names = {folder.path.name for folder in run.fronts()[1:]}
    assert {"macs-1000000000", "macs-1000000000-front-peak_sram_tflm-macs"} <= names
    earlier = RunFolder(tmp_path / "earlier" / "macs-1000000000")
    assert earlier.read_evaluations().networks == networks().networks
    assert {item.name for item in fields(SearchResult)} >= {"objectives", "own_costs"}
