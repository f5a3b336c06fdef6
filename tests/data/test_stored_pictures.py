"""Boxes lie on their objects however the pictures of a detection data set are stored, in all formats of annotations."""

import json

import numpy as np
import pytest
from PIL import Image

from boxes import coco_document, voc_folder, voc_xml, yolo_folder
from boxes import coco_folder as coco_files
from tinynas.data.registry import load_data
from tinynas.pipelines import predict as predict_module

BOX = (4, 5, 12, 10)  # white, in pixels of a picture of 40x20 that is grey elsewhere
LEVELS = np.full((20, 40), 100, np.uint8)
LEVELS[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255


def grey():
    return Image.fromarray(LEVELS)


def sixteen_bits():
    return Image.fromarray(LEVELS.astype(np.uint16) * 257)


def transparent(mode):
    """The box is transparent, and shown white, over black pixels."""
    picture = Image.new(mode, (40, 20), 0)
    levels = Image.fromarray(np.where(LEVELS == 255, 0, LEVELS).astype(np.uint8))
    picture.paste(levels.convert(mode))
    picture.putalpha(Image.fromarray(np.where(LEVELS == 255, 0, 255).astype(np.uint8)))
    return picture


PICTURES = {
    "grey.png": grey,
    "palette.png": lambda: grey().convert("P", palette=Image.Palette.ADAPTIVE),
    "palette.gif": lambda: grey().convert("P", palette=Image.Palette.ADAPTIVE),
    "alpha.png": lambda: transparent("RGBA"),
    "grey-alpha.png": lambda: transparent("LA"),
    "deep.png": sixteen_bits,
    "deep.tif": sixteen_bits,
    "colours.bmp": lambda: grey().convert("RGB"),
    "colours.png": lambda: grey().convert("RGB"),
    "inks.tif": lambda: grey().convert("CMYK"),
}


def replaced(folder, name, picture, **options):
    """Replace a picture by another one, with another ending."""
    (old,) = folder.rglob(f"{name}.jpg")
    old.unlink()
    file = old.with_name(f"{name}{picture}")
    PICTURES[picture.removeprefix("-")]().save(file, **options)
    return file


def voc_data(root, picture, size, **options):
    folder = voc_folder(root, train=4, val=2)
    file = replaced(folder, "val0", f"-{picture}", **options)
    (folder / "Annotations" / "val0.xml").unlink()
    left, top, right, bottom = box_shown(size)
    annotation = voc_xml([("dog", left + 1, top + 1, right, bottom, 0)], size)
    (folder / "Annotations" / f"{file.stem}.xml").write_bytes(annotation)
    (folder / "ImageSets" / "Main" / "val.txt").write_text(f"{file.stem}\nval1\n")
    return f"voc:{folder}", file


def coco_data(root, picture, size, **options):
    folder = coco_files(root / "set", train=4, val=2)
    file = replaced(folder, "val0", f"-{picture}", **options)
    document = coco_document("val", 2)
    left, top, right, bottom = box_shown(size)
    document["annotations"] = document["annotations"][:1]
    document["annotations"][0]["bbox"] = [left, top, right - left, bottom - top]
    document["images"][0] |= {"file_name": file.name, "width": size[0], "height": size[1]}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    return f"coco:{folder}", file


def yolo_data(root, picture, size, **options):
    folder = yolo_folder(root, train=4, val=2)
    file = replaced(folder, "val0", f"-{picture}", **options)
    (folder / "labels" / "val" / "val0.txt").unlink()
    (left, top, right, bottom), (width, height) = box_shown(size), size
    values = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    (folder / "labels" / "val" / f"{file.stem}.txt").write_text(f"0 {' '.join(map(str, values))}\n")
    return f"yolo:{folder}", file


def box_shown(size):
    """The box on the picture as it is stored, or turned by a quarter, clockwise."""
    left, top, right, bottom = BOX
    return BOX if size == (40, 20) else (20 - bottom, left, 20 - top, right)


def white_area(pixels):
    """Left, top, right and bottom of the pixels (3, H, W) that are white."""
    rows, columns = (pixels > 250).numpy().all(0).nonzero()
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


WRITERS = {"voc": voc_data, "coco": coco_data, "yolo": yolo_data}


def check(name, file, size):
    """Compare the box of an image of the test split with its white pixels; return the image."""
    data = load_data(name)
    index = data.test.read.files.index(str(file))
    pixels = data.test.read(index)
    assert pixels.shape == (3, size[1], size[0])
    box = data.test.objects[index][0, 1:5].numpy() * [*size, *size]
    assert box == pytest.approx(white_area(pixels), abs=1e-4) == box_shown(size)
    return pixels


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("kind", WRITERS)
def test_pictures_of_every_form_are_read_with_their_boxes(tmp_path, kind, picture):
    name, file = WRITERS[kind](tmp_path, picture, (40, 20))
    check(name, file, (40, 20))


class Recording:
    """Stands for a trained detector whose inputs are kept."""

    def __init__(self, classes):
        self.images = []
        self.task = self
        self.main = self.net = self.arch = self
        self.predicts_boxes, self.in_channels, self.classes = True, 3, classes
        self.score_threshold = 0.3

    def predict(self, image, score):
        self.images.append(image)
        return {"boxes": []}


@pytest.mark.parametrize("kind", WRITERS)
def test_predict_sees_turned_photographs_in_the_frame_of_the_truth(tmp_path, kind, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    name, file = WRITERS[kind](tmp_path, "colours.png", (20, 40), exif=exif)
    truth = check(name, file, (20, 40))
    model = Recording(("dog", "cat"))
    monkeypatch.setattr(predict_module, "load_trained", lambda file: model)
    (answer,) = predict_module.predict(tmp_path / "m", [file], tmp_path / "out")
    assert model.images[0].equal(truth)
    with Image.open(answer["picture"]) as picture:
        assert picture.height == 2 * picture.width
