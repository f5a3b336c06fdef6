from dataclasses import replace

import pytest
import torch

from helpers import RECIPE
from tinynas import build
from tinynas.data.base import Normalisation
from tinynas.data.joined import with_search_val_in_train
from tinynas.training import teacher_outputs
from tinynas.training.distillation import Teacher
from tinynas.training.teacher_outputs import TeacherOutputs


@pytest.fixture
def net(space):
    """A network that distinguishes images, and answers alike every time."""
    torch.manual_seed(0)
    net = build(replace(space.min(), resolution=12))
    torch.nn.init.normal_(net.head.classifier.weight)
    return net


@pytest.fixture
def outputs_in(net, data, tmp_path):
    """Makes the outputs of a teacher for a training, saved in one folder; `evaluated` and `notes` are lists."""

    def make(recipe=RECIPE, *, net=net, data=data, resolution=12, epochs=range(2), start=0, folder="outputs"):
        teacher, notes, evaluated = Teacher(net), [], []
        evaluate = teacher.evaluate

        def counted(images):
            evaluated.append(len(images))
            return evaluate(images)

        teacher.evaluate = counted
        outputs = TeacherOutputs(
            teacher, data, recipe, resolution=resolution, folder=tmp_path / folder, note=notes.append
        )
        rows = []
        for epoch in epochs:
            batches = data.training_batches(
                recipe.batch_size,
                [resolution],
                seed=recipe.seed,
                epoch=epoch,
                start=start,
                augmentation=recipe.augmentation,
            )
            for batch in batches:
                with_outputs = outputs.add_to(batch, epoch)
                rows.append((batch, with_outputs.teacher_outputs))
        return rows, sum(evaluated), notes

    return make


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.mark.parametrize("augmentation", ["none", "light", "standard", "strong"])
def test_outputs_are_computed_once_and_are_those_of_the_teacher(outputs_in, net, data, tmp_path, augmentation):
    recipe = replace(RECIPE, augmentation=augmentation)
    first, computed, notes = outputs_in(recipe)
    again, computed_again, _ = outputs_in(replace(recipe, epochs=9, lr=0.3))
    assert computed == len(data.train) * (1 if augmentation == "none" else 2)
    assert computed_again == 0
    assert not notes
    for (batch, outputs), (_, outputs_again) in zip(first, again, strict=True):
        assert torch.equal(outputs, outputs_again)
        torch.testing.assert_close(outputs, net(batch.images))
    written = files(tmp_path / "outputs")
    names = ["images"] if augmentation == "none" else ["epoch-0", "epoch-1"]
    assert sorted(name.split("/")[1] for name in written) == [f"{name}.safetensors" for name in names]
    outputs_in(recipe, folder="others")
    assert files(tmp_path / "others") == written, "who computes the same writes the same file"


CHANGES = {
    "seed": {"seed": 1},
    "batch size": {"batch_size": 24},
    "augmentation": {"augmentation": "strong"},
    "crops": {"crop_scale": 0.5},
    "brightness": {"brightness": 0.2},
    "no augmentation": {"augmentation": "none"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_outputs_are_not_shared_by_trainings_on_other_pixels(outputs_in, data, change):
    outputs_in()
    _, computed, _ = outputs_in(replace(RECIPE, **CHANGES[change]), epochs=range(1))
    assert computed == len(data.train)


def test_outputs_without_augmentation_do_not_depend_on_seed_and_batch_size(outputs_in):
    recipe = replace(RECIPE, augmentation="none")
    outputs_in(recipe)
    assert outputs_in(replace(recipe, seed=1, batch_size=24))[1] == 0


@pytest.mark.parametrize("augmentation", ["none", "standard"])
def test_outputs_are_not_shared_by_other_teachers_images_and_resolutions(outputs_in, net, data, augmentation):
    recipe = replace(RECIPE, augmentation=augmentation)
    outputs_in(recipe)
    other = build(net.arch)
    images = data.train.images.clone()
    images[5, 0, 0, 0] += 1
    changes = [
        {"net": other},
        {"data": replace(data, train=replace(data.train, images=images))},
        {"data": replace(data, train=replace(data.train, flip=True))},
        {"data": replace(data, normalise=Normalisation(mean=(0.3,), std=(0.3,)))},
        {"data": with_search_val_in_train(data)},
        {"resolution": 16},
    ]
    for change in changes:
        assert outputs_in(recipe, epochs=range(1), **change)[1] > 0, change


def test_outputs_of_other_threads_are_not_read(outputs_in, monkeypatch):
    outputs_in()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert outputs_in()[1] > 0


def test_an_interrupted_epoch_is_not_saved(outputs_in, tmp_path):
    outputs_in(epochs=[0], start=3)
    assert not files(tmp_path / "outputs")
    rows, computed, _ = outputs_in(epochs=[0])
    assert computed == len(rows) * RECIPE.batch_size
    assert outputs_in(epochs=[0], start=3)[1] == 0


@pytest.mark.parametrize("augmentation", ["none", "standard"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_damaged_files_are_computed_again(outputs_in, data, tmp_path, augmentation, damage):
    recipe = replace(RECIPE, augmentation=augmentation)
    expected, _, _ = outputs_in(recipe, epochs=[0])
    (path,) = (tmp_path / "outputs").rglob("*.safetensors")
    raw = path.read_bytes()
    if damage == "other":
        outputs_in(recipe, data=with_search_val_in_train(data), epochs=[0], folder="others")
    damaged = {
        "cut": raw[:-9],
        "flipped": raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:],
        "other": next(iter(files(tmp_path / "others").values()), b""),
    }[damage]
    path.write_bytes(damaged)
    rows, computed, notes = outputs_in(recipe, epochs=[0])
    assert computed > 0
    (note,) = notes
    assert note.startswith(f"{path} is corrupt")
    assert note.endswith("the teacher is evaluated again")
    assert path.read_bytes() == raw
    for (_, outputs), (_, outputs_before) in zip(rows, expected, strict=True):
        assert torch.equal(outputs, outputs_before)


@pytest.mark.parametrize("augmentation", ["none", "standard"])
def test_outputs_that_take_too_much_are_not_saved(outputs_in, data, tmp_path, monkeypatch, augmentation):
    recipe = replace(RECIPE, augmentation=augmentation)
    passes = 1 if augmentation == "none" else RECIPE.epochs
    size = len(data.train) * 3 * 4 * passes
    monkeypatch.setattr(teacher_outputs, "MAX_SAVED_BYTES", size - 1)
    _, computed, notes = outputs_in(recipe)
    assert computed == len(data.train) * passes
    assert not files(tmp_path / "outputs")
    (note,) = notes
    assert "not saved for other retrainings" in note
    monkeypatch.setattr(teacher_outputs, "MAX_SAVED_BYTES", size)
    assert not outputs_in(recipe)[2]
    assert files(tmp_path / "outputs")


def test_outputs_of_detectors_are_saved_as_well(detectors, outputs_in):
    from data_parallel import box_data

    arch = detectors.min()
    torch.manual_seed(0)
    net = build(arch)
    for evaluated in (True, False):
        rows, computed, _ = outputs_in(
            replace(RECIPE, batch_size=6), net=net, data=box_data(), resolution=arch.resolution, epochs=[0]
        )
        assert (computed > 0) == evaluated
        assert rows[0][1].shape[2] == 4 + arch.classes
