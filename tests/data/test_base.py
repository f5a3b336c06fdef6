from dataclasses import replace

import pytest
import torch

from helpers import same_batches
from tinynas.data.base import Normalisation
from tinynas.utils.errors import InputError

NAN, INF = float("nan"), float("inf")


def test_data_needs_different_names_of_classes(data):
    with pytest.raises(InputError, match=r"need different names, but 2 are 'b'; rename them"):
        replace(data, classes=("a", "b", "b"))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((), ()),
        ((0.5,), ()),
        ((0.5,), (0.5, 0.5)),
        ((0.5,), (0.0,)),
        ((0.5,), (-0.1,)),
        ((0.5,), (NAN,)),
        ((0.5,), (INF,)),
        ((NAN, 0.5), (1.0, 1.0)),
    ],
)
def test_normalisation_needs_a_mean_and_a_positive_deviation_of_each_channel(mean, std):
    with pytest.raises(InputError, match="a finite mean and a positive, finite standard deviation for each channel"):
        Normalisation(mean=mean, std=std)


@pytest.mark.parametrize("shape", [(7, 3, 160, 160), (3, 3, 7, 5), (5, 1, 300, 300), (0, 3, 8, 8), (300, 1, 12, 12)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalisation_rounds_as_its_formula_does(shape, memory_format):
    """It computes a few images at a time; the smallest of these batches is computed at once, the largest in parts."""
    means, stds = (0.485, 0.456, 0.406)[: shape[1]], (0.229, 0.224, 0.225)[: shape[1]]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(memory_format=memory_format)
    mean, std = torch.tensor(means).view(-1, 1, 1), torch.tensor(stds).view(-1, 1, 1)
    images = Normalisation(mean=means, std=stds)(pixels)
    assert torch.equal(images, (pixels.float() / 255 - mean) / std)
    assert images.stride() == pixels.stride()


def test_training_batches_are_a_shuffle_that_repeats(data):
    def epoch(seed, number):
        return list(data.training_batches(10, (8, 12), seed=seed, epoch=number))

    assert same_batches(epoch(0, 0), epoch(0, 0))
    assert not same_batches(epoch(0, 0), epoch(0, 1))
    assert not same_batches(epoch(0, 0), epoch(1, 0))
    assert len(epoch(0, 0)) == data.steps_per_epoch(10) == 9


def test_training_batches_draw_every_resolution_and_resize_once(data):
    batches = list(data.training_batches(4, (8, 12), seed=0, epoch=0))
    assert {batch.images.shape[-1] for batch in batches} == {8, 12}
    whole = next(batch.images for batch in batches if batch.images.shape[-1] == 12)
    values = data.normalise(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)).flatten()
    assert torch.isin(whole, values).all(), "an image at its own size was resampled"


def test_calibration_batches_have_equal_sizes(data):
    sizes = [len(x) for x in data.calibration_batches(8, images=31, batch_size=10)]
    assert sum(sizes) == 31
    assert max(sizes) - min(sizes) <= 1


def test_training_batches_start_anywhere_in_an_epoch(data):
    whole = list(data.training_batches(10, (8, 12), seed=0, epoch=2))
    assert same_batches(whole[4:], list(data.training_batches(10, (8, 12), seed=0, epoch=2, start=4)))


def test_training_batches_of_a_set_smaller_than_a_batch(data):
    (batch,) = data.training_batches(1000, (12,), seed=0, epoch=0)
    assert len(batch[1]) == 96


def test_evaluation_batches_hold_every_image_once_and_unchanged(data):
    batches = list(data.evaluation_batches(data.val, 12, batch_size=7))
    assert torch.equal(torch.cat([y for _, y in batches]), data.val.labels)
    assert torch.equal(torch.cat([x for x, _ in batches]), data.normalise(data.val.images))


def test_evaluation_and_calibration_batches_are_resized(data):
    assert next(iter(data.evaluation_batches(data.val, 8)))[0].shape[-2:] == (8, 8)
    assert data.calibration_batches(16, images=20, batch_size=10)[1].shape == (10, 1, 16, 16)


def test_training_batches_name_their_images(data):
    for number, batch in enumerate(data.training_batches(10, (12,), seed=0, epoch=1, augmentation="none")):
        assert batch.number == number
        assert torch.equal(batch.labels, data.train.labels[batch.indices])
        assert torch.equal(batch.images, data.normalise(data.train.images[batch.indices]))
