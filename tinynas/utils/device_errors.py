"""Errors of a device, and of the connection to other processes, as one line.

torch raises them as many classes of RuntimeError, some of which are known by their message only. They are told apart
without importing torch.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import DeviceError
from .text import first_line

_SOURCE = re.compile(r"^\[[^\s\]]*\] ")  # the file and line of torch's own code
_MEMORY = ("out of memory", "can't allocate memory")  # of CUDA, MPS; of a CPU
_FAILURES = ("CUDA error", "CUDA driver error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "MPS backend")
_CONNECTIONS = ("gloo", "NCCL", "ncclComm", "Connection closed by peer", "Connection reset by peer")
_CONNECTION_CLASSES = ("DistBackendError", "DistNetworkError", "DistStoreError", "DistError")


def device_error(error: RuntimeError) -> DeviceError | None:
    """Return the error of one line for an error of torch; None if it is neither of a device nor of a connection."""
    name, text = type(error).__name__, str(error)
    reason = _SOURCE.sub("", first_line(text)).rstrip(".") or name
    if name in _CONNECTION_CLASSES or any(part in text for part in _CONNECTIONS):
        reason = reason.partition(". ")[0]
        return DeviceError(
            f"another process of the training has ended or is out of reach ({reason}); see its message, then continue "
            "with --resume"
        )
    if name == "OutOfMemoryError" or any(part in text for part in _MEMORY):
        return DeviceError(
            f"the device's memory is too small ({reason}); try a smaller --batch-size, --precision bf16 or --device cpu"
        )
    if name == "AcceleratorError" or any(part in text for part in _FAILURES):
        return DeviceError(
            f"the GPU has failed ({reason}); start again, with --resume what can be resumed, or choose --device cpu"
        )
    return None


@contextmanager
def device_errors_in_one_line() -> Iterator[None]:
    """Raise errors of a device, or of the connection to other processes, in the body as DeviceError."""
    try:
        yield
    except RuntimeError as error:
        explained = device_error(error)
        if explained is None:
            raise
        raise explained from error
