"""Messages are those that torch, gloo and NCCL have shown."""

import pytest
import torch
import torch.distributed as dist

from tinynas.utils.device_errors import device_error, device_errors_in_one_line
from tinynas.utils.errors import DeviceError

ILLEGAL = (
    "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress' in the documentation.\n"
)
CLOSED = "[/build/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.1.1]:31942. This is typically"
NCCL = "NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, remote process exited or network error"
MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139.80 GiB"


@pytest.mark.parametrize(
    ("error", "message", "advice"),
    [
        (torch.OutOfMemoryError(MEMORY), MEMORY, "try a smaller --batch-size"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"), "MPS backend", "a smaller --batch-size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "Allocator", "--batch-size"),
        (torch.AcceleratorError(ILLEGAL), ILLEGAL.splitlines()[0], "--device cpu"),
        (RuntimeError(ILLEGAL), ILLEGAL.splitlines()[0], "--device cpu"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "cuDNN error", "--device cpu"),
        (RuntimeError(CLOSED), "(Connection closed by peer [127.0.1.1]:31942)", "another process"),
        (dist.DistBackendError(NCCL), "remote process exited", "another process"),
        (dist.DistStoreError("wait timeout after 300000ms"), "wait timeout", "another process"),
    ],
)
def test_errors_of_devices_and_connections_become_one_line(error, message, advice):
    with pytest.raises(DeviceError) as explained, device_errors_in_one_line():
        raise error
    assert message in str(explained.value)
    assert advice in str(explained.value)
    assert "\n" not in str(explained.value)
    assert explained.value.__cause__ is error


def test_other_errors_stay_as_they_are():
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert device_error(error) is None
    with pytest.raises(RuntimeError) as raised, device_errors_in_one_line():
        raise error
    assert raised.value is error
