import io

import pytest
import torch
from PIL import Image

from helpers import model_of
from tinynas.data.base import Data, Normalisation
from tinynas.data.boxes import BoxSplit
from tinynas.data.sources import MemoryImages
from tinynas.models.model_file import SCORE_THRESHOLD
from tinynas.pipelines.detection_picture import detection_picture, with_score_threshold
from tinynas.tasks.detection import Detections

BOX = [1.0, 0.25, 0.25, 0.75, 0.75]


def data_of(*objects):
    """Black images of 64x64 with these objects."""
    rows = [torch.tensor(of_image).reshape(-1, 5) for of_image in objects]
    split = BoxSplit(read=MemoryImages(torch.zeros(len(rows), 1, 64, 64, dtype=torch.uint8)), objects=rows)
    normalise = Normalisation(mean=(0.0,), std=(1.0,))
    return Data(task="detect", classes=("a", "b", "c"), normalise=normalise, train=split, val=split, test=split)


def detects(monkeypatch, score):
    """Let detectors see one object on every image, that of the box, with a score."""
    detected = Detections(torch.tensor([BOX[1:]]), torch.tensor([score]), torch.tensor([1]))
    monkeypatch.setattr("tinynas.tasks.task.detections", lambda outputs, arch: [detected] * len(outputs))


def test_score_threshold_is_that_of_the_best_f1_on_search_val(detectors, monkeypatch):
    model, data = model_of(detectors.min()), data_of([BOX], [])
    detects(monkeypatch, 0.8)
    assert 0 < with_score_threshold(model, data).score_threshold < 0.8
    assert with_score_threshold(model, data_of([], [])).score_threshold == SCORE_THRESHOLD, "no box is right"


@pytest.mark.parametrize(("count", "pictures"), [(2, 2), (12, 9)])
def test_detection_picture_shows_up_to_nine_images(detectors, monkeypatch, count, pictures):
    model = model_of(detectors.min())
    detects(monkeypatch, 0.8)
    data = data_of(*[[BOX] if number % 2 else [] for number in range(count)])
    with Image.open(io.BytesIO(detection_picture(model, data))) as picture:
        columns, rows = min(3, pictures), -(-pictures // 3)
        assert columns * 500 < picture.width < columns * 560
        assert rows * 250 < picture.height < rows * 350
