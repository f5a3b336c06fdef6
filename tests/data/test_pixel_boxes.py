from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from boxes import photograph
from tinynas.data.images import check_image
from tinynas.data.pixel_boxes import AnnotatedImage, AnnotatedObject, boxes_as_fractions, check_sizes, turned_box
from tinynas.utils.errors import FileError

BOX = (4, 3, 12, 9)  # in pixels of an image that is stored with 40x20
SQUARE = (20, 20)


def white_box(image):
    """Where an image is white."""
    rows, columns = np.nonzero(np.array(image.convert("L")) > 250)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def area_of(box):
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def facts_of(path):
    return check_image(path.read_bytes())


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_pictures_do(tmp_path, orientation, ending):
    path = tmp_path / f"picture.{ending}"
    photograph(path, orientation=orientation, box=BOX)
    shown = ImageOps.exif_transpose(Image.open(path))
    facts = facts_of(path)
    assert (facts.width, facts.height, facts.orientation) == (*shown.size, orientation)
    box, (width, height) = white_box(shown), shown.size
    if orientation > 4:
        assert turned_box(BOX, orientation, shown.size) == box
    drawn_as_stored = AnnotatedImage(str(path), path, (40, 20), [AnnotatedObject("dog", BOX)])
    drawn_as_shown = AnnotatedImage(str(path), path, shown.size, [AnnotatedObject("dog", box)])
    without_size = drawn_as_shown._replace(size=None)
    check_sizes([drawn_as_stored, drawn_as_shown, without_size], [facts] * 3)
    x1, y1, x2, y2 = box
    fractions = (x1 / width, y1 / height, x2 / width, y2 / height)
    expected = [AnnotatedObject("dog", fractions, area_of(BOX))]
    assert boxes_as_fractions(drawn_as_shown, facts) == boxes_as_fractions(without_size, facts) == expected
    if orientation == 1 or orientation > 4:  # of the others, sizes do not say which of the two they are
        assert boxes_as_fractions(drawn_as_stored, facts) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_on_squares_are_taken_as_drawn_on_what_is_shown(tmp_path, orientation):
    path = tmp_path / "square.png"
    photograph(path, *SQUARE, orientation=orientation)
    square = AnnotatedImage(str(path), path, SQUARE, [AnnotatedObject("dog", (2, 4, 10, 16))])
    assert boxes_as_fractions(square, facts_of(path)) == [AnnotatedObject("dog", (0.1, 0.2, 0.5, 0.8), 96)]


@pytest.mark.parametrize(
    ("orientation", "size", "sizes"),
    [
        (1, (20, 40), "20x40 instead of 40x20"),
        (3, (20, 40), "20x40 instead of 40x20"),
        (1, (80, 40), "80x40 instead of 40x20"),
        (6, (40, 21), r"40x21 instead of 20x40 \(40x20 before it is turned\)"),
    ],
)
def test_sizes_that_contradict_the_file_are_an_error(tmp_path, orientation, size, sizes):
    path = tmp_path / "a.png"
    photograph(path, orientation=orientation)
    right = AnnotatedImage(str(path), Path("right.xml"), (40, 20), [])
    wrong = AnnotatedImage(str(path), Path("wrong.xml"), size, [])
    message = rf"^wrong.xml: the annotated size contradicts the image file, for 2 of 4 images: a.png {sizes}, a.png "
    with pytest.raises(FileError, match=message) as error:
        check_sizes([right, wrong, right, wrong], [facts_of(path)] * 4)
    assert "\n" not in str(error.value)
    check_sizes([right, wrong], [facts_of(path), None])  # nothing is known of an image that cannot be read


@pytest.mark.parametrize(
    ("box", "origin", "expected"),
    [
        ((0, 0, 20, 20), 0, (0, 0, 0.5, 1)),
        ((1, 1, 20, 20), 1, (0, 0, 0.5, 1)),
        ((0, 0, 20, 20), 1, (0, 0, 0.5, 1)),  # counted from 0 where 1 is usual
        ((10.5, 5.25, 20.5, 10), 0, (10.5 / 40, 5.25 / 20, 20.5 / 40, 0.5)),
        ((10.5, 5.25, 20.5, 10), 1, (9.5 / 40, 4.25 / 20, 20.5 / 40, 0.5)),
        ((-1, -0.5, 41, 21), 0, (0, 0, 1, 1)),  # up to a pixel outside
        ((0, 0, 41, 21), 1, (0, 0, 1, 1)),
        ((40, 20, 41, 21), 1, (39 / 40, 19 / 20, 1, 1)),
    ],
)
def test_boxes_are_clipped(tmp_path, box, origin, expected):
    photograph(tmp_path / "a.png")
    image = AnnotatedImage("a.png", Path("a.xml"), None, [AnnotatedObject("dog", box)], origin=origin)
    area = pytest.approx(area_of(expected) * 40 * 20)
    assert boxes_as_fractions(image, facts_of(tmp_path / "a.png")) == [AnnotatedObject("dog", expected, area)]


@pytest.mark.parametrize("origin", [0, 1])
@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (5, 5, 5.001, 9), (5, 5, 5, 5), (40.999, 2, 41, 9)])
def test_boxes_without_area_are_left_out(tmp_path, box, origin):
    photograph(tmp_path / "a.png")
    image = AnnotatedImage(
        "a.png",
        Path("a.xml"),
        None,
        [AnnotatedObject("dog", box), AnnotatedObject("cat", (1, 1, 40, 20))],
        origin=origin,
    )
    assert [annotated.name for annotated in boxes_as_fractions(image, facts_of(tmp_path / "a.png"))] == ["cat"]


@pytest.mark.parametrize(
    ("box", "origin", "problem"),
    [
        ((9, 5, 5, 7), 0, r"\(9, 5, 5, 7\) of dog on a.png has a negative width or height"),
        ((5, 9, 9, 7), 1, r"\(5, 9, 9, 7\) of dog on a.png has a negative width or height"),
        ((-1.5, 5, 9, 9), 0, r"\(-1.5, 5, 9, 9\) of dog on a.png is outside of its image of 40x20"),
        ((-0.5, 5, 9, 9), 1, r"\(-0.5, 5, 9, 9\) of dog on a.png is outside"),
        ((5, 5, 41.5, 9), 1, r"\(5, 5, 41.5, 9\) of dog on a.png is outside"),
        ((5, 5, 9, 22), 0, r"\(5, 5, 9, 22\) of dog on a.png is outside"),
        ((50, 50, 60, 60), 0, r"\(50, 50, 60, 60\) of dog on a.png is outside"),
    ],
)
def test_wrong_boxes_are_an_error(tmp_path, box, origin, problem):
    photograph(tmp_path / "a.png")
    image = AnnotatedImage("set/a.png", Path("a.xml"), (40, 20), [AnnotatedObject("dog", box)], origin=origin)
    with pytest.raises(FileError, match=f"^a.xml: the box {problem}.*; fix the file") as error:
        boxes_as_fractions(image, facts_of(tmp_path / "a.png"))
    assert "\n" not in str(error.value)
