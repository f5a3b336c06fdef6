import json
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_example_runs(capsys):
    code = README.split("```python\n")[-1].split("```")[0]
    lines = [line for line in code.splitlines() if "runs/NAME" not in line]
    assert len(lines) > 8
    exec("\n".join(lines), {})
    assert "Cost(macs=" in capsys.readouterr().out


def test_the_sidenet_example_runs(capsys):
    code = next(part for part in README.split("```python\n") if "import SideNet" in part).split("```")[0]
    exec(code, {})
    first, second, whole = json.loads(capsys.readouterr().out)
    assert 0 < first < second < whole


def test_every_picture_is_there():
    pictures = [part.split(")")[0] for part in README.split("](") if part.split(")")[0].endswith(".png")]
    assert len(pictures) >= 2
    assert all((Path(__file__).parent.parent / picture).is_file() for picture in pictures)
