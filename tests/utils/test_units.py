import pytest

from tinynas.utils.errors import InputError
from tinynas.utils.units import format_bytes, format_count, format_seconds, parse_bytes, parse_count, parse_seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("50M", 50_000_000), ("1.5k", 1500), ("2G", 2 * 10**9), ("300000", 300_000), (" 7 K ", 7000), (12, 12)],
)
def test_parse_count_goes_up_in_thousands(text, value):
    assert parse_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("256KB", 262_144), ("1MB", 2**20), ("16kb", 16_384), ("4096", 4096), ("1.5K", 1536), ("1KiB", 1024)],
)
def test_parse_bytes_goes_up_by_1024(text, value):
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["50Q", "", "M", "-3M", "0.5", "1e6", "5 0M", "50MB", "nan"])
def test_parse_count_refuses_what_it_cannot_read(text):
    with pytest.raises(InputError, match="expected a count like"):
        parse_count(text)


@pytest.mark.parametrize("text", ["16XB", "KB", "-1", "0.5B"])
def test_parse_bytes_refuses_what_it_cannot_read(text):
    with pytest.raises(InputError, match="expected a size like"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(81_785_520, "81.8M"), (737_408, "737K"), (950, "950"), (999_700, "1.00M"), (10_000, "10K"), (1260, "1.26K")],
)
def test_format_count_writes_three_digits(value, text):
    assert format_count(value) == text


@pytest.mark.parametrize(("value", "text"), [(340_736, "333KB"), (4700, "4.59KB"), (2**20, "1MB"), (12, "12B")])
def test_format_bytes_writes_three_digits(value, text):
    assert format_bytes(value) == text


@pytest.mark.parametrize("number", [1, 3, 7, 200, 999])
def test_parse_seconds_is_exact(number):
    """So that a sum of times that equals a limit is within it."""
    assert parse_seconds(f"{number}us") == number / 10**6
    assert parse_seconds(f"{number}ms") == number / 10**3
    assert parse_seconds(f"{number}s") == number


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "1.5s"), (5e-3, "5ms"), (1e-3, "1ms"), (8.12e-4, "812us"), (2e-7, "0.2us"), (0.0, "0us")]
)
def test_format_seconds_writes_three_digits(value, text):
    assert format_seconds(value) == text
