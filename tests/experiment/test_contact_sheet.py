import io

import numpy as np
import pytest
from PIL import Image

from tinynas.experiment.contact_sheet import contact_sheet

NAMES = ("$x$", r"$\foo$", "a_$b", "^_", "日本", "עברית", "हिन्दी", "👩‍👧", "a\nb", "\x07\x1b[31m", "caf\udce9")
NAMES += ("", " ", "%s{}", "\\", "[red]", "x" * 300)
COLOURS = np.array([[250, 10, 20], [30, 240, 50], [60, 70, 230], [200, 200, 0]], np.uint8)


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def flat(colour, side=8):
    return np.broadcast_to(colour, (side, side, 3))


def area(sheet, colour):
    """Top, bottom, left and right of the pixels of a colour, which must be a full rectangle."""
    rows, columns = np.nonzero((sheet == colour).all(2))
    assert len(rows), f"no pixel is {colour}"
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    assert len(rows) == (bottom - top) * (right - left)
    return top, bottom, left, right


def test_sheet_has_the_images_in_their_rows():
    sheet = decoded(
        contact_sheet([("first", [flat(COLOURS[0]), flat(COLOURS[1])]), ("second", [flat(COLOURS[2])])], "t")
    )
    first, second, third = (area(sheet, colour) for colour in COLOURS[:3])
    assert first[:2] == second[:2]
    assert first[3] < second[2]
    assert first[1] < third[0]
    assert first[2:] == third[2:]
    sides = [bottom - top for top, bottom, _, _ in (first, second, third)]
    assert min(sides) > 100
    assert max(sides) - min(sides) <= 1
    assert (sheet[first[0] : first[1], : first[2]] != 255).any(), "its name in front"


def test_sheet_shows_every_pixel_as_it_is():
    quarters = np.kron(COLOURS.reshape(2, 2, 3), np.ones((4, 4, 1))).astype(np.uint8)
    sheet = decoded(contact_sheet([("a", [quarters])], "t"))
    (top, bottom, _, right), *_, last = (area(sheet, colour) for colour in COLOURS)
    assert last[0] == bottom
    assert last[2] == right
    assert abs((bottom - top) - (last[1] - last[0])) <= 1


def test_sheet_shows_grey_pixels_by_their_value_alone():
    pixels = np.repeat(np.uint8([[90, 120]]), 2, 0)[:, :, None]
    sheet = decoded(contact_sheet([("a", [pixels])], "t"))
    assert area(sheet, [90] * 3)[3] == area(sheet, [120] * 3)[2]


@pytest.mark.parametrize("name", NAMES)
def test_sheet_takes_any_name(name):
    """Names are text, never formulas, and a warning would be an error."""
    assert decoded(contact_sheet([(name, [flat(COLOURS[0]), flat(COLOURS[1])])], f"title {name}")).ndim == 3


def test_dollars_are_drawn():
    widths = []
    for name in ("x", "$x$"):
        sheet = decoded(contact_sheet([(name, [flat(COLOURS[0])])], ""))
        columns = np.nonzero((sheet[:, : area(sheet, COLOURS[0])[2]] < 128).any((0, 2)))[0]
        widths.append(columns.max() - columns.min())
    assert widths[1] > 2 * widths[0]
