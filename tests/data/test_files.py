import json
import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pictures import COLOUR, GREY, encoded
from tinynas.data import files as files_module
from tinynas.data.files import ImageFile, check_files
from tinynas.data.images import ImageFacts
from tinynas.utils.paths import cache_folder

FACTS = ImageFacts("PNG", "RGB", 7, 5, 1, False, False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path):
    """Five images and a text."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(encoded(COLOUR + np.uint8(i), "PNG"))
    (folder / "5.png").write_text("text")
    return [str(folder / f"{i}.png") for i in range(6)]


@pytest.fixture
def decoded(monkeypatch):
    """Counts decoded files."""
    contents = []
    check = files_module.check_image

    def counting(content):
        contents.append(content)
        return check(content)

    monkeypatch.setattr(files_module, "check_image", counting)
    return contents


def cache_files():
    return list((cache_folder() / "images").glob("*.json"))


def test_files_are_checked_in_their_order(paths):
    images = check_files(paths[::-1])
    assert [image.path for image in images] == paths[::-1]
    assert images[0] == ImageFile(paths[5], problem="it is not an image, or in a format that is not read")
    assert [image.facts for image in images[1:]] == [FACTS] * 5
    assert len({image.digest for image in images[1:]}) == 5
    assert check_files([]) == []


def test_second_check_reads_no_image_again(paths, decoded):
    first = check_files(paths)
    assert len(decoded) == 6
    assert check_files(paths) == first
    assert len(decoded) == 7, "only what was no image is tried again"
    assert check_files([paths[2], paths[0]]) == [first[2], first[0]]
    assert len(decoded) == 7
    assert check_files(paths[:1]) == first[:1]


def test_changed_files_are_read_again(paths, decoded):
    before = check_files(paths[:5])
    status = os.stat(paths[0])
    os.utime(paths[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with open(paths[1], "ab") as file:
        file.write(b"more")
    shutil.copy(paths[3], paths[2])
    after = check_files(paths[:5])
    assert len(decoded) == 8
    assert after[0] == before[0]
    assert after[1].digest != before[1].digest
    assert after[2].digest == before[3].digest
    os.unlink(paths[4])
    assert check_files(paths[:5])[4].problem == "No such file or directory"


def test_swapped_files_of_the_same_size_and_time_are_read_again(tmp_path):
    """As they are in an archive of bitmaps."""
    paths = [str(tmp_path / f"{name}.bmp") for name in "ab"]
    for number, path in enumerate(paths):
        (tmp_path / path).write_bytes(encoded(GREY + np.uint8(number), "BMP"))
        os.utime(path, (1_000_000_000, 1_000_000_000))
    before = check_files(paths)
    os.rename(paths[0], tmp_path / "c")
    os.rename(paths[1], paths[0])
    os.rename(tmp_path / "c", paths[1])
    assert [image.digest for image in check_files(paths)] == [before[1].digest, before[0].digest]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 2}',
        b'{"version": 2, "images": []}',
        b'{"version": 2, "images": 3}',
        b'{"version": 0, "images": {}}',
        b"\xff\xfe\x00",
    ],
)
def test_damaged_cache_is_written_anew(paths, decoded, content):
    first = check_files(paths[:5])
    (cache,) = cache_files()
    cache.write_bytes(content)
    assert check_files(paths[:5]) == first
    assert len(decoded) == 10
    assert check_files(paths[:5]) == first
    assert len(decoded) == 10


@pytest.mark.parametrize("entry", [None, 3, [], [[1, 2, 3], "digest", []], ["a", "b"], {"a": 1}])
def test_damaged_entry_is_read_again(paths, decoded, entry):
    first = check_files(paths[:5])
    (cache,) = cache_files()
    document = json.loads(cache.read_bytes())
    document["images"][paths[1]] = entry
    cache.write_text(json.dumps(document))
    assert check_files(paths[:5]) == first
    assert len(decoded) == 6


def test_cache_that_cannot_be_written_is_no_error(paths, decoded, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        first = check_files(paths[:5])
        assert check_files(paths[:5]) == first
    assert len(decoded) == 10
    assert "images will be checked again next time" in caplog.text


def test_processes_share_a_cache(paths, decoded):
    program = "import sys; from tinynas.data.files import check_files; print(len(check_files(sys.argv[1:])))"
    words = [sys.executable, "-c", program, *paths]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["6\n", "6\n"]
    assert [image.facts for image in check_files(paths[:5])] == [FACTS] * 5
    assert decoded == []
    assert len(cache_files()) == 1


def test_progress_of_a_long_check_is_logged(paths, monkeypatch, caplog):
    monkeypatch.setattr(files_module, "_LOG_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        check_files(paths)
    text = f"checked 6 of 6 images, once; the result is kept in {cache_folder()}"
    assert caplog.messages[-1] == text
    assert len(caplog.messages) == 6
