"""How the process holds memory."""

import ctypes
import sys


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the whole process: else it maps every large feature map again at every step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
