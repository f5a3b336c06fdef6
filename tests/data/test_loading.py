import multiprocessing
import os
import signal

import pytest

from helpers import same_batches
from tinynas.data.loading import killed_loader_error
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError, TrainingError


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


def loads_images(image_folder, monkeypatch, workers):
    """Batches that worker processes load."""
    import tinynas.data.loading

    monkeypatch.setattr(tinynas.data.loading, "_FEW_FILES", 0)
    monkeypatch.setenv("TINYNAS_LOADERS", workers)
    data = load_data(f"imagefolder:{image_folder}")
    return data.training_batches(2, (24,), seed=0, epoch=0)


def test_loading_uses_no_shared_memory(image_folder, monkeypatch):
    """Where there is little of it, as in containers, torch waits for ever."""
    monkeypatch.setattr("torch.UntypedStorage._share_fd_cpu_", None)
    monkeypatch.setattr("torch.UntypedStorage._share_filename_cpu_", None)
    assert len(list(loads_images(image_folder, monkeypatch, "2"))) == 7


def kill_a_loader(batches):
    """Kill the process that loads images, and read the other batches."""
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    list(batches)


def test_killed_loader_is_an_error_with_a_remedy(image_folder, monkeypatch):
    with pytest.raises(RuntimeError) as raised:
        kill_a_loader(loads_images(image_folder, monkeypatch, "1"))
    error = killed_loader_error(raised.value)
    assert isinstance(error, TrainingError)
    assert "a process that loads images was killed" in str(error)
    assert "TINYNAS_LOADERS=0" in str(error)
    assert killed_loader_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_number_of_loaders_is_checked(image_folder, monkeypatch):
    assert len(list(loads_images(image_folder, monkeypatch, "0"))) == 7
    assert not multiprocessing.active_children()
    with pytest.raises(InputError, match="TINYNAS_LOADERS must be a number of processes, but is 'many'"):
        list(loads_images(image_folder, monkeypatch, "many"))
    monkeypatch.setattr("tinynas.data.loading._FEW_FILES", 256)
    with pytest.raises(InputError, match="but is 'many'"):
        list(load_data(f"imagefolder:{image_folder}").training_batches(2, (24,), seed=0, epoch=0))
