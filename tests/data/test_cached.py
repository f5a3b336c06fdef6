from dataclasses import replace

import pytest
import torch

from tinynas.data.boxes import BoxSplit, MemoryImages
from tinynas.data.cached import CachedSplit
from tinynas.data.memory import MemorySplit


class CountingSplit(MemorySplit):
    """Counts the images that are read."""

    def batches(self, requests, normalise):
        for images, labels in super().batches(requests, normalise):
            vars(self)["read"] = vars(self).get("read", 0) + len(images)
            yield images, labels


@pytest.fixture
def split(data):
    return CountingSplit(images=data.val.images, labels=data.val.labels)


def assert_same_batches(data, split, resolution, batch_size):
    expected = data.evaluation_batches(data.val, resolution, batch_size)
    for batch, other in zip(data.evaluation_batches(split, resolution, batch_size), expected, strict=True):
        assert torch.equal(batch[0], other[0])
        assert torch.equal(batch[1], other[1])


def test_cached_split_yields_the_same_batches_and_reads_each_resolution_once(data, split):
    cached = CachedSplit(split)
    assert len(cached) == len(split)
    assert cached.digest() == split.digest()
    for resolution in (12, 16, 12, 16):
        for batch_size in (7, 30):
            assert_same_batches(data, cached, resolution, batch_size)
    assert split.read == 2 * len(split)


def test_cached_split_reads_again_what_does_not_fit(data, split):
    cached = CachedSplit(split, max_bytes=4 * 30 * (12 * 12 + 8 * 8) - 1)
    for resolution in (12, 8, 12, 8):
        assert_same_batches(data, cached, resolution, 30)
    assert split.read == 3 * len(split), "the 12 pixels once, the 8 pixels each time"


def test_cached_split_numbers_the_images_of_boxes_in_each_batch(data):
    images = torch.randint(0, 256, (4, 1, 20, 20), dtype=torch.uint8)
    box = torch.tensor([1.0, 0.1, 0.2, 0.5, 0.6])
    objects = [box[None], torch.stack([box, box / 2]), torch.zeros(0, 5), box[None] / 4]
    split = BoxSplit(read=MemoryImages(images), objects=objects)
    boxes = replace(data, task="detect", val=split)
    for batch_size in (2, 3, 4):
        assert_same_batches(boxes, CachedSplit(split), 16, batch_size)
