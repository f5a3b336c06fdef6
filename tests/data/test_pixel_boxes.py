from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from boxes import photograph
from tinynas.data.images import check_image
from tinynas.data.objects import CROWD, OBJECT
from tinynas.data.pixel_boxes import (
    CLIPPED,
    NEGATIVE,
    OUTSIDE,
    WITHOUT_AREA,
    AnnotatedImage,
    AnnotatedObject,
    boxes_as_fractions,
    check_sizes,
    turned_box,
)
from tinynas.utils.errors import FileError

BOX = (4, 3, 12, 9)  # in pixels of an image that is stored with 40x20
SQUARE = (20, 20)


def white_box(image):
    """Where an image is white."""
    rows, columns = np.nonzero(np.array(image.convert("L")) > 250)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def as_rows(result):
    """What boxes_as_fractions returns, objects as name, box and area."""
    objects, problems = result
    return [(annotated.name, annotated.box, annotated.area) for annotated in objects], problems


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
    expected = [("dog", fractions, area_of(BOX))], []
    assert as_rows(boxes_as_fractions(drawn_as_shown, facts)) == expected
    assert as_rows(boxes_as_fractions(without_size, facts)) == expected
    if orientation == 1 or orientation > 4:  # of the others, sizes do not say which of the two they are
        assert as_rows(boxes_as_fractions(drawn_as_stored, facts)) == expected
    in_fractions = without_size._replace(objects=[AnnotatedObject("dog", fractions)], in_fractions=True)
    ((_, scaled, area),), problems = as_rows(boxes_as_fractions(in_fractions, facts))
    assert (scaled, area, problems) == (pytest.approx(fractions), pytest.approx(area_of(BOX)), [])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_on_squares_are_taken_as_drawn_on_what_is_shown(tmp_path, orientation):
    path = tmp_path / "square.png"
    photograph(path, *SQUARE, orientation=orientation)
    square = AnnotatedImage(str(path), path, SQUARE, [AnnotatedObject("dog", (2, 4, 10, 16))])
    assert as_rows(boxes_as_fractions(square, facts_of(path))) == ([("dog", (0.1, 0.2, 0.5, 0.8), 96)], [])


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
def test_boxes_are_clipped_without_mention_if_they_reach_out_by_up_to_a_pixel(tmp_path, box, origin, expected):
    photograph(tmp_path / "a.png")
    image = AnnotatedImage("a.png", Path("a.xml"), None, [AnnotatedObject("dog", box)], origin=origin)
    area = pytest.approx(area_of(expected) * 40 * 20)
    assert as_rows(boxes_as_fractions(image, facts_of(tmp_path / "a.png"))) == ([("dog", expected, area)], [])


@pytest.mark.parametrize(
    ("box", "origin", "expected"),
    [
        ((-1.5, 5, 10, 10), 0, (0, 0.25, 0.25, 0.5)),
        ((-0.5, 6, 10, 10), 1, (0, 0.25, 0.25, 0.5)),
        ((10, 5, 41.5, 10), 1, (9 / 40, 0.2, 1, 0.5)),
        ((10, 5, 20, 22), 0, (0.25, 0.25, 0.5, 1)),
        ((-400, -200, 800, 600), 0, (0, 0, 1, 1)),
    ],
)
def test_boxes_that_reach_further_out_are_clipped_and_reported(tmp_path, box, origin, expected):
    photograph(tmp_path / "a.png")
    image = AnnotatedImage("set/a.png", Path("a.xml"), (40, 20), [AnnotatedObject("dog", box)], origin=origin)
    objects, problems = as_rows(boxes_as_fractions(image, facts_of(tmp_path / "a.png")))
    assert objects == [("dog", expected, pytest.approx(area_of(expected) * 40 * 20))]
    corners = ", ".join(f"{corner:g}" for corner in box)
    assert problems == [(CLIPPED, f"({corners}) of dog on a.png")]


@pytest.mark.parametrize("in_fractions", [False, True])
def test_boxes_in_fractions_have_a_pixel_of_slack_as_well(tmp_path, in_fractions):
    photograph(tmp_path / "a.png", 400, 200)
    scale = np.array([400, 200, 400, 200]) ** (not in_fractions)
    boxes = []
    for left in (-0.002, -0.003):
        boxes.append(AnnotatedObject("dog", tuple(np.array([left, 0.2, 0.5, 0.6]) * scale)))
    image = AnnotatedImage("a.png", Path("a.txt"), None, boxes, in_fractions=in_fractions)
    objects, problems = boxes_as_fractions(image, facts_of(tmp_path / "a.png"))
    assert [annotated.box for annotated in objects] == [pytest.approx((0, 0.2, 0.5, 0.6))] * 2
    assert [kind for kind, _ in problems] == [CLIPPED]


@pytest.mark.parametrize("origin", [0, 1])
@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((5, 5, 5, 9), WITHOUT_AREA),
        ((5, 5, 9, 5), WITHOUT_AREA),
        ((5, 5, 5.001, 9), WITHOUT_AREA),
        ((5, 5, 5, 5), WITHOUT_AREA),
        ((9, 5, 5, 7), NEGATIVE),
        ((5, 9, 9, 7), NEGATIVE),
        ((50, 50, 60, 60), OUTSIDE),
        ((-9, 5, -1, 9), OUTSIDE),
        ((5, 21.5, 9, 29), OUTSIDE),
    ],
)
def test_boxes_without_a_place_on_their_image_are_left_out_and_reported(tmp_path, box, kind, origin):
    photograph(tmp_path / "a.png")
    boxes = [AnnotatedObject("dog", box), AnnotatedObject("cat", (1, 1, 40, 20))]
    image = AnnotatedImage("set/a.png", Path("a.xml"), (40, 20), boxes, origin=origin)
    objects, problems = boxes_as_fractions(image, facts_of(tmp_path / "a.png"))
    assert [annotated.name for annotated in objects] == ["cat"]
    corners = ", ".join(f"{corner:g}" for corner in box)
    assert problems == [(kind, f"({corners}) of dog on a.png")]


def test_annotated_areas_and_kinds_are_kept_of_clipped_boxes_as_well(tmp_path):
    photograph(tmp_path / "a.png")
    boxes = [AnnotatedObject("dog", (-10, 5, 10, 10), 30.5, CROWD), AnnotatedObject("cat", (-10, 5, 10, 10))]
    image = AnnotatedImage("a.png", Path("a.json"), (40, 20), boxes)
    objects, problems = boxes_as_fractions(image, facts_of(tmp_path / "a.png"))
    assert [(annotated.area, annotated.kind) for annotated in objects] == [(30.5, CROWD), (50, OBJECT)]
    assert [problem.kind for problem in problems] == [CLIPPED, CLIPPED]
