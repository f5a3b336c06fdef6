"""Compilers are found and used as a user expects, and incomplete libraries are not."""

import ctypes
import os
import platform
import runpy
import subprocess
import sys

import pytest
from fake_compilers import COMPILER, needs_compiler, write_failing_compiler, write_program, write_sources

from tinynas.kernels import build


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A small program in place of the kernels."""
    monkeypatch.setattr(build, "FOLDER", write_sources(tmp_path / "sources", lanes=4))
    return build.FOLDER


def test_compiler_is_that_of_cc(tmp_path, monkeypatch):
    program = write_program(tmp_path / "bin" / "my cc", 'echo "my compiler $*"')
    monkeypatch.setenv("CC", f"'{program}' -m64")
    assert build.find_compiler() == build.Compiler(
        command=[str(program), "-m64"], version="my compiler -m64 --version\n"
    )


@pytest.mark.parametrize("value", ["", "/missing/gcc", "'gcc", "."])
def test_compilers_on_the_path_are_found_if_cc_names_none(tmp_path, monkeypatch, value):
    broken = write_program(tmp_path / "bin" / "cc", "exit 1")  # as on a Mac without developer tools
    program = write_program(broken.with_name("clang"), 'echo "clang 99"')
    monkeypatch.setenv("PATH", str(broken.parent))
    monkeypatch.setenv("CC", value)
    assert build.find_compiler() == build.Compiler(command=["clang"], version="clang 99\n")
    program.unlink()
    assert build.find_compiler() is None


@needs_compiler
def test_compiled_library_is_found_and_runs(sources, tmp_path):
    assert build.find_library(tmp_path, "baseline", "1.0") is None
    path = build.compile_library(COMPILER, "baseline", tmp_path, "1.0")
    assert build.find_library(tmp_path, "baseline", "1.0") == path
    assert ctypes.CDLL(str(path)).lanes() == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, "sources"])  # nothing temporary


@needs_compiler
def test_library_of_other_sources_compiler_or_instruction_set_is_not_found(sources, tmp_path):
    build.compile_library(COMPILER, "baseline", tmp_path, "1.0")
    assert build.find_library(tmp_path, "neon", "1.0") is None
    assert build.find_library(tmp_path, "baseline", "1.1") is None
    (sources / "vectors.h").write_text("// a header")
    assert build.find_library(tmp_path, "baseline", "1.0") is None


@needs_compiler
def test_library_for_other_flags_is_not_found(sources, tmp_path, monkeypatch):
    build.compile_library(COMPILER, "baseline", tmp_path)
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-g"])
    assert build.find_library(tmp_path, "baseline") is None


@needs_compiler
@pytest.mark.parametrize("size", [0, 100, -100])
def test_truncated_library_is_not_found(sources, tmp_path, size):
    path = build.compile_library(COMPILER, "baseline", tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    assert build.find_library(tmp_path, "baseline") is None
    assert build.compile_library(COMPILER, "baseline", tmp_path) == path
    assert build.find_library(tmp_path, "baseline") == path


def test_error_is_the_first_line_that_reports_an_error(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", str(write_failing_compiler(tmp_path / "bin" / "cc")))
    with pytest.raises(build.CompilationError, match=r"^program\.c:3:1: error: unknown type$"):
        build.compile_library(build.find_compiler(), "baseline", tmp_path)


@pytest.mark.parametrize(("script", "message"), [("echo killed >&2; exit 1", "killed"), ("exit 3", "exit code 3")])
def test_error_is_any_output_or_the_exit_code(sources, tmp_path, script, message):
    compiler = build.Compiler(command=[str(write_program(tmp_path / "bin" / "cc", script))], version="")
    with pytest.raises(build.CompilationError, match=f"^{message}$"):
        build.compile_library(compiler, "baseline", tmp_path)
    assert [file.name for file in tmp_path.glob("*.so")] == []


def test_compiler_that_writes_nothing_is_an_error(sources, tmp_path):
    compiler = build.Compiler(command=[str(write_program(tmp_path / "bin" / "cc", "exit 0"))], version="")
    with pytest.raises(build.CompilationError, match=r"^it wrote no library$"):
        build.compile_library(compiler, "baseline", tmp_path)


@needs_compiler
def test_folder_that_does_not_exist_is_an_error(sources, tmp_path):
    with pytest.raises(FileNotFoundError):
        build.compile_library(COMPILER, "baseline", tmp_path / "missing")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", ["baseline", *build.INSTALLED_SETS.get(platform.machine().lower(), ())])
def test_kernels_compile_without_warnings(tmp_path, monkeypatch, instruction_set):
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-Wall", "-Wextra", "-Werror"])
    build.compile_library(COMPILER, instruction_set, tmp_path)


def test_file_runs_by_its_path_and_imports_only_the_standard_library():
    assert runpy.run_path(build.__file__)["FLAGS"] == build.FLAGS
    code = (
        f"import runpy, sys; runpy.run_path({build.__file__!r}); assert not {{'torch', 'tinynas'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), cwd="/")
