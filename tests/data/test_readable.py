import shutil

import pytest

from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError


def damage(folder):
    """Cut an image of each part, and empty another: two in train, one in val."""
    whole = (folder / "train" / "cat" / "0.png").read_bytes()
    (folder / "train" / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train" / "dog" / "3.png").write_bytes(b"")
    (folder / "val" / "dog" / "1.png").write_bytes(whole[: len(whole) * 9 // 10])


def test_unreadable_images_of_all_parts_are_named_before_training(image_folder):
    load_data(f"imagefolder:{image_folder}")
    damage(image_folder)
    with pytest.raises(FileError) as error:
        load_data(f"imagefolder:{image_folder}")
    message = str(error.value)
    assert "\n" not in message
    assert "3 of 22 images" in message
    assert f"{image_folder}/train/cat/0.png (it is damaged)" in message
    assert f"{image_folder}/train/dog/3.png (it is empty)" in message
    assert f"{image_folder}/val/dog/1.png (it is damaged)" in message
    assert message.endswith("leave them out with --skip-unreadable")


def test_unreadable_images_can_be_left_out(image_folder):
    whole = load_data(f"imagefolder:{image_folder}")
    damage(image_folder)
    data = load_data(f"imagefolder:{image_folder}", skip_unreadable=True)
    before = [file for split in whole.splits.values() for file in split.files]
    after = [file for split in data.splits.values() for file in split.files]
    damaged = {f"{image_folder}/{name}.png" for name in ("train/cat/0", "train/dog/3", "val/dog/1")}
    assert after == [file for file in before if file not in damaged]
    assert "3 images that cannot be read" in data.left_out[-1]
    for split in data.splits.values():
        assert sum(len(images) for images, _ in data.evaluation_batches(split, 8)) == len(split)


def test_unreadable_images_leave_no_class_without_images(image_folder):
    for file in (image_folder / "train" / "dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(FileError, match=r"no training image of dog in .* can be read"):
        load_data(f"imagefolder:{image_folder}", skip_unreadable=True)
    shutil.rmtree(image_folder / "train" / "dog")
    with pytest.raises(FileError, match=r"one class only, cat"):
        load_data(f"imagefolder:{image_folder}", skip_unreadable=True)
