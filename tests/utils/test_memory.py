import pytest

from tinynas.utils import memory
from tinynas.utils.memory import available_memory

MEMINFO = "MemTotal:  2000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\nHugePages_Total:       0\n"
STAT = "anon 100000\ninactive_file 50000\nactive_file 7000\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A function that writes files of the system."""
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")

    def write(**files):
        for name, text in files.items():
            (tmp_path / name.replace("memory_", "memory.")).write_text(text)

    return write


def test_available_memory_is_the_machines(system):
    system(meminfo=MEMINFO)
    assert available_memory() == 1_024_000
    system(memory_max="max\n", memory_current="300000\n", memory_stat=STAT)
    assert available_memory() == 1_024_000


@pytest.mark.parametrize(("limit", "available"), [(400_000, 157_000), (200_000, 0), (9_000_000, 1_024_000)])
def test_available_memory_is_what_a_container_may_take(system, limit, available):
    system(meminfo=MEMINFO, memory_max=f"{limit}\n", memory_current="300000\n", memory_stat=STAT)
    assert available_memory() == available


def test_available_memory_of_an_unknown_system_is_half_of_it(system):
    half = available_memory()
    assert half > 2**20
    system(meminfo="nothing\n", memory_max="1\n")
    assert available_memory() == half
