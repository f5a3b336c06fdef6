import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from boxes import voc_folder, yolo_folder
from pictures import PICTURES, encoded, fill
from tinynas.data.images import read_image
from tinynas.data.registry import load_data
from tinynas.data.transforms import center_crop
from tinynas.experiment import box_picture as picture_module
from tinynas.experiment import contact_sheet as sheet_module
from tinynas.pipelines import inspect_data as inspect_module
from tinynas.pipelines.inspect_data import inspect_data
from tinynas.utils.errors import FileError, InputError


@pytest.fixture
def sheets(monkeypatch):
    """The rows of the contact sheets that are drawn."""
    drawn = []

    def drawing(rows, title):
        drawn.append((rows, title))
        return sheet_module.contact_sheet(rows, title)

    monkeypatch.setattr(inspect_module, "contact_sheet", drawing)
    return drawn


def test_sheet_has_training_images_as_the_network_sees_them(tmp_path, sheets):
    """Each image of a class turned, transparent or deep; compared with the reader and the crop of evaluation."""
    for part in ("train", "val"):
        for name, ending in (("a", "-alpha.png"), ("b", "-deep.png")):
            (tmp_path / part / name).mkdir(parents=True)
            for orientation in range(1, 9):
                file = f"turned{orientation}{ending}"
                (tmp_path / part / name / file).write_bytes(PICTURES[file].content)
    name = f"imagefolder:{tmp_path}"
    summary = inspect_data(name, tmp_path / "out" / "data.png", resolution=16)
    assert summary.images == {"train": 14, "val": 2, "test": 16}
    ((rows, title),) = sheets
    assert title == f"{name}: training images at 16x16, as a network sees them"
    assert [(name, len(images)) for name, images in rows] == [("a", 7), ("b", 7)]
    for name, images in rows:
        expected = [center_crop(read_image(file), 16, 7 / 8) for file in (tmp_path / "train" / name).iterdir()]
        for image in images:
            shown = torch.from_numpy(image).permute(2, 0, 1)
            assert any(torch.equal(shown, pixels) for pixels in expected)
    assert (tmp_path / "out" / "data.png").read_bytes().startswith(b"\x89PNG")


def test_sheet_has_the_colours_of_the_images(tmp_path):
    colours = {"a": (250, 10, 20), "b": (30, 240, 50)}
    for part in ("train", "val"):
        for name, colour in colours.items():
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                content = encoded(np.full((20, 20, 3), colour, np.uint8), "PNG")
                (tmp_path / part / name / f"{number}.png").write_bytes(content)
    inspect_data(f"imagefolder:{tmp_path}", tmp_path / "data.png")
    pixels = np.asarray(Image.open(io.BytesIO((tmp_path / "data.png").read_bytes())).convert("RGB"))
    areas = [np.nonzero((pixels == colour).all(2)) for colour in colours.values()]
    assert [len(rows) > 2 * 100 * 100 for rows, _ in areas] == [True, True]
    assert areas[0][0].max() < areas[1][0].min(), "the first class above the second"


def test_sheet_has_twelve_classes_and_eight_images_of_each_and_is_the_same_again(tmp_path, sheets):
    tree = {f"train/class {i:02}/*.png": 12 for i in range(14)}
    fill(tmp_path, tree | {"val/class 00/*.png": 1})
    first = inspect_data(f"imagefolder:{tmp_path}", tmp_path / "first.png")
    second = inspect_data(f"imagefolder:{tmp_path}", tmp_path / "second.png")
    assert first == second
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    rows, _ = sheets[0]
    assert [(name, len(images)) for name, images in rows] == [(f"class {i:02}", 8) for i in range(12)]
    assert all(image.shape == (9, 9, 3) for _, images in rows for image in images), "the images' own size"


@pytest.fixture
def pictures(monkeypatch):
    """Pixels, boxes and classes of the pictures that are drawn, and captions and titles of their sheets."""
    drawn, sheets = [], []

    def draw_boxes(pixels, boxes, classes, side, *, exact):
        drawn.append((pixels, boxes, classes))
        return picture_module.draw_boxes(pixels, boxes, classes, side, exact=exact)

    def picture_sheet(pictures, title):
        sheets.append(([caption for caption, _ in pictures], title))
        return picture_module.picture_sheet(pictures, title)

    monkeypatch.setattr(inspect_module, "draw_boxes", draw_boxes)
    monkeypatch.setattr(inspect_module, "picture_sheet", picture_sheet)
    return drawn, sheets


def test_pictures_with_boxes_are_training_images_as_they_are(tmp_path, pictures):
    voc_folder(tmp_path, train=12, val=2)
    inspect_data(f"voc:{tmp_path}", tmp_path / "data.png")
    drawn, ((captions, title),) = pictures
    assert title == f"voc:{tmp_path}: training images"
    assert len(set(captions)) == 6
    assert all(re.fullmatch(r"train\d+.jpg, 40x20", caption) for caption in captions)
    for (pixels, boxes, classes), caption in zip(drawn, captions, strict=True):
        file = tmp_path / "JPEGImages" / caption.split(",")[0]
        assert (pixels == read_image(file).permute(1, 2, 0).numpy()).all()
        assert classes == ("cat", "dog")
        assert [box.name for box in boxes] == ["dog", "cat"]
        np.testing.assert_allclose([box.corners for box in boxes], [[0, 0, 20, 20], [30, 10, 40, 15]], atol=1e-5)
    inspect_data(f"voc:{tmp_path}", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "data.png").read_bytes()


def test_pictures_with_boxes_are_stretched_as_a_network_sees_them(tmp_path, pictures):
    voc_folder(tmp_path, train=4, val=2)
    summary = inspect_data(f"voc:{tmp_path}", tmp_path / "data.png", resolution=(32, 16))
    drawn, ((captions, title),) = pictures
    assert title == f"voc:{tmp_path}: training images at 32x16, as a network sees them"
    assert sorted(captions) == sorted(set(captions))
    assert len(captions) == 3, "one of four is held out"
    for pixels, boxes, _ in drawn:
        assert pixels.shape == (32, 16, 3)
        np.testing.assert_allclose([box.corners for box in boxes], [[0, 0, 8, 32], [12, 16, 16, 24]], atol=1e-5)
    assert summary.boxes.few_pixels == 0.5


def test_pictures_with_boxes_show_rare_classes_first_and_empty_images_last(tmp_path, pictures):
    folder = yolo_folder(tmp_path, train=40, val=3)
    for number in range(40):
        text = "2 0.5 0.5 0.5 0.5\n" if number == 17 else "0 0.5 0.5 0.5 0.5\n" if number in (3, 8) else ""
        (folder / "labels" / "train" / f"train{number}.txt").write_text(text)
    for file in folder.glob("labels/val/*"):
        file.write_text("0 0.5 0.5 0.5 0.5\n")
    check_order(folder, tmp_path, pictures[0])
    for number in range(40):
        rare = {17: 2, 23: 3}.get(number, 0)
        (folder / "labels" / "train" / f"train{number}.txt").write_text(f"{rare} 0.5 0.5 0.5 0.5\n")
    pictures[0].clear()
    check_order(folder, tmp_path, pictures[0])


def check_order(folder, tmp_path, drawn):
    """Draw the training images, and check that all classes are among them and images without objects at the end."""
    data = load_data(f"yolo:{folder}")
    assert len(data.classes) > 1
    with_objects = sum(len(objects) > 0 for objects in data.train.objects)
    inspect_data(f"yolo:{folder}", tmp_path / "data.png")
    counts = [len(boxes) for _, boxes, _ in drawn]
    assert counts == [1] * min(6, with_objects) + [0] * (6 - with_objects)
    names = {box.name for _, boxes, _ in drawn for box in boxes}
    assert names == {data.classes[int(label)] for label in data.train.labels[:, 1]}


def test_unreadable_images_are_left_out(tmp_path, sheets):
    fill(tmp_path, {"train/a/*.png": 3, "train/b/*.png": 3, "val/b/*.png": 1, "train/a/x.png": "text"})
    summary = inspect_data(f"imagefolder:{tmp_path}", tmp_path / "data.png")
    assert summary.left_out == (
        f"1 image that cannot be read: {tmp_path}/train/a/x.png (it is not an image, or in a format that is not read)",
    )
    assert sum(summary.images.values()) == 7


def test_data_of_one_channel_are_shown_grey(tmp_path, sheets):
    inspect_data("digits", tmp_path / "data.png", resolution=8)
    rows, _ = sheets[0]
    assert len(rows) == 10
    assert all(image.shape == (8, 8, 1) for _, images in rows for image in images)


def test_errors(tmp_path):
    with pytest.raises(InputError, match="the resolution must be from 1 to 2048 pixels, but is 0; choose another"):
        inspect_data("digits", tmp_path / "data.png", resolution=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="is a file, but a folder is needed there; choose another folder"):
        inspect_data("digits", tmp_path / "file" / "data.png")
