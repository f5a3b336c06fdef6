import pytest

from tinynas.data.yolo_labels import read_labels
from tinynas.utils.errors import FileError


def labels(tmp_path, text, **settings):
    file = tmp_path / "a.txt"
    file.write_bytes(text.encode())
    return read_labels(file, **settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n  \n", []),
        ("0 0.5 0.5 0.5 0.25", [(0, (0.25, 0.375, 0.75, 0.625))]),
        ("\ufeff3\t.5 0.5 5e-1 0.25\r\n", [(3, (0.25, 0.375, 0.75, 0.625))]),
        ("1.0 0.5 0.5 0.5 0.25", [(1, (0.25, 0.375, 0.75, 0.625))]),
        ("0 0.1 0.2 0.4 0.3 0.2 0.6", [(0, (0.1, 0.2, 0.4, 0.6))]),  # a triangle
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", [(0, (0.1, 0.1, 0.5, 0.5))]),  # four corners
        ("0 0.5 0.5 0.5 0.25\n0 0.5 0.5 0.5 0.25\n1 0.5 0.5 0.5 0.25", [(0, (0.25, 0.375, 0.75, 0.625)),
                                                                     (1, (0.25, 0.375, 0.75, 0.625))]),
        ("0 1.2 0.5 0.5 0.25", [(0, (0.95, 0.375, 1.45, 0.625))]),  # clipped later, and counted
    ],
)  # fmt: skip
def test_lines_are_boxes_or_outlines(tmp_path, text, expected):
    read = labels(tmp_path, text)
    assert [number for number, _ in read] == [number for number, _ in expected]
    assert [box for _, box in read] == [pytest.approx(box) for _, box in expected]


def test_keypoints_are_not_outlines_where_the_data_set_has_them(tmp_path):
    line = "0 0.5 0.5 0.5 0.25 0.1 0.1 2 0.9 0.9 2"
    assert labels(tmp_path, line, keypoint_values=6) == [(0, (0.25, 0.375, 0.75, 0.625))]
    with pytest.raises(FileError, match=r"line 1: 2.5 is not a fraction"):
        labels(tmp_path, line.replace(" 2", " 2.5"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "0 0.5 0.5 0.5",
            "it has 4 values, but a class and a box have 5, a class and an outline an odd number from 7 on",
        ),
        ("0", "it has 1 values"),
        ("0 0.5 0.5 0.5 0.5 0.9", "it has 6 values"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "it has 8 values"),
        ("dog 0.5 0.5 0.5 0.5", "'dog' is not a number"),
        ("0 0.5 nan 0.5 0.5", "'nan' is not a number"),
        ("0 0.5 inf 0.5 0.5", "'inf' is not a number"),
        ("0,0.5,0.5,0.5,0.5", "'0,0.5,0.5,0.5,0.5' is not a number"),
        ("0 0.5 0.5 0.5 " + "x" * 99, "'" + "x" * 30 + "...' is not a number"),
        ("0 0.1 0.1 0.2 0.2 0.3 x", "'x' is not a number"),
        ("0 320 240 64 48", "320 is not a fraction of the image (divide pixels by its width and height)"),
        ("0 0.5 -1.5 0.5 0.5", "-1.5 is not a fraction of the image"),
        ("0.5 0.5 0.5 0.5 0.5", "the class 0.5 is not a whole number from 0 on"),
        ("-1 0.5 0.5 0.5 0.5", "the class -1 is not a whole number from 0 on"),
        ("2 0.5 0.5 0.5 0.5", "the class 2 is not from 0 to 1, as there are 2 classes"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, message):
    with pytest.raises(FileError) as error:
        labels(tmp_path, f"0 0.5 0.5 0.5 0.5\n\n{line}\n", classes=2)
    text = str(error.value)
    assert text.startswith(f"{tmp_path}/a.txt, line 3: {message}")
    assert text.endswith("; fix the file")
    assert "\n" not in text


def test_files_that_are_no_text_are_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FileError, match=r"a.txt is not a text file in UTF-8"):
        read_labels(tmp_path / "a.txt")
