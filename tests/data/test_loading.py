import pytest

from helpers import same_batches
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError


def test_loading_with_workers_changes_nothing(image_folder, monkeypatch):
    import tinynas.data.loading

    data = load_data(f"imagefolder:{image_folder}")
    alone = list(data.training_batches(4, (24, 32), seed=0, epoch=0))
    monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    assert same_batches(alone, list(data.training_batches(4, (24, 32), seed=0, epoch=0)))


def test_loading_names_an_unreadable_image(image_folder):
    (image_folder / "val" / "cat" / "0.png").write_bytes(b"\x89PNG broken")
    data = load_data(f"imagefolder:{image_folder}")
    with pytest.raises(FileError, match=r"cannot read the image .*val/cat/0\.png"):
        list(data.evaluation_batches(data.test, 24))
