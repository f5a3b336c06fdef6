import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import ROOT
from tinynas.utils.errors import FileError
from tinynas.utils.io import (
    append_line,
    from_json,
    json_digest,
    read_json,
    read_text,
    removed_if_empty,
    reserve_folder,
    to_json,
    write,
    write_json,
)

NAN, INF = float("nan"), float("inf")


def strict(text):
    """What a parser reads that knows no NaN and no Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (NAN, None),
        ({"a": NAN, "b": [INF, (-INF, 1.5)]}, {"a": None, "b": [None, [None, 1.5]]}),
        ({"text": "NaN", "yes": True, "no": None, "count": 3}, {"text": "NaN", "yes": True, "no": None, "count": 3}),
    ],
)
def test_json_has_null_for_what_is_not_finite(tmp_path, document, expected):
    assert strict(to_json(document)) == expected
    write_json(tmp_path / "document.json", document)
    assert strict((tmp_path / "document.json").read_text()) == expected
    append_line(tmp_path / "lines.jsonl", document)
    append_line(tmp_path / "lines.jsonl", document)
    assert list(map(strict, (tmp_path / "lines.jsonl").read_text().splitlines())) == [expected, expected]


def test_from_json_reads_what_older_versions_wrote():
    assert from_json('{"a": NaN, "b": [Infinity, -Infinity, 2]}') == {"a": None, "b": [None, None, 2]}


def test_json_digest_depends_on_the_content_only():
    assert json_digest({"a": 1.5, "b": (1, 2)}) == json_digest({"b": [1, 2], "a": 1.5})
    digests = {json_digest(document) for document in ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, [1])}
    assert len(digests) == 6


def test_all_json_is_written_by_one_function():
    writers = []
    for folder in ("tinynas", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            writers += [path.name for _ in re.findall(r"\bjson\.dumps?\b|\bfrom json import .*dump", path.read_text())]
    assert writers == ["io.py"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_without_a_byte_order_mark(tmp_path, encoding):
    file = tmp_path / "a.json"
    file.write_bytes('{"name": "größe 猫"}'.encode(encoding))
    assert read_text(file) == '{"name": "größe 猫"}'
    assert read_json(file) == {"name": "größe 猫"}


@pytest.mark.parametrize("content", [b"\xff", b"\xff\xfe\x00", b"a\xe9"])
def test_what_is_no_text_is_an_error(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(FileError, match=r"a.txt is not a text file in UTF-8; restore it, or save it in UTF-8$"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "9" * 5000])
def test_damaged_json_is_an_error_of_one_line(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(FileError, match=r"a.json is damaged: .*; restore or recreate it$") as error:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value)


WRITER = """
import sys
from pathlib import Path
from tinynas.utils.io import write
path = Path(sys.argv[1])
while True:
    for letter in b"AB":
        write(path, bytes([letter]) * 3_000_000)
"""


def test_write_leaves_no_half_file_when_it_is_killed_and_removes_old_leftovers(tmp_path):
    path = tmp_path / "a [1].bin"
    for seconds in (0.0, 0.003, 0.008, 0.013):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path])
        while not path.exists() and writer.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        writer.kill()
        writer.wait()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1
    young, old, other = (tmp_path / name for name in (".a [1].bin.0a.tmp", ".a [1].bin.123.tmp", ".other.123.tmp"))
    for leftover in (young, old, other):
        leftover.write_bytes(b"half")
    day_ago = time.time() - 86_500
    for leftover in (old, other):
        os.utime(leftover, (day_ago, day_ago))
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert (young.exists(), old.exists(), other.exists()) == (True, False, True)


def test_write_replaces_files_alone(tmp_path):
    pipe, folder, link, file = (tmp_path / name for name in ("pipe", "folder", "link", "file"))
    os.mkfifo(pipe)
    folder.mkdir()
    for path, what in ((pipe, "a device or a pipe"), (folder, "a folder"), (Path(), "a folder")):
        with pytest.raises(FileError, match=f"cannot write {re.escape(str(path))}: it is .*{what}; name a file"):
            write(path, "text")
    assert pipe.is_fifo()
    link.symlink_to(file)
    for text in ("first", "second"):
        write(link, text)
        assert (link.is_symlink(), file.read_text()) == (True, text)


def test_write_syncs_the_file_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, os.replace

    def noted_fsync(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def noted_rename(source, destination):
        events.append("rename")
        rename(source, destination)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_rename)
    write(tmp_path / "a", "text")
    write(tmp_path / "a", "text")
    assert [events[1:3], events[4:6]] == [["rename", str(tmp_path)]] * 2
    assert events[0] != events[3]  # a name of its own for every write
    for name in (events[0], events[3]):
        assert re.fullmatch(rf"{re.escape(str(tmp_path))}/\.a\.[0-9a-f]{{16}}\.tmp", name)


def test_write_does_without_a_folder_that_cannot_be_synced(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if os.path.isdir(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write(tmp_path / "a", "text")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "text"


def test_write_removes_its_temporary_file_when_it_is_interrupted(tmp_path, monkeypatch):
    def interrupt(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a", "text")
    assert os.listdir(tmp_path) == []


RESERVER = """
import sys
from pathlib import Path
from tinynas.utils.io import reserve_folder
sys.stdin.readline()
print([reserve_folder(Path(sys.argv[1])).name for _ in range(50)])
"""


def test_reserve_folder_gives_every_process_folders_of_its_own(tmp_path):
    processes = []
    for _ in range(3):
        command = [sys.executable, "-c", RESERVER, tmp_path / "runs" / "a"]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    names = []
    for process in processes:
        names += json.loads(process.communicate()[0].replace("'", '"'))
    expected = ["a", *(f"a-{number}" for number in range(2, 151))]
    assert sorted(names) == sorted(expected) == sorted(os.listdir(tmp_path / "runs"))


def test_reserve_folder_names_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"/file is a file, but a folder is needed there; choose another folder$"):
        reserve_folder(tmp_path / "file" / "a")


def test_removed_if_empty_keeps_what_was_written(tmp_path):
    def write_and_fail(path, *, is_written):
        if is_written:
            path.touch()
        raise FileError("it fails")

    for is_written in (False, True):
        folder = reserve_folder(tmp_path / "run" / "part")
        with pytest.raises(FileError), removed_if_empty(folder, folder.parent):
            write_and_fail(folder / "file", is_written=is_written)
        assert (tmp_path / "run").exists() == is_written
    with removed_if_empty(tmp_path / "run"):
        (folder / "file").unlink()
        folder.rmdir()
    assert (tmp_path / "run").exists()
