"""How the process holds memory, and how much there is."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")  # of this process, in a container
_MEMINFO = Path("/proc/meminfo")


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the whole process: else it maps every large feature map again at every step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def available_memory() -> int:
    """Return the bytes that processes can still take without swapping: of the machine, or of a container's limit.

    Memory that caches files counts as available. Where the system does not tell, half of the machine's memory does.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    with suppress(OSError, KeyError, ValueError):
        available = 1024 * _numbers(_MEMINFO)["MemAvailable:"]
    with suppress(OSError, KeyError, ValueError):
        limit = int((_GROUP / "memory.max").read_text())  # "max" is no limit
        cached = _numbers(_GROUP / "memory.stat")
        used = int((_GROUP / "memory.current").read_text()) - cached["active_file"] - cached["inactive_file"]
        available = min(available, limit - used)
    return max(0, available)


def _numbers(file: Path) -> dict[str, int]:
    """Return the numbers of a file that has a name and a number in each line."""
    numbers = {}
    for line in file.read_text().splitlines():
        name, number = line.split()[:2]
        numbers[name] = int(number)
    return numbers
