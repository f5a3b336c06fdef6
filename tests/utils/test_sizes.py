import pytest

from tinynas.utils.errors import InputError
from tinynas.utils.sizes import check_size, format_size, pair, read_size, size_of, with_sizes


def test_sizes_are_numbers_or_pairs():
    assert (pair(96), pair((96, 160))) == ((96, 96), (96, 160))
    assert (size_of((96, 96)), size_of((96, 160))) == (96, (96, 160))
    assert (format_size(96), format_size((96, 160))) == ("96", "96x160")


def test_lists_of_two_are_read_as_sizes():
    assert [read_size(value) for value in (5, [5, 1], [5, 5], "5", [1, 2, 3])] == [5, (5, 1), 5, "5", [1, 2, 3]]
    assert with_sizes({"kernel": [3, 1], "act": "relu"}) == {"kernel": (3, 1), "act": "relu"}


@pytest.mark.parametrize("size", [0, -1, 1.5, "3", True, (3,), (3, 0), (1, 2, 3), [3, 1], None])
def test_other_values_are_no_sizes(size):
    with pytest.raises(InputError, match="kernel must be a positive whole number or a pair of height and width, but"):
        check_size("kernel", size)


def test_a_square_has_one_form():
    check_size("kernel", (3, 1))
    with pytest.raises(InputError, match=r"kernel \[3, 3\] is the same in both directions; write it as the number 3"):
        check_size("kernel", (3, 3))
