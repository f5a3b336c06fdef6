import pytest
import torch

from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError


def test_image_folder_has_classes_and_repeatable_augmentation(image_folder):
    data = load_data(f"imagefolder:{image_folder}")
    assert data.classes == ("cat", "dog")
    assert [len(split.labels) for split in (data.train, data.val, data.test)] == [14, 2, 6]
    images, labels, *_ = next(iter(data.training_batches(5, (24,), seed=0, epoch=0)))
    assert images.shape == (5, 3, 24, 24)
    assert labels.shape == (5,)
    again = next(iter(data.training_batches(5, (24,), seed=0, epoch=0))).images
    other = next(iter(data.training_batches(5, (24,), seed=1, epoch=0))).images
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    strong = next(iter(data.training_batches(5, (24,), seed=0, epoch=0, augmentation="strong"))).images
    assert strong.shape == images.shape
    assert not torch.equal(images, strong)


def test_image_folder_refuses_folders_without_images(tmp_path, image_folder):
    with pytest.raises(InputError, match="imagefolder needs a path"):
        load_data("imagefolder")
    with pytest.raises(FileError, match="there is no folder train/"):
        load_data(f"imagefolder:{tmp_path}")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(FileError, match="no images in"):
        load_data(f"imagefolder:{tmp_path}")
    (image_folder / "val" / "dog").rename(image_folder / "val" / "horse")
    with pytest.raises(
        FileError, match=r"val/ has images of horse, of which train/ has none \(its classes are cat, dog\)"
    ):
        load_data(f"imagefolder:{image_folder}")
