import yaml

from helpers import SMALL


def test_screen_shows_progress_in_a_pipe_as_plain_lines(tinynas, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    _, out, _ = tinynas("search", "--space", space, "--epochs", "1", "--trials", "3")
    assert "data: digits" in out
    assert "\x1b" not in out
    assert "supernet" in out
    assert "search 3/3: best" in out
