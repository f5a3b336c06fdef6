"""How throughput.py makes photographs and measures loading."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def files(common, tmp_path_factory):
    from common.photographs import photograph_files

    return photograph_files(tmp_path_factory.mktemp("photographs"), 60)


def test_photographs_are_like_real_ones_and_always_the_same(files):
    from common.photographs import photograph, photograph_files

    sizes = []
    for file in files:
        with open(file, "rb") as opened:
            sizes.append(len(opened.read()))
    assert 40_000 < np.mean(sizes) < 75_000
    with Image.open(files[3]) as image:
        assert image.size == (500, 375)
    assert np.array_equal(photograph(3), photograph(3))
    assert not np.array_equal(photograph(3), photograph(4))
    assert photograph_files(Path(files[0]).parent.parent, 60) == files


def test_loading_is_compared_with_decoding_round_by_round(files, monkeypatch, tmp_path):
    import common.throughput_loading as loading

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "ROUNDS", 2)
    monkeypatch.setattr(loading, "BATCHES", 1)
    monkeypatch.setattr(loading, "BATCH_SIZE", 4)
    limit, batches, ratio = loading.measure_loading(files, 1)
    assert limit["median"] > 0
    assert batches["median"] > 0
    assert ratio["rounds"] == 2
    assert ratio["smallest"] <= ratio["median"] <= ratio["largest"]


def test_every_run_of_a_round_is_timed(monkeypatch):
    import common.throughput_loading as loading

    clock = iter([0.0, 1.0, 10.0, 13.0])
    calls = []
    monkeypatch.setattr(loading.time, "perf_counter", lambda: next(clock))
    seconds = loading.interleaved([lambda: calls.append("a"), lambda: calls.append("b")], first=1)
    assert calls == ["b", "a"]
    assert seconds == [3.0, 1.0]


def test_rows_of_a_gpu_are_named_as_not_run(load_script):
    (table,) = load_script("throughput").tables({})
    assert [row[1] for row in table.rows] == ["not run", "not run"]
