import json
from io import BytesIO, StringIO, TextIOWrapper

import pytest
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


COMPARED = {
    "series": "retrained",
    "name": "mobilenet-v2-tiny-scaled",
    "images": "mnist-5k test",
    "accuracy %": "80.95 ± 4.31 (2 seeds)",
    "MACs (FLOPs)": "97.3K",
    "params": "22.5K",
    "peak SRAM": "3.06KB",
    "flash": "30.4KB",
    "hypervolume": "3.84",
}


def shown_on_terminal(width, rows, left):
    """Return the lines of a table on a terminal."""
    screen, text = Screen(), StringIO()
    screen.console = Console(file=text, force_terminal=True, color_system=None, soft_wrap=True, width=width)
    screen.table("Comparison", rows, left=left)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 113, 114, 140])
def test_wide_table_is_shown_in_parts_that_fit_the_terminal(width):
    lines = shown_on_terminal(width, [COMPARED, COMPARED | {"name": "searched"}], left=3)
    assert max(map(len, lines)) <= width
    of_row = [line for line in lines if COMPARED["name"] in line]
    for cell in COMPARED.values():
        assert any(cell in line for line in of_row)
    assert any("   97.3K" in line for line in of_row)  # right, though it may be the third column of its part
    assert (len(of_row) == 1) == (width >= 114)
    assert sum("searched" in line for line in lines) == len(of_row)
    assert sum("Comparison" in line for line in lines) == 1


def test_columns_of_a_table_are_closer_before_it_is_shown_in_parts():
    row = {"": "best", "accuracy": "95.54 ± 1.09", "MACs": "64.3K"}
    (wide,) = [line for line in shown_on_terminal(40, [row], left=1) if "best" in line]
    (narrow,) = [line for line in shown_on_terminal(26, [row], left=1) if "best" in line]
    assert wide.strip() == "best   95.54 ± 1.09   64.3K"
    assert narrow.strip() == "best 95.54 ± 1.09 64.3K"


def test_table_is_not_shown_with_json(capsys):
    screen = Screen(as_json=True)
    screen.table("Networks", ROWS)
    screen.document({"a": 1})
    assert capsys.readouterr().out == '{\n "a": 1\n}\n'


@pytest.mark.parametrize(
    ("environment", "is_shown"),
    [
        ({}, True),
        ({"RANK": "3"}, True),  # as a cluster's jobs have it
        ({"RANK": "3", "WORLD_SIZE": "8"}, True),
        ({"RANK": "3", "TORCHELASTIC_RUN_ID": "none"}, False),
        ({"RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, True),
    ],
)
def test_screen_is_silent_only_in_the_further_processes_of_torchrun(tinynas, monkeypatch, environment, is_shown):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, out, err = tinynas("cost", "mcunet-in3", "--json")
    assert (code, err) == (0, "")
    assert bool(out) == is_shown
    if is_shown:
        assert json.loads(out)["name"] == "mcunet-in3"


def test_screen_shows_names_as_they_are():
    """Square brackets and colons would be read as styles and emoji, and an unknown end of a style be an error."""
    name = "[/] [red]cat[/red] :smile:"
    screen, text = Screen(), StringIO()
    screen.console = Console(file=text, force_terminal=True, no_color=True, markup=False, emoji=False, width=80)
    with screen:
        screen.advance(name, 1, 2, name)
        screen.note(name)
        screen.table(name, [{name: name}])
    assert text.getvalue().count(name) >= 5


def test_console_reads_no_styles_or_emoji(capsys):
    Screen().console.print("[red]cat[/red] [/] :smile:")
    assert capsys.readouterr().out == "[red]cat[/red] [/] :smile:\n"


def test_table_in_a_pipe_aligns_wide_characters(capsys):
    Screen().table("Classes", [{"": "方块", "%": "1"}, {"": "cat", "%": "20"}])
    assert capsys.readouterr().out.splitlines() == ["Classes", "       %", "方块   1", "cat   20"]


def test_table_in_a_pipe_aligns_the_escapes_of_characters_that_its_encoding_lacks():
    screen, bytes_written = Screen(), BytesIO()
    file = TextIOWrapper(bytes_written, encoding="ascii", errors="backslashreplace")
    screen.console = Console(file=file, soft_wrap=True)
    screen.table("Classes", [{"": "方块", "± %": "1"}, {"": "cat\n", "± %": "20"}])
    file.flush()
    assert bytes_written.getvalue().decode("ascii").splitlines() == [
        "Classes",
        r"              \xb1 %",
        r"\u65b9\u5757       1",
        r"cat\n             20",
    ]
