import pytest

from tinynas.utils.errors import FileError
from tinynas.utils.text import counted, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x1b[31mred\x07\x9b", r"\x1b[31mred\x07\x9b"),
        ("tab\there", r"tab\there"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("caf\udce9", r"caf\udce9"),
        ("日本 👨‍👩‍👧 ñ\u00a0%s {x} $y$", "日本 👨‍👩‍👧 ñ\u00a0%s {x} $y$"),
    ],
)
def test_printable_is_a_line_of_utf8(text, expected):
    assert printable(text) == expected
    assert str(FileError(text)) == expected
    printable(text).encode()


def test_counted_has_singular_and_plural():
    assert [counted(number, "class") for number in (1, 3)] == ["1 class", "3 classes"]
    assert [counted(number, "image") for number in (0, 1, 2, 1200)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,200 images",
    ]
