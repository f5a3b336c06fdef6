"""Imports go down only: six floors of packages, siblings apart, torch and optuna where they are needed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinynas"

FLOORS = [
    {"utils"},
    {"arch", "data", "kernels"},
    {"models", "tasks"},
    {"training", "study", "early_exit", "deploy", "blocks"},
    {"experiment"},
    {"pipelines"},
]

FLOOR_OF = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.glob("*/**/*.py"))
WITHOUT_TORCH = ("arch", "blocks", "experiment", "utils")


def imports_of(tree):
    """(level, module, names) of every import statement, also of those in functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((0, alias.name, []) for alias in node.names)


def parsed(path):
    return ast.parse((PACKAGE / path).read_text())


def modules_imported_by(path):
    """The modules of tinynas that a module imports, as paths below tinynas/."""
    for level, module, names in imports_of(parsed(path)):
        if level == 0:
            assert module.split(".")[0] not in ("tinynas", "cli"), f"{path} imports {module} by its full name"
            continue
        assert level <= len(path.parts), f"{path} leaves the package"
        base = PACKAGE / path.parents[level - 1]
        target = base.joinpath(*module.split(".")) if module else base
        if target.is_dir():
            yield from ((target / f"{name}.py").relative_to(PACKAGE) for name in names)
        else:
            yield target.with_suffix(".py").relative_to(PACKAGE)


def packages_imported_by(path):
    """The top-level names of other distributions that a file imports."""
    return {module.split(".")[0] for level, module, _ in imports_of(ast.parse(path.read_text())) if level == 0}


def test_modules_lie_in_packages_of_the_floors():
    assert {path.parts[0] for path in MODULES} == set(FLOOR_OF)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_modules_import_only_their_own_package_and_lower_floors(path):
    own = path.parts[0]
    for other in modules_imported_by(path):
        assert other in MODULES, f"{path} imports {other}, which does not exist"
        package = other.parts[0]
        assert package == own or FLOOR_OF[package] < FLOOR_OF[own], f"{path} imports {other}"


def test_imports_have_no_cycle():
    done, open_ = set(), []

    def visit(path):
        assert path not in open_, f"cycle: {' -> '.join(map(str, [*open_, path]))}"
        if path in done:
            return
        open_.append(path)
        for other in modules_imported_by(path):
            visit(other)
        done.add(open_.pop())

    for path in MODULES:
        visit(path)


def test_optuna_is_imported_only_in_study():
    paths = [*PACKAGE.rglob("*.py"), *(ROOT / "cli").glob("*.py")]
    assert {path.parent.name for path in paths if "optuna" in packages_imported_by(path)} == {"study"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_library_does_not_import_the_command_line(path):
    imported = {"cli", "typer", "rich"} & packages_imported_by(PACKAGE / path)
    assert imported == ({"rich"} if path.name == "progress_screen.py" else set())


def modules_without_torch():
    return [path for path in MODULES if path.parts[0] in WITHOUT_TORCH and path.name != "distributed.py"]


def test_torch_is_not_imported_by_arch_experiment_and_utils():
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in modules_without_torch()]
    code = "\n".join(f"import tinynas.{name}" for name in names)
    subprocess.run([sys.executable, "-c", f"{code}\nimport sys\nassert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize("statement", ["import tinynas.cli.app", "import tinynas; tinynas.load_space('micro').min()"])
def test_help_and_counting_import_nothing_heavy(statement):
    code = f"{statement}\nimport sys\nassert not {{'torch', 'optuna', 'matplotlib', 'numpy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


ONE_STEP = """
import sys
import torch
unneeded = set("torchvision scipy sklearn matplotlib optuna sqlalchemy onnx torch._dynamo torch.onnx".split())
unneeded -= set(sys.modules)
from tinynas.cli.app import app
from tinynas.training import loop

train_step = loop.train_step

def first_step(*arguments, **settings):
    train_step(*arguments, **settings)
    print("one step, and imported:", *sorted(unneeded & set(sys.modules)))
    sys.exit()

loop.train_step = first_step
app(sys.argv[1:])
"""


@pytest.mark.parametrize("words", [["search", "--space", "micro"], ["retrain", "mobilenet-v2-tiny"]], ids=" ".join)
def test_training_begins_without_what_it_does_not_need(words, tmp_path):
    command = [sys.executable, "-c", ONE_STEP, *words, "--data", "digits", "--batch-size", "4"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment).stdout
    assert out.splitlines()[-1] == "one step, and imported:"


def test_checkout_works_without_installation(tmp_path):
    code = "import tinynas, tinynas.cli.app; tinynas.load_arch('mcunet-in3'); print(tinynas.__file__)"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}; {code}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert out.strip() == str(ROOT / "tinynas" / "__init__.py")
