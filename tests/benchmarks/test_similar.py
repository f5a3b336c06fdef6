"""Rankings of networks of similar cost, against the mean of the seeds."""

import numpy as np
import pytest


@pytest.fixture
def similar(load_script):
    return load_script("similar")


@pytest.fixture
def cells(similar):
    """Networks whose accuracies differ by one point, and seeds that all agree on them but after the first epochs."""
    cells = {"networks": similar.sample_networks()}
    for seed in (1, 2, 3, 4):
        for index in range(similar.NETWORKS):
            early = 80.0 - index if seed == 1 else 80.0 + index
            cells[f"alone {index} seed {seed}"] = {"curve": [early] * 19 + [90.0 + index], "seconds": 40.0}
    cells["supernet 10 epochs"] = {"accuracies": list(range(similar.NETWORKS))[::-1], "seconds": 600.0}
    return cells


def test_networks_are_different_and_of_similar_cost(similar):
    from tinynas import Arch, cost

    archs = [Arch.from_dict(plain) for plain in similar.sample_networks()]
    assert len(set(archs)) == similar.NETWORKS
    assert all(similar.LOW <= cost(arch).macs <= similar.HIGH for arch in archs)


def test_table_ranks_by_the_mean_of_the_seeds(similar, cells):
    (table,) = similar.tables(cells)
    taus = {row[0]: row[2] for row in table.rows}
    assert taus["one half of 4 seeds against the other"] == "1.00 (1.00 to 1.00)"
    assert taus["a supernet, 10 epochs"] == "-1.00 (-1.00 to -1.00)"
    assert taus["a training stopped after 2 of 20 epochs"] == "0.50 (-1.00 to 1.00 of the seeds)"
    assert taus["a training of 20 epochs"] == "1.00 (1.00 to 1.00 of the seeds)"
    times = {row[0]: row[1] for row in table.rows}
    assert times["a training stopped after 6 of 20 epochs"] == "12"


def test_seeds_that_not_all_networks_have_do_not_count(similar, cells):
    del cells["alone 3 seed 4"]
    assert similar.Curves(cells).accuracies.shape == (3, similar.NETWORKS, 20)


def test_truth_of_a_seed_is_that_of_the_others(similar, cells):
    cells["alone 0 seed 1"]["curve"][-1] = 100.0
    curves = similar.Curves(cells)
    assert np.allclose(curves.truth(without=0), 90.0 + np.arange(similar.NETWORKS))
    assert curves.truth()[0] == 92.5
