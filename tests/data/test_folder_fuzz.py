"""Valid folders with random damage: the right data, or an error of one line; never another exception."""

import os
import shutil
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pictures import ENDINGS, fill
from tinynas.data.registry import load_data
from tinynas.utils.errors import TinyNASError

TREE = {
    f"{part}/{name}/{kind}": count
    for part, count in (("train", 2), ("val", 1))
    for name in ("ant", "bee", "cat")
    for kind in ("*.png", "x*.jpg", "y*.webp", "z*.gif")
}
READ = (".png", *ENDINGS)  # endings that are read


def cut(file, rng):
    file.write_bytes(file.read_bytes()[: rng.integers(file.stat().st_size + 1)])


def flip(file, rng):
    content = bytearray(file.read_bytes())
    for place in rng.integers(len(content), size=3) if content else ():
        content[place] ^= 1 << rng.integers(8)
    file.write_bytes(content)


def empty(file, rng):
    file.write_bytes(b"")


def remove(file, rng):
    file.unlink()


def rename(file, rng):
    names = ("a\nb.png", "ü %s.PNG", "caf\udce9.gif", ".hidden.png", "Thumbs.db", "x" * 250 + ".png", "$x$.jpg")
    file.rename(file.with_name(str(rng.choice(names))))


def give_other_ending(file, rng):
    file.rename(file.with_suffix(str(rng.choice([".jpg", ".BMP", ".webp", ".txt", ".heic", ""]))))


def move(file, rng):
    """To another class or part, also one that does not exist."""
    folder = rng.choice(["train", "val", "test"])
    target = file.parents[2] / folder / str(rng.choice(["ant", "bee", "cat", "dog", ".", "ant/deep"])) / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    file.rename(target)


def turn_into_folder(file, rng):
    content = file.read_bytes()
    file.unlink()
    file.mkdir()
    (file / "inner.png").write_bytes(content)


def turn_into_link(file, rng):
    file.unlink()
    file.symlink_to(str(rng.choice(["nowhere", "..", ".", file.name, "../bee"])))


def turn_into_pipe(file, rng):
    file.unlink()
    os.mkfifo(file)


def remove_class(file, rng):
    for other in file.parent.iterdir():
        if other.is_file() and not other.is_symlink():
            other.unlink()


DAMAGES = (
    cut,
    flip,
    empty,
    remove,
    rename,
    give_other_ending,
    move,
    turn_into_folder,
    turn_into_link,
    turn_into_pipe,
    remove_class,
)


@pytest.fixture(scope="module")
def valid_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    fill(folder, TREE)
    return folder


def damaged(folder, rng):
    """Damage a folder in one to three ways."""
    for _ in range(rng.integers(1, 4)):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        if files:
            rng.choice(DAMAGES)(files[rng.integers(len(files))], rng)


def images_below(folder, visited=()):
    """The images in a folder, as the documentation says, counted without os.walk."""
    real = folder.resolve()
    if real in visited:
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith(".") or name == "Thumbs.db":
            continue
        if path.is_dir():
            yield from images_below(path, (*visited, real))
        elif name.lower().endswith(READ):
            yield path


def images_by_class(part):
    """The image files of each class of train/ or val/, by their real paths: a link may lead to one from two places."""
    classes = {}
    for folder in sorted(part.iterdir()) if part.is_dir() else []:
        if folder.is_dir() and not folder.name.startswith("."):
            classes[folder.name] = {os.path.realpath(file.parent) + "/" + file.name for file in images_below(folder)}
    return {name: files for name, files in classes.items() if files}


def files_by_class(data, *splits):
    files = {}
    for split in splits:
        for file, label in zip(split.files, split.labels.tolist(), strict=True):
            real = os.path.realpath(os.path.dirname(file)) + "/" + os.path.basename(file)
            files.setdefault(data.classes[label], set()).add(real)
    return files


def is_readable(path):
    """Whether PIL decodes a file."""
    if not os.path.isfile(path):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
    except Exception:  # PIL raises almost anything
        return False
    return True


def check_data(data, folder):
    """Compare the data with the readable images in the folders."""
    train, test = images_by_class(folder / "train"), images_by_class(folder / "val")
    assert data.classes == tuple(train)
    assert set(test) <= set(train)
    unreadable = 0
    for expected, splits in ((train, (data.train, data.val)), (test, (data.test,))):
        loaded = files_by_class(data, *splits)
        assert set(loaded) <= set(expected)
        for name, files in expected.items():
            readable = {file for file in files if is_readable(file)}
            assert loaded.get(name, set()) == readable
            unreadable += len(files) - len(readable)
        assert sum(map(len, loaded.values())) == sum(map(len, splits))
    start = "1 image that cannot be read: " if unreadable == 1 else f"{unreadable} images that cannot be read: "
    lines = [line for line in data.left_out if line.startswith(start)]
    assert len(lines) == (unreadable > 0)
    for split in data.splits.values():
        batches = list(data.evaluation_batches(split, 8))
        assert sum(len(images) for images, _ in batches) == len(split) > 0
    epoch = list(data.training_batches(4, (8,), seed=0, epoch=0))
    assert all(batch.images.isfinite().all() for batch in epoch)


def load_or_message(folder, *, skip_unreadable):
    """The data set and "", or None and the message of the error."""
    try:
        return load_data(f"imagefolder:{folder}", skip_unreadable=skip_unreadable), ""
    except TinyNASError as error:
        return None, str(error)


@pytest.mark.parametrize("seed", range(100))
def test_damaged_folders_give_the_right_data_or_an_error_of_one_line(valid_folder, tmp_path, seed):
    folder = shutil.copytree(valid_folder, tmp_path / "damaged")
    damaged(folder, np.random.default_rng(seed))
    data, message = load_or_message(folder, skip_unreadable=False)
    skipping, refusal = load_or_message(folder, skip_unreadable=True)
    for loaded in (data, skipping):
        if loaded is not None:
            check_data(loaded, folder)
    for text in (message, refusal):
        assert "\n" not in text
        assert len(text) < 2000
    if refusal:
        train, test = images_by_class(folder / "train"), images_by_class(folder / "val")
        lost = any(not any(map(is_readable, files)) for files in train.values())
        none_to_test = not any(map(is_readable, set().union(*test.values())))
        assert len(train) < 2 or set(test) - set(train) or lost or none_to_test
    elif message:
        assert "cannot be read" in message


def test_seeds_give_whole_data_data_with_unreadable_images_and_errors(valid_folder, tmp_path):
    """So that the test above is not of one of them alone."""
    outcomes = Counter()
    for seed in range(30):
        folder = shutil.copytree(valid_folder, tmp_path / str(seed))
        damaged(folder, np.random.default_rng(seed))
        loads = load_or_message(folder, skip_unreadable=False)[0] is not None
        loads_without = load_or_message(folder, skip_unreadable=True)[0] is not None
        outcomes[loads, loads_without] += 1
    assert set(outcomes) == {(True, True), (False, True), (False, False)}
    assert min(outcomes.values()) >= 3, outcomes
