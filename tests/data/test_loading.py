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


@pytest.mark.parametrize("workers", [False, True])
def test_loading_names_an_image_that_becomes_unreadable(image_folder, monkeypatch, workers):
    import tinynas.data.loading

    if workers:
        monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    data = load_data(f"imagefolder:{image_folder}")
    (image_folder / "val" / "cat" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(FileError, match=r"cannot read the image .*val/cat/0\.png: it is not an image"):
        list(data.evaluation_batches(data.test, 24))
