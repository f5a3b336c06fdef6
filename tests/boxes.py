"""Images with boxes, as tests use them: folders of VOC and COCO, batches, and outputs that are right."""

import json
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image

from tinynas.data.base import Batch
from tinynas.tasks.assignment import pad_objects
from tinynas.tasks.detection import Detections, positions_of

NUM_CLASSES = 3
OBJECTS = torch.tensor(  # image, class, box
    [[0, 2, 0.1, 0.1, 0.3, 0.4], [0, 0, 0.5, 0.4, 0.95, 0.9], [2, 1, 0.0, 0.0, 0.2, 0.2], [2, 1, 0.9, 0.9, 1.0, 1.0]]
)
FIRST, SECOND = [0, 0, 0.5, 1], [0.75, 0.5, 1, 0.75]  # the boxes of voc_folder


def detection_batch(arch, objects=OBJECTS, images=3):
    torch.manual_seed(0)
    return Batch(torch.randn(images, 1, arch.resolution, arch.resolution), objects, torch.arange(images), 0)


def perfect_outputs(arch, objects, images=3):
    """Outputs that say exactly what the objects are, at up to ten positions within each."""
    at = positions_of(arch, arch.resolution)
    outputs = torch.zeros(images, len(at.centre), 4 + NUM_CLASSES)
    outputs[..., 4:] = -12
    candidates = pad_objects(objects, images, at).candidates
    for image in range(images):
        for row, places in zip(objects[objects[:, 0] == image], candidates[image], strict=False):
            distances = torch.cat([at.centre - row[2:4], row[4:6] - at.centre], 1) / at.stride
            within = (places & (distances > 0.1).all(1)).nonzero().flatten()[:10]
            outputs[image, within, :4] = (distances[within] - 0.01).expm1().log()
            outputs[image, within, 4 + int(row[1])] = 12
    return outputs


def photograph(path, width=40, height=20, orientation=1, box=(0, 0, 0, 0)):
    """Write an image, stored with this size and EXIF orientation, with a white rectangle on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), [200, 100, 50], np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    image.save(path, exif=image.getexif())


def voc_xml(objects, size=(40, 20)):
    """An annotation with objects (name, xmin, ymin, xmax, ymax, difficult)."""
    root = ElementTree.Element("annotation")
    sides = ElementTree.SubElement(root, "size")
    for side, value in zip(("width", "height"), size, strict=True):
        ElementTree.SubElement(sides, side).text = str(value)
    for name, *corners, difficult in objects:
        element = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(element, "name").text = name
        ElementTree.SubElement(element, "difficult").text = str(difficult)
        box = ElementTree.SubElement(element, "bndbox")
        for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            ElementTree.SubElement(box, corner).text = str(value)
    return ElementTree.tostring(root)


def voc_folder(folder, prefix="", names=("dog", "cat"), **lists):
    """A folder of VOC's: each image has an object of the first class, one of the second, and a difficult one."""
    for part, count in lists.items():
        images = [f"{prefix}{part}{i}" for i in range(count)]
        for image in images:
            photograph(folder / "JPEGImages" / f"{image}.jpg")
            objects = [(names[0], 1, 1, 20, 20, 0), (names[1], 31, 11, 40, 15, 0), ("unheard-of", 1, 1, 9, 9, 1)]
            (folder / "Annotations").mkdir(exist_ok=True)
            (folder / "Annotations" / f"{image}.xml").write_bytes(voc_xml(objects))
        (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{image}\n" for image in images))
    return folder


def coco_document(prefix="train", count=12):
    """Image i has the id 100 + i; all but the last have a zebra, an ant, a crowd of ants and a box without area."""
    images = [{"id": 100 + i, "file_name": f"{prefix}{i}.jpg", "width": 40, "height": 20} for i in range(count)]
    annotations = [
        {"image_id": image["id"], "category_id": number, "bbox": box, "iscrowd": crowd}
        for image in images[:-1]
        for number, box, crowd in (
            (7, [0, 0, 20, 20], 0),
            (90, [30, 10, 10.3, 5], 0),
            (90, [0, 0, 40, 20], 1),
            (90, [3, 4, 1.5, 0], 0),
        )
    ]
    for number, annotation in enumerate(annotations):
        annotation |= {"id": number, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    categories = [{"id": 90, "name": "ant"}, {"id": 7, "name": "zebra"}, {"id": 30, "name": "never seen"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_folder(root, images="{part}2017", files="instances_{part}2017", train=12, val=3):
    (root / "annotations").mkdir(parents=True)
    for part, count in (("train", train), ("val", val)):
        document = coco_document(part, count)
        (root / "annotations" / f"{files.format(part=part)}.json").write_text(json.dumps(document))
        for image in document["images"]:
            photograph(root / images.format(part=part) / image["file_name"])
    return root


def yolo_folder(root, images="images/{part}", labels="labels/{part}", names=("dog", "cat"), **parts):
    """A folder of YOLO's: each image but the last of a part has an object of the first class and one of the second."""
    for part, count in parts.items():
        folder = root / labels.format(part=part)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photograph(root / images.format(part=part) / f"{part}{number}.jpg")
            lines = "0 0.25 0.5 0.5 1\n1 0.875 0.625 0.25 0.25\n" if number < count - 1 else ""
            (folder / f"{part}{number}.txt").write_text(lines)
    return root


def object_rows(*objects):
    """Objects (M, 7) of an image, from (class, box, kind)."""
    return torch.tensor([[label, *box, 100, kind] for label, box, kind in objects]).reshape(-1, 7)


def detected(*boxes):
    """The detections on an image, from (class, box, score)."""
    labels = torch.tensor([label for label, _, _ in boxes], dtype=torch.int64)
    corners = torch.tensor([box for _, box, _ in boxes], dtype=torch.float64).reshape(-1, 4)
    return Detections(corners, torch.tensor([score for _, _, score in boxes]), labels)
