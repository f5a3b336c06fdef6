import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from tinynas.data.images import read_image
from tinynas.data.labelled_files import labelled_files
from tinynas.data.transforms import RandomCrop
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

    monkeypatch.setattr("tinynas.data.labelled_files.read_image", reading)
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
