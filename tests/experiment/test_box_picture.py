import io

import numpy as np
import pytest
import torch
from PIL import Image

from tinynas.experiment.box_picture import LabelledBox, draw_boxes, picture_sheet, png

BLACK = np.zeros((10, 30, 1), np.uint8)
RED = (230, 25, 75)  # of the first class
NAMES = ("$x$", "a_$b", "日本", "עברית", "👩‍👧", "a\nb", "\x07\x1b[31m", "caf\udce9", "", " ", "%s{}", "\\", "x" * 300)


def boxes_of(*names):
    """Return boxes of these classes, side by side."""
    boxes = []
    for number, name in enumerate(names):
        boxes.append(LabelledBox(name, (10 * number, 0, 10 * number + 9, 9), 0.5))
    return boxes


def drawn(*arguments, **settings):
    return np.asarray(draw_boxes(*arguments, **settings))


def area(pixels, colour):
    """Left, top, right and bottom of the pixels of a colour, and how many there are."""
    rows, columns = np.nonzero((pixels == colour).all(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, len(rows)


def label_of(box, size=(200, 100), name="cat", others=()):
    """The rectangle of a box's label: what differs from a picture of the box with a blank name; and the picture."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    boxes = [LabelledBox(name, box), *(LabelledBox("dog", other) for other in others)]
    picture = drawn(image, boxes, (name, "dog"), 100)
    left, top, right, bottom, count = area(picture, RED)
    return picture, (left, top, right, bottom), count


def test_names_that_no_font_can_write_are_drawn_as_numbers(install_fonts):
    install_fonts()
    names = ("cat", "圆", "кошка")
    picture = drawn(BLACK, boxes_of(*names), names)
    renamed = ("cat", "class 1", "кошка")
    assert (picture == drawn(BLACK, boxes_of(*renamed), renamed)).all()
    renamed = ("cat", "class 2", "кошка")
    assert (picture != drawn(BLACK, boxes_of(*renamed), renamed)).any()


def test_control_characters_are_escaped(install_fonts):
    install_fonts()
    picture = drawn(BLACK, boxes_of("a\nb"), ("a\nb",))
    assert (picture == drawn(BLACK, boxes_of(r"a\nb"), (r"a\nb",))).all()
    assert (picture != drawn(BLACK, boxes_of("class 0"), ("class 0",))).any()


def test_each_name_is_written_in_a_font_that_has_it(install_fonts):
    """The installed font has full squares: the only ones that are white all over."""
    install_fonts(NotoSans="圆方块")
    names = ("cat", "圆")
    white = torch.from_numpy((drawn(BLACK, boxes_of(*names), names) == 255).all(2)).double()[None]
    squares = torch.nn.functional.avg_pool2d(white, 14, stride=1)[0]  # 1 where 14x14 pixels are white
    assert squares[:, 160:].max() == 1, "in the second box, whose left side is at 160"
    assert squares[:, :145].max() < 1


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_drawn(name):
    picture = draw_boxes(BLACK, [LabelledBox(name, (0, 0, 9, 9))], (name,))
    assert picture_sheet([(name, picture)], f"title {name}").startswith(b"\x89PNG")


def test_small_images_are_enlarged_by_whole_pixels_and_large_ones_stay():
    image = np.arange(200, dtype=np.uint8).reshape(10, 20, 1)
    picture = drawn(image, [], ())
    assert picture.shape == (240, 480, 3)
    assert (picture[::24, ::24] == image).all()
    assert (picture == np.kron(image[:, :, 0], np.ones((24, 24)))[:, :, None]).all()
    assert drawn(np.zeros((300, 700, 3), np.uint8), [], ()).shape == (300, 700, 3)
    assert drawn(np.zeros((300, 700, 3), np.uint8), [], (), 350, exact=True).shape == (150, 350, 3)
    assert drawn(np.zeros((1, 7000, 3), np.uint8), [], (), 350, exact=True).shape == (1, 350, 3)


@pytest.mark.parametrize(("size", "side", "scale"), [((40, 20), 480, 12), ((960, 480), 480, 0.5), ((500, 300), 500, 1)])
def test_boxes_are_drawn_where_they_are(size, side, scale):
    width, height = size
    image = np.full((height, width, 3), 128, np.uint8)
    box = (width / 4, height / 2, width * 3 / 4, height)
    plain = drawn(image, [], ("cat",), side, exact=True)
    picture = drawn(image, [LabelledBox("cat", box)], ("cat",), side, exact=True)
    changed = (picture != plain).any(2)
    left, top, right, bottom = (np.array(box) * scale).astype(int)
    assert (picture[top:bottom, left] == RED).all()
    assert (picture[top:bottom, right - 1] == RED).all()
    assert (picture[bottom - 1, left:right] == RED).all()
    assert not changed[top + 3 : bottom - 3, left + 3 : right - 3].any(), "the object is not covered"
    assert not changed[:, : left - 1].any()
    assert not changed[:, right + 1 :].any()


def test_boxes_reach_no_further_than_the_picture():
    image = np.full((20, 40, 3), 128, np.uint8)
    for box in ((-5, -5, 45, 25), (0, 0, 40, 20), (39.9, 19.9, 40, 20), (50, 50, 60, 60)):
        picture = drawn(image, [LabelledBox("cat", box)], ("cat",))
        assert area(picture, RED)[4] > 100, "at least the label is seen"


@pytest.mark.parametrize(
    ("box", "where"),
    [
        ((60, 40, 140, 80), "above"),
        ((60, 5, 140, 60), "below"),
        ((150, 2, 199, 60), "below"),
        ((60, 2, 100, 98), "beside"),
        ((0, 0, 200, 100), "inside"),
    ],
)
def test_labels_do_not_cover_their_boxes(box, where):
    picture, rectangle, count = label_of(box)
    _, top, right, bottom = rectangle
    assert {
        "above": top < box[1] and bottom == box[3],
        "below": top == box[1] and bottom > box[3],
        "beside": (top, bottom) == (box[1], box[3]) and right > box[2],
        "inside": rectangle == box,
    }[where]
    inside = picture[box[1] + 4 : box[3] - 4, box[0] + 4 : box[2] - 4]
    if where != "inside":
        assert (inside == 128).all()
    assert count > 400


def test_labels_avoid_other_boxes_and_labels():
    box = (60, 40, 140, 60)
    above = (50, 10, 150, 38)
    _, free, _ = label_of(box)
    _, rectangle, _ = label_of(box, others=[above])
    assert free[1] < box[1], "above the box"
    assert rectangle[1] == box[1], "but below it where another box is above"
    assert rectangle[3] > box[3]
    same = [LabelledBox("cat", box)] * 3
    picture = drawn(np.full((100, 200, 3), 128, np.uint8), same, ("cat",), 100)
    single = drawn(np.full((100, 200, 3), 128, np.uint8), same[:1], ("cat",), 100)
    assert area(picture, RED)[4] > area(single, RED)[4] + 600, "three labels are seen"


def test_small_boxes_are_drawn_over_large_ones():
    boxes = [LabelledBox("cat", (60, 40, 80, 60)), LabelledBox("dog", (60, 20, 140, 90))]
    picture = drawn(np.full((100, 200, 3), 128, np.uint8), boxes, ("cat", "dog"), 100)
    assert (picture[42:58, 60] == RED).all()


def test_large_pictures_have_large_labels_and_lines():
    counts = []
    for scale in (1, 8):
        image = np.full((300 * scale, 500 * scale, 3), 128, np.uint8)
        box = tuple(scale * corner for corner in (100, 100, 200, 200))
        counts.append(area(drawn(image, [LabelledBox("cat", box)], ("cat",)), RED)[4])
    assert counts[1] > 20 * counts[0]


def test_scores_are_written_and_long_names_shortened():
    image = np.full((100, 200, 3), 128, np.uint8)
    widths = []
    for name, score in (("cat", None), ("cat", 0.5), ("cat" * 30, None), ("cat" * 30, 0.5)):
        picture = drawn(image, [LabelledBox(name, (5, 50, 15, 60), score)], (name,), 100)
        left, _, right, _, _ = area(picture, RED)
        widths.append(right - left)
    assert widths[0] < widths[1] < widths[2]
    assert abs(widths[2] - widths[3]) < 30
    assert max(widths) < 195


def test_sheet_has_its_pictures_in_rows_of_three_with_captions():
    colours = [(250, 10, 20), (30, 240, 50), (60, 70, 230), (200, 200, 0)]
    pictures = []
    for number, colour in enumerate(colours):
        pictures.append((f"caption {number}", Image.new("RGB", (100, 50 + 10 * number), colour)))
    with Image.open(io.BytesIO(picture_sheet(pictures, "title"))) as opened:
        sheet = np.asarray(opened)
    areas = [area(sheet, colour) for colour in colours]
    assert [count for *_, count in areas] == [5000, 6000, 7000, 8000]
    assert [top for _, top, *_ in areas[:3]] == [areas[0][1]] * 3
    assert areas[0][0] < areas[1][0] < areas[2][0]
    assert areas[3][0] == areas[0][0]
    for left, _, right, bottom, _ in areas:
        assert (sheet[bottom : bottom + 20, left:right] < 100).any(), "a caption below the picture"
    assert (sheet[: areas[0][1]] < 100).any(), "the title"
    assert areas[3][1] > areas[2][3] + 15


def test_png_keeps_the_pixels():
    picture = Image.fromarray(np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(10, 10, 3))
    with Image.open(io.BytesIO(png(picture))) as opened:
        assert (np.asarray(opened) == np.asarray(picture)).all()
