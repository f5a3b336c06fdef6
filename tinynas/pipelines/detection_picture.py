"""The picture of what a trained detector sees: test images with their objects, and beside them its boxes."""

from dataclasses import replace

import torch
from PIL import Image

from ..data.base import BatchRequest, Data
from ..data.labels import class_labels
from ..experiment.box_picture import draw_boxes, picture_sheet
from ..models.model_file import SCORE_THRESHOLD, Model
from ..models.network import Network
from ..tasks.detection import Detections, distinct
from ..tasks.detection_errors import best_threshold
from ..tasks.matching import match
from ..tasks.registry import TASKS
from ..utils.rng import generator
from .shown_boxes import shown_images

_IMAGES = 9
_SIDE = 256  # pixels, about, along the longer side of a picture
_GAP = 4  # pixels between the two pictures of an image


def detection_picture(model: Model, data: Data) -> bytes:
    """Return a PNG file of test images: on the left with their objects, on the right with a detector's boxes.

    Shown are nine images with objects, always the same, and boxes that score more than the detector's threshold.

    Args:
        model: The detector.
        data: The data set.
    """
    threshold = model.score_threshold
    indices = _choose(data)
    pictures = []
    for image, detected in zip(shown_images(data, data.test, indices), _detect(model.net, data, indices), strict=True):
        shown = distinct(detected)
        confident = shown.scores > threshold
        boxes = image.labelled(data.classes, shown.boxes[confident], shown.classes[confident])
        truth = draw_boxes(image.pixels, image.labelled_objects(data.classes), data.classes, _SIDE, exact=True)
        seen = draw_boxes(image.pixels, boxes, data.classes, _SIDE, exact=True)
        pictures.append((image.name, _beside(truth, seen)))
    title = f"Test images: left the objects, right the boxes that score more than {threshold:.2f}"
    return picture_sheet(pictures, title)


def with_score_threshold(model: Model, data: Data) -> Model:
    """Return a detector with the threshold of scores that has the best F1 on search-val, if a box there is right."""
    net = model.net
    predictions, truths = TASKS[data.task].predict(net, net.arch, data, data.val)
    best = best_threshold(match(predictions, truths, len(data.classes)))
    return replace(model, score_threshold=best.threshold if best else SCORE_THRESHOLD)


def _choose(data: Data) -> list[int]:
    """Return the indices of random test images, those with objects first; always the same ones."""
    of_image, _ = class_labels(data.test)
    with_objects = set(of_image.tolist())
    order = generator(0, "detection picture").permutation(len(data.test)).tolist()
    chosen = [index for index in order if index in with_objects]
    chosen += [index for index in order if index not in with_objects]
    return chosen[:_IMAGES]


@torch.no_grad()
def _detect(net: Network, data: Data, indices: list[int]) -> list[Detections]:
    """Return the detections on test images."""
    ((images, _),) = data.test.batches([BatchRequest(torch.tensor(indices), net.arch.resolution)], data.normalise)
    outputs = net(images.to(next(net.parameters()).device)).cpu()
    decoded: list[Detections] = TASKS[data.task].decode(outputs, net.arch)
    return decoded


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return two pictures of the same size side by side."""
    joined = Image.new("RGB", (left.width + _GAP + right.width, left.height), "white")
    joined.paste(left, (0, 0))
    joined.paste(right, (left.width + _GAP, 0))
    return joined
