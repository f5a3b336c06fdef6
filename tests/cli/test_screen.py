from io import StringIO

import yaml
from rich.console import Console
from tinynas.cli.screen import Screen

from helpers import SMALL

ROWS = [
    {"network": "small", "test accuracy %": "71.20", "peak SRAM": "2.30KB"},
    {"network": "larger one", "test accuracy %": "9.85", "peak SRAM": "112KB"},
]


def test_screen_shows_progress_in_a_pipe_as_plain_lines(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    _, out, _ = tinynas("search", "--space", space, "--epochs", "1", "--trials", "3")
    assert "data: digits" in out
    assert "\x1b" not in out
    assert "supernet" in out
    assert "search 3/3: best" in out


def test_table_in_a_pipe_aligns_words_left_and_numbers_right(capsys):
    Screen().table("Networks", ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "Networks",
        "network     test accuracy %  peak SRAM",
        "small                 71.20     2.30KB",
        "larger one             9.85      112KB",
    ]


def test_table_on_a_narrow_terminal_wraps_titles_and_cuts_nothing():
    screen, text = Screen(), StringIO()
    screen.console = Console(file=text, force_terminal=True, no_color=True, width=20)
    screen.table("Networks", ROWS)
    shown = text.getvalue()
    assert "…" not in shown
    for row in ROWS:
        for cell in row.values():
            assert cell in shown
    for word in ("accuracy", "SRAM"):
        assert word in shown


def test_table_is_not_shown_with_json(capsys):
    screen = Screen(as_json=True)
    screen.table("Networks", ROWS)
    screen.document({"a": 1})
    assert capsys.readouterr().out == '{\n "a": 1\n}\n'
