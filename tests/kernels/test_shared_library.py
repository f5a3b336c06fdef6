"""The library is loaded from the package or the cache, compiled by one process, or the reason against it is said."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_compilers import COMPILER, needs_compiler, write_counting_compiler, write_failing_compiler, write_sources

from tinynas import TinyNASError
from tinynas.kernels import build, shared_library

FASTER = "to train about twice as fast"
OWN_SET = shared_library._cpu_instruction_set()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and a process that has not loaded anything; afterwards, it has not either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shared_library._load_or_explain.cache_clear()
    yield tmp_path / "cache" / "tinynas" / "kernels"
    shared_library._load_or_explain.cache_clear()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A small program in place of the kernels, for the vectors of this CPU."""
    monkeypatch.setattr(build, "FOLDER", write_sources(tmp_path / "sources", lanes=shared_library.LANES[OWN_SET]))
    return build.FOLDER


def load_again():
    """Load the library as another process would."""
    shared_library._load_or_explain.cache_clear()
    return shared_library.load_library()


def files_in(folder):
    return sorted(folder.glob("*.so"))


@needs_compiler
@pytest.mark.slow
def test_kernels_are_loaded_for_this_cpu():
    kernels = shared_library.load_library()
    assert (kernels.instruction_set, kernels.lanes) == (shared_library.NAMES[OWN_SET], shared_library.LANES[OWN_SET])


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="not Linux")
def test_instruction_set_is_the_widest_that_the_system_reports():
    flags = Path("/proc/cpuinfo").read_text().split()
    widest = {"x86_64": "baseline", "aarch64": "neon"}.get(platform.machine(), "baseline")
    if "avx2" in flags and "fma" in flags:
        widest = "avx2"
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(flags):
        widest = "avx512"
    assert widest == OWN_SET


@pytest.mark.parametrize(
    ("machine", "capability", "expected"),
    [
        ("x86_64", "AVX512", "avx512"),
        ("AMD64", "AVX2", "avx2"),
        ("x86_64", "DEFAULT", "baseline"),
        ("arm64", "DEFAULT", "neon"),
        ("aarch64", "SVE256", "neon"),
        ("riscv64", "DEFAULT", "baseline"),
    ],
)
def test_instruction_set_is_that_of_pytorch_or_of_the_architecture(monkeypatch, machine, capability, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert shared_library._cpu_instruction_set() == expected


@needs_compiler
def test_library_is_compiled_into_the_cache_at_first_use_only(sources, cache, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("CC", str(write_counting_compiler(tmp_path / "bin" / "cc", log)))
    first = shared_library.load_library()
    assert shared_library.load_library() is first
    assert load_again().lanes == shared_library.LANES[OWN_SET]
    assert log.read_text() == "compiles\n"
    assert len(files_in(cache)) == 1


@needs_compiler
def test_installed_library_is_loaded_without_a_compiler_or_a_cache(sources, cache, monkeypatch):
    build.compile_library(COMPILER, OWN_SET, sources)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert shared_library.load_library().instruction_set == shared_library.NAMES[OWN_SET]
    assert not cache.exists()


@needs_compiler
def test_installed_library_that_cannot_be_loaded_is_compiled_for_the_cache(sources, cache):
    installed = build.compile_library(COMPILER, OWN_SET, sources)
    name = installed.name.replace(installed.stem[-16:], build._digest(b"no library"))
    installed.unlink()
    (sources / name).write_bytes(b"no library")
    assert build.find_library(sources, OWN_SET) == sources / name
    assert shared_library.load_library().lanes == shared_library.LANES[OWN_SET]
    assert len(files_in(cache)) == 1


@needs_compiler
@pytest.mark.parametrize("size", [0, 100, -100])
def test_truncated_library_in_the_cache_is_compiled_again(sources, cache, size):
    shared_library.load_library()
    (path,) = files_in(cache)
    content = path.read_bytes()
    path.unlink()  # not overwritten: this process runs it
    path.write_bytes(content[:size])
    assert load_again().lanes == shared_library.LANES[OWN_SET]
    assert [file.read_bytes() for file in files_in(cache)] == [content]


@needs_compiler
def test_cache_that_cannot_be_created_is_replaced_by_a_temporary_folder(sources, cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    kernels = shared_library.load_library()
    assert kernels.functions.forward_size(None, 0, 0, 0, 0, None, 0) == 0
    assert Path(kernels.functions._name).is_relative_to(temporary)
    assert list(temporary.iterdir()) == []  # removed: the process has it loaded


@needs_compiler
def test_library_for_other_vectors_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "FOLDER", write_sources(tmp_path / "sources", lanes=3))
    with pytest.raises(TinyNASError, match=r"cannot be loaded \(.* is not of this version\)"):
        shared_library.load_library()


def test_missing_compiler_is_a_hint(sources, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    for _ in range(2):
        with pytest.raises(shared_library.KernelsUnavailableError) as raised:
            shared_library.load_library()
        assert str(raised.value) == f"no C compiler was found (cc, gcc, clang); install one {FASTER}"


def test_failing_compiler_is_a_hint_with_its_error(sources, tmp_path, monkeypatch):
    compiler = write_failing_compiler(tmp_path / "bin" / "cc")
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(shared_library.KernelsUnavailableError) as raised:
        shared_library.load_library()
    reason = f"the C compiler '{compiler}' failed (program.c:3:1: error: unknown type)"
    assert str(raised.value) == f"{reason}; install a current gcc or clang, or set CC to its path, {FASTER}"


@needs_compiler
def test_of_two_processes_at_once_one_compiles(sources, cache, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("CC", str(write_counting_compiler(tmp_path / "bin" / "cc", log)))
    code = (
        "import pathlib; from tinynas.kernels import build, shared_library; "
        f"build.FOLDER = pathlib.Path({str(sources)!r}); print(shared_library.load_library().lanes)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    assert [process.communicate()[0] for process in processes] == [f"{shared_library.LANES[OWN_SET]}\n"] * 2
    assert log.read_text() == "compiles\n"
