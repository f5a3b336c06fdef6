import os
from dataclasses import replace

import pytest
import torch

from tinynas.data.base import IMAGENET
from tinynas.data.boxes import BoxSplit
from tinynas.data.cached import CachedSplit, cache_bytes, compact
from tinynas.data.memory import MemorySplit
from tinynas.data.registry import load_data
from tinynas.data.sources import MemoryImages
from tinynas.utils.machine import sharing_machine


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
    """The images have 12 pixels, which are kept as bytes; those that are resized to 8 are floats."""
    cached = CachedSplit(split, max_bytes=30 * (12 * 12 + 4 * 8 * 8) - 1)
    for resolution in (12, 8, 12, 8):
        assert_same_batches(data, cached, resolution, 30)
    assert split.read == 4 * len(split), "the 12 pixels once, the 8 pixels each time, and once to see their size"
    vars(split)["read"] = 0
    enough = CachedSplit(split, max_bytes=30 * (12 * 12 + 4 * 8 * 8))
    for resolution in (12, 8, 12, 8):
        assert_same_batches(data, enough, resolution, 30)
    assert split.read == 2 * len(split)


def test_cached_split_numbers_the_images_of_boxes_in_each_batch(data):
    images = torch.randint(0, 256, (4, 1, 20, 20), dtype=torch.uint8)
    box = torch.tensor([1.0, 0.1, 0.2, 0.5, 0.6])
    objects = [box[None], torch.stack([box, box / 2]), torch.zeros(0, 5), box[None] / 4]
    split = BoxSplit(read=MemoryImages(images), objects=objects)
    boxes = replace(data, task="detect", val=split)
    for batch_size in (2, 3, 4):
        assert_same_batches(boxes, CachedSplit(split), 16, batch_size)


def test_first_images_do_not_tell_whether_all_are_kept_as_bytes(data, monkeypatch):
    """Black images are still black when they are resized."""
    monkeypatch.setattr("tinynas.data.cached._READ_AT_ONCE", 10)
    images = data.val.images.clone()
    images[:15] = 0
    data = replace(data, val=MemorySplit(images=images, labels=data.val.labels))
    for max_bytes in (30 * 8 * 8, 4 * 30 * 8 * 8):
        cached = CachedSplit(data.val, max_bytes=max_bytes)
        for _ in range(2):
            assert_same_batches(data, cached, 8, 7)


def test_images_of_files_are_kept_as_bytes(image_folder):
    data = load_data(f"imagefolder:{image_folder}")
    cached = CachedSplit(data.train, max_bytes=len(data.train) * 3 * (24 * 24 + 32 * 32))
    train = replace(data, val=data.train)
    for resolution in (24, 32):
        assert_same_batches(train, cached, resolution, 4)
    for file in data.train.files:
        os.unlink(file)
    for resolution in (24, 32):
        assert len(list(data.evaluation_batches(cached, resolution, 4))) == -(-len(data.train) // 4)


def test_pixels_give_back_the_images_to_the_bit():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 2).view(2, 3, 16, 16)
    images = IMAGENET(pixels)
    assert torch.equal(compact(images, IMAGENET), pixels)
    images[1, 2, 3, 4] += 1e-6
    assert compact(images, IMAGENET) is images


def test_cache_is_a_quarter_of_the_memory_divided_among_searching_processes(monkeypatch):
    monkeypatch.setattr("tinynas.data.cached.available_memory", lambda: 24_000)
    assert cache_bytes(torch.device("cpu")) == 6000
    with sharing_machine(3):
        assert cache_bytes(torch.device("cpu")) == 2000
