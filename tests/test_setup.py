"""Wheels have the kernels compiled for this machine's architecture if there is a compiler, and their sources always."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fake_compilers import needs_compiler, write_failing_compiler, write_sources

from helpers import ROOT
from tinynas.kernels.build import INSTALLED_SETS

pytest.importorskip("setuptools", minversion="77")

KERNELS = Path("tinynas", "kernels")
SETS = INSTALLED_SETS.get(platform.machine().lower(), ())
BUILD = "from setuptools import build_meta; build_meta.build_wheel('.')"


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a wheel is built from, with a program in place of the kernels that compiles at once."""
    for name in ("tinynas", "cli", "recipes", "search_spaces"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    write_sources(tmp_path / KERNELS, lanes=4)
    return tmp_path


def build_wheel(checkout, **environment):
    """Return the name of the wheel, the names of the kernels' files in it, its WHEEL file and the output."""
    command = [sys.executable, "-c", BUILD]
    output = subprocess.run(
        command, cwd=checkout, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    (wheel,) = checkout.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        folder = f"{KERNELS.as_posix()}/"
        files = {name.removeprefix(folder) for name in archive.namelist() if name.startswith(folder)}
        (record,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/WHEEL"))
    return wheel.name, files, record, output.stdout + output.stderr


def sources():
    return {path.name for path in (ROOT / KERNELS).iterdir() if path.suffix in (".py", ".c", ".h")}


@needs_compiler
@pytest.mark.skipif(not SETS, reason="nothing is compiled for this architecture at installation")
def test_wheel_has_the_kernels_and_is_for_this_platform(checkout):
    name, files, record, _ = build_wheel(checkout)
    libraries = {file for file in files if file.endswith(".so")}
    assert sorted(library.split("-")[0] for library in libraries) == sorted(SETS)
    assert files - libraries == sources()
    _, _, python, abi, tag = name.removesuffix(".whl").split("-")
    assert (python, abi) == ("py3", "none")
    assert tag.endswith(platform.machine().lower()) or "universal2" in tag
    assert "Root-Is-Purelib: false" in record


def test_wheel_without_a_compiler_is_for_any_platform(checkout):
    name, files, record, output = build_wheel(checkout, PATH="", CC="")
    assert files == sources()
    assert name.endswith("-py3-none-any.whl")
    assert "Root-Is-Purelib: true" in record
    assert "no C compiler was found, so the training kernels are not compiled" in output


@pytest.mark.skipif(not SETS, reason="nothing is compiled for this architecture at installation")
def test_wheel_is_built_if_the_compiler_fails(checkout, tmp_path_factory):
    compiler = write_failing_compiler(tmp_path_factory.mktemp("bin") / "cc")
    name, files, _, output = build_wheel(checkout, CC=str(compiler))
    assert files == sources()
    assert name.endswith("-py3-none-any.whl")
    assert f"the training kernels for {SETS[0]} are not compiled: program.c:3:1: error: unknown type" in output
