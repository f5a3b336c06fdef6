"""TrivialAugment of a batch, held against torchvision's, which changes one image at a time."""

from collections import Counter

import pytest
import torch
from torchvision.transforms import v2

from tinynas.data.trivial_augment import CHANGES, RandomChanges

NAMES = list(v2.TrivialAugmentWide._AUGMENTATION_SPACE)


PICK_PIXELS = ("ShearX", "ShearY", "Rotate", "Solarize")  # another pixel, or side, where two are equally near


def is_tie(name, number):
    """Whether rounding decides about many pixels: rotation by 90 degrees."""
    return name == "Rotate" and abs(number) == 20


def smooth_images(count, channels, height, width):
    """Images with edges and gradients, as photographs have; the last one has a single value."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, channels, 6, 5, generator=generator)
    images = torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    images[:, :, height // 3 : height // 2, width // 4 :] *= 0.3
    images[-1] = 0.41
    return (255 * images).round().to(torch.uint8)


@pytest.mark.parametrize("shape", [(3, 41, 32), (1, 28, 28)])
@pytest.mark.parametrize("kind", range(len(CHANGES)), ids=NAMES)
def test_changes_are_those_of_torchvision(kind, shape):
    torchvision = v2.TrivialAugmentWide()
    magnitudes, signed = torchvision._AUGMENTATION_SPACE[NAMES[kind]]
    numbers = torch.arange(-30, 31)
    images = smooth_images(len(numbers), *shape)
    changed = RandomChanges(torch.full_like(numbers, kind), numbers / 30).apply(images)
    for number, image, result in zip(numbers.tolist(), images, changed, strict=True):
        bins = magnitudes(31, *shape[1:])
        magnitude = 0.0 if bins is None else round(float(bins[abs(number)]), 5)  # 16 pixels, not 15.99999
        if signed and number < 0:
            magnitude = -magnitude
        expected = torchvision._apply_image_or_video_transform(
            image, NAMES[kind], magnitude, "nearest", {torch.Tensor: None}
        )
        difference = (expected.int() - result.int()).abs()
        assert (difference > 1).float().mean() < (0.2 if is_tie(NAMES[kind], number) else 0.03)
        if NAMES[kind] not in PICK_PIXELS:
            assert difference.max() <= 1, "but for rounding"
            assert number == 30 or (difference > 0).float().mean() < 0.1, "of the last image all or none"


def test_changes_of_a_batch_are_drawn_uniformly():
    changes = RandomChanges.draw(20_000, torch.Generator().manual_seed(0))
    kinds = Counter(changes.kinds.tolist())
    assert len(kinds) == 14
    assert max(kinds.values()) < 1.2 * min(kinds.values())
    steps = Counter((30 * changes.strengths).round().int().tolist())
    assert set(steps) == set(range(-30, 31))
    others = [count for step, count in steps.items() if step != 0]
    assert max(others) < 1.5 * min(others)
    assert steps[0] == pytest.approx(20_000 / 31, rel=0.2)
    assert abs(torch.corrcoef(torch.stack([changes.kinds.float(), changes.strengths]))[0, 1]) < 0.03


def test_changes_of_a_shard_are_those_of_the_whole_batch():
    images = smooth_images(50, 3, 32, 32)
    changes = RandomChanges.draw(50, torch.Generator().manual_seed(1))
    whole = changes.apply(images)
    assert torch.equal(changes.of(slice(1, None, 3)).apply(images[1::3]), whole[1::3])
    assert (whole != images).flatten(1).any(1).sum() > 30


def test_changes_leave_the_images_that_they_are_given():
    images = smooth_images(50, 3, 32, 32)
    before = images.clone()
    RandomChanges.draw(50, torch.Generator().manual_seed(1)).apply(images)
    assert torch.equal(images, before)
