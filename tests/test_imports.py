"""Imports go one way: a room uses only rooms of layers below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"errors"},
    {"units", "files", "parallel"},
    {"arch"},
    {"cost", "choices"},
    {"space"},
    {"feasible"},
    {"nets", "precision", "shipped", "augmentation", "cutting", "pareto"},
    {"supernet", "batchnorm", "exits"},
    {"data"},
    {"loading", "sidenet"},
    {"boxes"},
    {"scattered", "annotated"},
    {"datasets", "objectives"},
    {"detection"},
    {"accuracy", "average_precision"},
    {"tasks"},
    {"delivered", "training", "evaluation"},
    {"study", "predictor", "latency", "export", "exit_models", "exit_pictures"},
    {"samplers", "tflite"},
    {"search", "runs", "reporting", "settings"},
    {"plans", "comparison", "teachers"},
    {"searching", "retraining", "exporting", "exiting", "prediction"},
    {"exit_exporting"},
    {"jobs"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(name.split(".")[0] in ("tinynas", "cli") for name in names), f"{path} imports by full name"


def imported_packages(path):
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add(node.module.split(".")[0])
    return packages


def test_every_room_has_its_layer():
    assert {path.stem for path in (ROOT / "tinynas").glob("*.py")} == {*LEVEL, "__init__"}


@pytest.mark.parametrize("room", sorted(LEVEL))
def test_a_room_imports_only_from_below(room):
    for other in imported(ROOT / "tinynas" / f"{room}.py"):
        assert LEVEL[other] < LEVEL[room], f"{room} imports {other}"


def test_optuna_lives_in_the_rooms_of_search():
    paths = [*(ROOT / "tinynas").glob("*.py"), *(ROOT / "cli").glob("*.py")]
    assert {path.stem for path in paths if "optuna" in imported_packages(path)} == {"search", "samplers", "study"}


def test_the_library_does_not_import_the_command_line():
    for room in LEVEL:
        assert not {"cli", "typer", "rich"} & imported_packages(ROOT / "tinynas" / f"{room}.py")


@pytest.mark.parametrize("statement", ["import tinynas.cli.app", "import tinynas; tinynas.load_space('micro').min()"])
def test_torch_is_not_imported_before_it_is_needed(statement):
    code = f"{statement}\nimport sys\nassert not {{'torch', 'optuna', 'matplotlib', 'numpy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_checkout_works_without_installation(tmp_path):
    code = "import tinynas, tinynas.cli.app; tinynas.load_arch('mcunet-in3'); print(tinynas.__file__)"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}; {code}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert out.strip() == str(ROOT / "tinynas" / "__init__.py")
