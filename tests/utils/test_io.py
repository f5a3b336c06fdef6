import json
import re
import threading
import time

import pytest

from helpers import ROOT
from tinynas.utils.errors import FileError
from tinynas.utils.io import (
    append_line,
    exclusive_lock,
    from_json,
    json_digest,
    read_json,
    read_text,
    to_json,
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


def test_only_one_lets_the_next_process_wait(tmp_path):
    path, order = tmp_path / "run" / "lock", []

    def other():
        with exclusive_lock(path, lambda: order.append("waits")):
            order.append("in")

    with exclusive_lock(path, lambda: pytest.fail("no other process held the lock")):
        thread = threading.Thread(target=other)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("out")
    thread.join()
    assert order == ["waits", "out", "in"]


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
