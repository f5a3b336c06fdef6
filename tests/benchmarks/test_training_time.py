"""The times of epochs that the tables of NetAug and detection compare."""

from dataclasses import replace

import pytest
from common.training_time import STRONG, epoch_times

from tinynas import load_space


@pytest.mark.slow
def test_epoch_times_has_every_kind_of_epoch():
    arch = replace(load_space("micro-v1").min(), resolution=16)
    times = epoch_times(arch, "digits", batch_size=256, rounds=1)
    assert set(times) == {"plain", "widths and expansions", "expansions", STRONG}
    assert min(times.values()) > 0
