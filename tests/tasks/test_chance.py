import subprocess
import sys

import pytest

from tinynas.tasks.chance import chance_level, standard_error

NAMES = ("cat", "dog", "fox")


@pytest.mark.parametrize(
    ("counts", "accuracy", "largest", "uneven"),
    [
        ([10, 10, 10], 100 / 3, "cat", False),
        ([5, 20, 15], 50.0, "dog", True),
        ([10, 10, 0], 50.0, "cat", True),
        ([0, 0, 7], 100.0, "fox", True),
    ],
)
def test_chance_level_is_the_largest_classs_fraction(counts, accuracy, largest, uneven):
    chance = chance_level(counts, NAMES)
    assert chance.accuracy == pytest.approx(accuracy)
    assert (chance.largest_class, chance.is_uneven) == (largest, uneven)
    assert chance.random_accuracy == pytest.approx(100 / 3)


def test_equal_classes_are_even_whatever_their_number():
    for classes in range(2, 300):
        assert not chance_level([7] * classes, ["x"] * classes).is_uneven


def test_chance_explains_up_to_two_standard_errors():
    """Of 100 images in two equal classes the standard error of 50% is 5 percentage points."""
    chance = chance_level([50, 50], ("a", "b"))
    assert standard_error(50.0, 100) == chance.standard_error == 5.0
    assert [chance.explains(accuracy) for accuracy in (0.0, 50.0, 60.0, 60.01, 100.0)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_chance_explains_everything_where_there_is_one_class():
    assert chance_level([0, 40], ("a", "b")).explains(100.0)


def test_chance_needs_no_torch():
    code = "import sys, tinynas.tasks.chance; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
