import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from tinynas.data.images import read_image
from tinynas.data.labelled_files import labelled_files
from tinynas.data.transforms import RandomCrop, center_crop
from tinynas.utils.errors import FileError

UPRIGHT, TURNED = 1, 6  # EXIF orientations


def photograph(height, width):
    """Smooth colours at several scales and straight edges."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(3, height, width)
    for cells in (3, 9, 27, 81):
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        image += 80 / cells**0.3 * torch.nn.functional.interpolate(noise, (height, width), mode="bicubic")[0]
    image[:, height // 3 :, width // 2 :] += 60
    image[:, :, width // 5 : width // 4] -= 90
    return (image + 120).clamp(0, 255).byte().permute(1, 2, 0).numpy()


@pytest.fixture
def save(tmp_path):
    """Writes a picture of 480x360 pixels, as it is shown."""

    def write(name, orientation=UPRIGHT, mode="RGB"):
        picture = Image.fromarray(photograph(360, 480)).convert(mode)
        if orientation == TURNED:
            picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(tmp_path / name, quality=90, exif=exif)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(("height", "width"), [(375, 500), (40, 30), (3, 200), (97, 11), (1, 1)])
def test_random_crop_uses_random_numbers_as_torchvision_does(height, width):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    for seed in range(40):
        torch.manual_seed(seed)
        expected = v2.RandomHorizontalFlip()(v2.RandomResizedCrop(24, (0.25, 1.0))(image))
        after = torch.rand(1)
        torch.manual_seed(seed)
        crop = RandomCrop.draw(height, width, 24, 0.25)
        assert torch.equal(torch.rand(1), after)
        assert torch.equal(crop(image), expected)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (64, 96), (40, 200), (300, 31)])
def test_center_crop_of_a_square_is_torchvisions(height, width):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    for resolution, crop in ((24, 1.0), (28, 7 / 8), (31, 0.7)):
        expected = v2.CenterCrop(resolution)(v2.Resize(round(resolution / crop))(image))
        assert torch.equal(center_crop(image, resolution, crop), expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_center_crop_is_pils(interpolation):
    """Resized by its filter of this name, which is antialiased; it rounds between rows and columns."""
    pixels = np.random.default_rng(0).integers(0, 256, (75, 100, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    resized = Image.fromarray(pixels).resize((48, 36), Image.Resampling[interpolation.upper()])
    expected = torch.from_numpy(np.array(resized.crop((8, 2, 40, 34)))).permute(2, 0, 1)
    difference = (center_crop(image, 32, 32 / 36, interpolation).int() - expected.int()).abs()
    assert difference.max() <= 1
    other = {"bilinear": "bicubic", "bicubic": "bilinear"}[interpolation]
    assert (center_crop(image, 32, 32 / 36, other).int() - expected.int()).abs().max() > 5


@pytest.mark.parametrize("resolution", [(24, 40), (40, 24), (16, 48)])
@pytest.mark.parametrize(("height", "width"), [(96, 160), (160, 96), (120, 120), (50, 400)])
def test_center_crop_is_the_largest_central_part_of_the_networks_aspect_ratio(height, width, resolution):
    """Of an image of its own coordinates: the rows and columns that are left are as far apart, and in the middle."""
    rows = torch.linspace(0, 1, height).view(1, -1, 1).expand(1, height, width) * 255
    columns = torch.linspace(0, 1, width).view(1, 1, -1).expand(1, height, width) * 255
    cropped = center_crop(torch.cat([rows, columns]).round().to(torch.uint8), resolution, 1.0).float() / 255
    assert cropped.shape == (2, *resolution)
    scale = min(height / resolution[0], width / resolution[1])  # pixels of the image for one of the result
    seen_height, seen_width = resolution[0] * scale / height, resolution[1] * scale / width
    assert max(seen_height, seen_width) == pytest.approx(1)
    top, bottom = cropped[0, 0].mean(), cropped[0, -1].mean()
    left, right = cropped[1, :, 0].mean(), cropped[1, :, -1].mean()
    assert float(bottom - top) == pytest.approx(seen_height, abs=0.06)
    assert float(right - left) == pytest.approx(seen_width, abs=0.06)
    assert float(top + bottom) == pytest.approx(1, abs=0.05)
    assert float(left + right) == pytest.approx(1, abs=0.05)


def test_random_crops_have_about_the_networks_aspect_ratio():
    ratios = []
    for seed in range(200):
        torch.manual_seed(seed)
        crop = RandomCrop.draw(300, 300, (20, 40), 0.25)
        assert crop(torch.zeros(3, 300, 300, dtype=torch.uint8)).shape == (3, 20, 40)
        ratios.append(crop.width / crop.height)
    assert min(ratios) > 1.4
    assert max(ratios) < 2.75
    assert 1.8 < sum(ratios) / len(ratios) < 2.2


@pytest.mark.parametrize(
    ("side", "resolution", "reduction"), [(399, 200, 1), (799, 200, 1), (800, 200, 2), (1599, 200, 2), (1600, 200, 4)]
)
def test_crop_keeps_twice_the_pixels_that_it_needs(side, resolution, reduction):
    crop = RandomCrop(resolution, 2000, 4000, 0, 0, side, 3000, mirrored=False)
    assert crop.reduction == reduction
    assert crop._replace(height=3000, width=side).reduction == reduction
    assert crop._replace(resolution=10, height=200, width=200).reduction == 8


@pytest.mark.parametrize(
    ("name", "orientation", "mode"),
    [("a.jpg", UPRIGHT, "RGB"), ("b.jpg", TURNED, "RGB"), ("c.jpg", UPRIGHT, "L"), ("d.jpg", UPRIGHT, "CMYK")],
)
def test_crop_of_a_jpeg_that_is_decoded_smaller_hardly_differs(save, name, orientation, mode):
    file = save(name, orientation, mode)
    whole = read_image(file)
    assert whole.shape == (3, 360, 480)
    reductions = set()
    for seed in range(30):
        torch.manual_seed(seed)
        crop = RandomCrop.draw(360, 480, 16 + seed, 0.25)
        smaller = read_image(file, reduction=crop.reduction)
        assert smaller.shape == (3, -(-360 // crop.reduction), -(-480 // crop.reduction))
        reductions.add(crop.reduction)
        difference = (crop(smaller).float() - crop(whole).float()).abs()
        assert difference.mean() < 2.0
        assert difference.quantile(0.99) <= 10.0
        if crop.reduction > 1 and crop.left > 8:
            shifted = crop._replace(left=crop.left - 8)(whole).float()
            assert (crop(smaller).float() - shifted).abs().mean() > 2 * difference.mean(), "another crop"
    assert reductions >= {2, 4}


def test_other_formats_are_not_decoded_smaller(save):
    file = save("a.png")
    assert torch.equal(read_image(file, reduction=4), read_image(file))
    torch.manual_seed(0)
    crop = RandomCrop.draw(360, 480, 20, 0.25)
    assert crop.reduction > 1
    assert torch.equal(crop(read_image(file, reduction=crop.reduction)), crop(read_image(file)))


@pytest.fixture
def photographs(save):
    """A data set of JPEGs."""
    samples = [(save(f"{number}.jpg"), number % 2) for number in range(8)]
    return labelled_files(("a", "b"), samples, samples[:2])


def test_training_decodes_large_jpegs_smaller_but_evaluation_does_not(photographs, monkeypatch):
    reductions = []

    def reading(file, channels=3, *, reduction=1):
        reductions.append(reduction)
        return read_image(file, channels, reduction=reduction)

    monkeypatch.setattr("tinynas.data.files.read_image", reading)
    list(photographs.training_batches(2, (20,), seed=0, epoch=0))
    assert max(reductions) > 1
    reductions.clear()
    list(photographs.evaluation_batches(photographs.test, 20))
    list(photographs.training_batches(2, (20,), seed=0, epoch=0, augmentation="none"))
    assert set(reductions) == {1}


def test_image_of_another_size_is_an_error(photographs):
    file = photographs.train.image_files[0].path
    Image.fromarray(np.zeros((100, 480, 3), np.uint8)).save(file)
    with pytest.raises(FileError, match=r"\.jpg has changed since it was checked: .*x.* instead of 480x360"):
        list(photographs.training_batches(2, (20, 200), seed=0, epoch=0))
