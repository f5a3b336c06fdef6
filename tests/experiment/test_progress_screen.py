import re
from io import StringIO

import pytest
from rich.console import Console

from tinynas.experiment.progress_screen import ProgressScreen

SEARCHED = "best 98.3% on search-val, 2 on the front, 21 stopped early, 0 infeasible samples rejected"
TRAINED = "epoch 7/10, loss 1.234, 25.5 batches/s"
BAR = "━"
CONTROL = re.compile(r"\x1b\[[?0-9;]*[a-zA-Z]")  # what moves the cursor and sets colours


def shown(width, tasks):
    """Return the lines that a terminal shows at the end of tasks, each a name, a count, a total and a text."""
    screen, text = ProgressScreen(), StringIO()
    screen.console = Console(file=text, force_terminal=True, no_color=True, soft_wrap=True, width=width)
    with screen:
        for task in tasks:
            screen.advance(*task)
    lines = [line.rstrip() for line in CONTROL.sub("", text.getvalue()).splitlines() if line.strip()]
    assert max(map(len, lines)) <= width
    return lines[-len(tasks) :]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140])
@pytest.mark.parametrize("text", [SEARCHED, TRAINED])
def test_name_count_and_time_left_are_whole_at_every_width(width, text):
    (line,) = shown(width, [("search", 8, 100, text)])
    assert line.startswith("search ")
    assert "  8/100 -:--:-- " in line
    kept = line.split("-:--:-- ")[1]
    assert kept == text or (kept.endswith("…") and text.startswith(kept[:-1]) and len(line) == width)


def test_bar_shrinks_then_disappears_before_the_text_is_cut():
    bars = []
    for width in range(140, 40, -1):
        (line,) = shown(width, [("search", 100, 100, SEARCHED)])
        bars.append(line.count(BAR))
        assert not bars[-1] or line.endswith(SEARCHED)
    assert bars == sorted(bars, reverse=True)
    assert bars[0] == 24
    assert 12 in bars
    assert bars[-1] == 0


def test_lines_of_tasks_are_aligned_and_each_is_within_the_terminal():
    name = "mobilenet-v2-tiny-scaled-plain-s4"
    first, second = shown(80, [("supernet", 90, 90, TRAINED), (name, 1, 1280, TRAINED)])
    assert first.startswith("supernet ")
    assert second.startswith(f"{name}    1/1280 -:--:-- epoch")
    assert first.index("epoch") == second.index("epoch")


def test_only_a_name_that_leaves_no_room_is_cut():
    (line,) = shown(40, [("a-name-" * 10, 8, 100, TRAINED)])
    assert line.startswith("a-name-")
    assert line.endswith("…   8/100 -:--:--")
