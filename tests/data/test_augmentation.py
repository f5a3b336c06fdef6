import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from tinynas.data.augmentation import AugmentationRanges
from tinynas.data.base import BatchRequest, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.data.registry import load_data

SIDE = 256
PLAIN = Normalisation(mean=(0.0,), std=(1.0,))


def ramps(height=SIDE, width=SIDE):
    """An image whose first channel is the column, and whose second is the row: uint8 (3, H, W)."""
    columns = torch.arange(width).float().mul(255 / (width - 1)).expand(height, width)
    rows = torch.arange(height).float().mul(255 / (height - 1))[:, None].expand(height, width)
    return torch.stack([columns, rows, torch.full((height, width), 128.0)]).round().to(torch.uint8)


@pytest.fixture
def ramp_folder(tmp_path):
    for part in ("train", "val"):
        for label in ("a", "b"):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for number in range(3):
                Image.fromarray(ramps().permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return f"imagefolder:{tmp_path}"


def areas(images):
    """The area that every crop of a ramp covers, as a fraction of the image's."""
    pixels = images.float()
    width = (pixels[:, 0].amax((1, 2)) - pixels[:, 0].amin((1, 2))) / 255
    height = (pixels[:, 1].amax((1, 2)) - pixels[:, 1].amin((1, 2))) / 255
    return (width * height).numpy()


def crops_of_files(data, ranges, count=400):
    requests = [BatchRequest(torch.zeros(count, dtype=torch.long), 64, 3, ranges=ranges)]
    ((images, _),) = data.train.batches(requests, Normalisation(mean=(0.0,) * 3, std=(1.0,) * 3))
    return images * 255


def expected_areas(scale, count=4000):
    torch.manual_seed(0)
    found = []
    for _ in range(count):
        _, _, height, width = v2.RandomResizedCrop(64, (scale, 1.0)).make_params([ramps()]).values()
        found.append(height * width / SIDE**2)
    return np.array(found)


@pytest.mark.parametrize("scale", [0.08, 0.25, 0.6])
def test_crops_of_files_have_the_areas_of_the_setting(ramp_folder, scale):
    data = load_data(ramp_folder)
    found = areas(crops_of_files(data, AugmentationRanges(crop_scale=scale)))
    expected = expected_areas(scale)
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert np.quantile(found, quantiles) == pytest.approx(np.quantile(expected, quantiles), abs=0.06)
    assert scale * 0.85 < found.min() < scale + 0.1  # the border pixels of a crop are blurred


def test_crops_of_files_are_at_least_a_quarter_by_default(ramp_folder):
    data = load_data(ramp_folder)
    quarter = crops_of_files(data, AugmentationRanges(crop_scale=0.25))
    assert torch.equal(crops_of_files(data, AugmentationRanges()), quarter)


def test_crops_take_the_place_of_the_shifts_of_images_in_memory():
    images = ramps()[None, :2].repeat(300, 1, 1, 1)
    split = MemorySplit(images=images, labels=torch.zeros(300, dtype=torch.long), flip=True, shift=4)
    normalise = Normalisation(mean=(0.0,) * 2, std=(1.0,) * 2)
    ranges = AugmentationRanges(crop_scale=0.3)
    ((shifted, _), (cropped, _)) = split.batches(
        [BatchRequest(torch.arange(300), SIDE, 1), BatchRequest(torch.arange(300), SIDE, 1, ranges=ranges)], normalise
    )
    assert (shifted[:, 1] == 0).all(2).any(), "shifts fill the border with zeros"
    found, expected = areas(cropped * 255), expected_areas(0.3)
    assert np.median(found) == pytest.approx(np.median(expected), abs=0.06)
    mirrored = cropped[:, 0, :, 0] > cropped[:, 0, :, -1]
    assert 0.4 < mirrored.float().mean() < 0.6


def factors(images, original, adjust):
    """The factor by which each image was adjusted, found by trying."""
    tried = torch.linspace(0.3, 1.7, 141)
    adjusted = torch.stack([adjust(original, factor.item()).float() for factor in tried])
    found = []
    for image in images:
        found.append(tried[(adjusted - image.float()).abs().mean((1, 2, 3)).argmin()].item())
    return np.array(found)


@pytest.mark.parametrize(
    ("ranges", "adjust", "extent"),
    [
        (AugmentationRanges(brightness=32 / 255), functional.adjust_brightness, 32 / 255),
        (AugmentationRanges(saturation=0.5), functional.adjust_saturation, 0.5),
    ],
)
def test_jitter_draws_factors_uniformly_from_the_ranges_of_color_jitter(ranges, adjust, extent):
    image = ramps(24, 24) // 2 + 20
    torch.manual_seed(0)
    images = [ranges.jitter(image) for _ in range(500)]
    found = factors(images, image, adjust)
    assert found.min() == pytest.approx(1 - extent, abs=0.02)
    assert found.max() == pytest.approx(1 + extent, abs=0.02)
    assert found.mean() == pytest.approx(1, abs=extent / 8)
    assert found.std() == pytest.approx(2 * extent / 12**0.5, rel=0.1)


@pytest.mark.parametrize("kind", ["files", "memory", "boxes"])
def test_jitter_changes_the_training_images_of_every_kind_of_data_set(kind, ramp_folder):
    name = {"files": ramp_folder, "memory": "digits", "boxes": "scattered-digits"}[kind]
    data = load_data(name)
    jitter = AugmentationRanges(brightness=0.5)
    first, jittered = (
        next(iter(data.training_batches(2, (32,), seed=0, epoch=0, ranges=ranges))).images
        for ranges in (AugmentationRanges(), jitter)
    )
    assert first.shape == jittered.shape
    assert not torch.equal(first, jittered)
    again = next(iter(data.training_batches(2, (32,), seed=0, epoch=0, ranges=jitter))).images
    assert torch.equal(again, jittered)
    unchanged = next(iter(data.training_batches(2, (32,), seed=0, epoch=0, ranges=jitter, augmentation="none"))).images
    plain = next(iter(data.training_batches(2, (32,), seed=0, epoch=0, augmentation="none"))).images
    assert torch.equal(unchanged, plain)


def test_changes_of_images_in_memory_are_the_same_for_several_processes():
    images = torch.randint(0, 256, (12, 1, 9, 9), dtype=torch.uint8)
    split = MemorySplit(images=images, labels=torch.zeros(12, dtype=torch.long))
    ranges = AugmentationRanges(crop_scale=0.3, brightness=0.3)
    whole = BatchRequest(torch.arange(12), 9, 5, ranges=ranges)
    requests = [whole, whole._replace(shard=slice(0, None, 2)), whole._replace(shard=slice(1, None, 2))]
    (together, _), (even, _), (odd, _) = split.batches(requests, PLAIN)
    assert torch.equal(together[0::2], even)
    assert torch.equal(together[1::2], odd)
