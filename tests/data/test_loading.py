import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace

import pytest
import torch

from helpers import same_batches
from tinynas.data.base import BatchRequest
from tinynas.data.boxes import BoxSplit
from tinynas.data.files import ImageFiles
from tinynas.data.loading import killed_loader_error
from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError, TrainingError


def test_loading_with_workers_changes_nothing(image_folder, monkeypatch):
    import tinynas.data.loading

    data = load_data(f"imagefolder:{image_folder}")
    alone = list(data.training_batches(4, (24, 32), seed=0, epoch=0))
    monkeypatch.setattr(tinynas.data.loading, "_FEW_IMAGES", 0)
    assert same_batches(alone, list(data.training_batches(4, (24, 32), seed=0, epoch=0)))


@pytest.mark.parametrize("workers", [False, True])
def test_loading_names_an_image_that_becomes_unreadable(image_folder, monkeypatch, workers):
    import tinynas.data.loading

    if workers:
        monkeypatch.setattr(tinynas.data.loading, "_FEW_IMAGES", 0)
    data = load_data(f"imagefolder:{image_folder}")
    (image_folder / "val" / "cat" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(FileError, match=r"cannot read the image .*val/cat/0\.png: it is not an image"):
        list(data.evaluation_batches(data.test, 24))


def loads_images(image_folder, monkeypatch, workers):
    """Batches that worker processes load."""
    import tinynas.data.loading

    monkeypatch.setattr(tinynas.data.loading, "_FEW_IMAGES", 0)
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
    others = multiprocessing.active_children()
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - set(others)
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
    others = multiprocessing.active_children()
    assert len(list(loads_images(image_folder, monkeypatch, "0"))) == 7
    assert not set(multiprocessing.active_children()) - set(others)
    with pytest.raises(InputError, match="TINYNAS_LOADERS must be a number of processes, but is 'many'"):
        list(loads_images(image_folder, monkeypatch, "many"))
    monkeypatch.setattr("tinynas.data.loading._FEW_IMAGES", 256)
    with pytest.raises(InputError, match="but is 'many'"):
        list(load_data(f"imagefolder:{image_folder}").training_batches(2, (24,), seed=0, epoch=0))


@pytest.fixture
def loaded(image_folder, monkeypatch):
    """A small data set whose images two processes load."""
    monkeypatch.setattr("tinynas.data.loading._FEW_IMAGES", 0)
    monkeypatch.setenv("TINYNAS_LOADERS", "2")
    return load_data(f"imagefolder:{image_folder}")


def epoch(data, number, batch_size=4, resolutions=(24, 32)):
    return list(data.training_batches(batch_size, resolutions, seed=0, epoch=number))


def without_workers(function, *args, **settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYNAS_LOADERS", "0")
        return function(*args, **settings)


@pytest.fixture
def worker_ids():
    """A function that returns the processes that the test has started and that run."""
    others = multiprocessing.active_children()

    def running():
        return {process.pid for process in multiprocessing.active_children() if process not in others}

    return running


def ends(worker_ids):
    """Whether the processes end soon."""
    deadline = time.monotonic() + 3
    while worker_ids() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not worker_ids()


def test_workers_stay_for_the_next_epoch_and_end_with_the_split(loaded, worker_ids):
    loaded = replace(loaded, train=replace(loaded.train))  # the fixture's lives on
    first = epoch(loaded, 0)
    workers = worker_ids()
    assert len(workers) == 2
    assert same_batches(epoch(loaded, 1), without_workers(epoch, loaded, 1))
    assert same_batches(epoch(loaded, 0), first)
    assert worker_ids() == workers
    del loaded
    gc.disable()  # the split is in no cycle
    try:
        assert ends(worker_ids)
    finally:
        gc.enable()


def test_workers_are_replaced_when_an_iteration_is_left(loaded, worker_ids):
    list(itertools.islice(loaded.training_batches(2, (24,), seed=0, epoch=0), 2))
    assert same_batches(epoch(loaded, 1), without_workers(epoch, loaded, 1))
    time.sleep(0.5)  # for those that were ended
    assert len(worker_ids()) == 2


def test_two_iterations_at_the_same_time_have_workers_of_their_own(loaded, worker_ids):
    both = zip(
        loaded.training_batches(4, (24,), seed=0, epoch=0),
        loaded.training_batches(4, (24,), seed=0, epoch=1),
        strict=True,
    )
    expected = without_workers(epoch, loaded, 0, 4, (24,)), without_workers(epoch, loaded, 1, 4, (24,))
    for number, pair in enumerate(both):
        assert same_batches([batches[number] for batches in expected], pair)
        assert len(worker_ids()) == 4


def test_batches_that_grow_have_the_same_images(loaded, monkeypatch, worker_ids):
    """The first request does not tell how large the later ones are; in the next epoch, none of them is the largest."""
    monkeypatch.setattr("tinynas.data.loading._PEEKED", 2)

    def batches():
        requests = [BatchRequest(torch.arange(count), size, seed=3) for count, size in ((2, 16), (3, 16), (5, 40))]
        return [(images, labels) for images, labels in loaded.train.batches(requests, loaded.normalise)]

    for expected, batch in zip(without_workers(batches), batches(), strict=True):
        assert torch.equal(expected[0], batch[0])
        assert torch.equal(expected[1], batch[1])
    workers = worker_ids()
    larger = loaded.train.batches([BatchRequest(torch.arange(6), 40), BatchRequest(torch.arange(2), 8)], torch.clone)
    assert [images.shape for images, _ in larger] == [(6, 3, 40, 40), (2, 3, 8, 8)]
    time.sleep(0.5)
    assert not worker_ids() & workers, "new workers with larger slots"


def test_requests_are_read_as_batches_are(loaded, monkeypatch):
    """Not all of an epoch at once, which for a million images would take long and much memory."""
    monkeypatch.setattr("tinynas.data.loading._PEEKED", 3)
    read = itertools.count()
    requests = (BatchRequest(torch.tensor([0, 1]), 16, seed=next(read)) for _ in itertools.count())
    batches = loaded.train.batches(requests, loaded.normalise)
    for _ in range(20):
        next(batches)
    assert next(read) <= 20 + 3 + 2 * 2
    batches.close()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_image_of_a_shard_is_augmented_by_its_place_in_the_whole_batch(loaded, monkeypatch, workers):
    monkeypatch.setenv("TINYNAS_LOADERS", workers)
    whole = BatchRequest(torch.arange(6), 24, seed=5)
    parts = [whole._replace(shard=slice(rank, None, 2)) for rank in range(2)]
    batches = list(loaded.train.batches([whole, *parts], loaded.normalise))
    for rank, (images, labels) in enumerate(batches[1:]):
        assert torch.equal(images, batches[0][0][rank::2])
        assert torch.equal(labels, batches[0][1][rank::2])


def test_split_is_sent_to_other_processes_without_its_workers(loaded):
    first = epoch(loaded, 0)
    sent = pickle.loads(pickle.dumps(loaded))
    assert same_batches(without_workers(epoch, sent, 0), first)


def test_objects_are_loaded_by_workers(loaded, worker_ids):
    objects = [torch.rand(index % 3, 5) for index in range(len(loaded.train))]
    boxes = replace(loaded, task="detect", train=BoxSplit(read=ImageFiles(loaded.train.image_files), objects=objects))
    assert same_batches(epoch(boxes, 0), without_workers(epoch, boxes, 0))
    assert worker_ids()


def test_error_of_an_image_ends_the_workers(loaded, image_folder, worker_ids):
    next(image_folder.glob("train/cat/*")).write_bytes(b"")
    with pytest.raises(FileError, match="it is empty"):
        epoch(loaded, 0)
    assert ends(worker_ids)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_loading_leaves_torchs_random_numbers_as_they_are(loaded, monkeypatch, workers):
    monkeypatch.setenv("TINYNAS_LOADERS", workers)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(itertools.islice(loaded.training_batches(2, (24,), seed=0, epoch=0), 2))
    assert torch.equal(torch.rand(1), expected)
