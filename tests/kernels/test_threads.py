import pytest
import torch

from tinynas.kernels.threads import all_threads_for_kernels, kernel_threads


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_kernels_get_the_threads_of_pytorch():
    with all_threads_for_kernels():
        assert (kernel_threads(), torch.get_num_threads()) == (3, 1)
        with all_threads_for_kernels():  # an evaluation in a training
            assert (kernel_threads(), torch.get_num_threads()) == (3, 1)
        assert (kernel_threads(), torch.get_num_threads()) == (3, 1)
    assert (kernel_threads(), torch.get_num_threads()) == (3, 3)


def test_threads_stay_as_they_are_without_kernels_and_after_an_error():
    with all_threads_for_kernels(False):
        assert (kernel_threads(), torch.get_num_threads()) == (3, 3)
    with pytest.raises(ZeroDivisionError), all_threads_for_kernels():
        1 / 0  # noqa: B018
    assert (kernel_threads(), torch.get_num_threads()) == (3, 3)
