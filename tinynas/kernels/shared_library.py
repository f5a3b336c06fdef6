"""Load the library of the kernels: the one compiled at installation, else one in the cache, compiled at first use."""

import ctypes
import os
import platform
from ctypes import c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..utils.errors import TrainingError
from ..utils.paths import cache_folder
from . import build
from .program import OPERATION_BYTES

NAMES = {"avx512": "AVX-512", "avx2": "AVX2", "neon": "NEON", "baseline": "baseline"}
X86_SETS = {"AVX512": "avx512", "AVX2": "avx2"}  # by what PyTorch calls the CPU's capability
LANES = {"avx512": 16, "avx2": 8, "neon": 4, "baseline": 4}

# The functions of program.c: the type of their result and those of their arguments.
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "lanes": (c_int, []),
    "operation_size": (c_long, []),
    "forward_size": (c_long, [c_void_p, c_int, c_int, c_int, c_int, c_void_p, c_int]),
    "backward_size": (c_long, [c_void_p, c_int, c_int, c_int, c_void_p, c_int]),
    "evaluation_size": (c_long, [c_void_p, c_int, c_int, c_void_p, c_int]),
    "forward": (None, [c_void_p, c_int, c_int, c_int, c_void_p, c_void_p, c_int, c_int] + [c_void_p] * 3 + [c_int]),
    "backward": (None, [c_void_p, c_int, c_int, c_int] + [c_void_p] * 6 + [c_int]),
    "evaluate": (None, [c_void_p, c_int, c_int, c_int] + [c_void_p] * 5 + [c_int]),
}


class KernelsUnavailableError(TrainingError):
    """There is no library of fused kernels for this machine. The message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class KernelLibrary:
    """The functions of program.c.

    Attributes:
        functions: The loaded library.
        instruction_set: What it was compiled for, as a message names it, such as "AVX-512".
        lanes: Images of a block: floats of a vector.
    """

    functions: ctypes.CDLL
    instruction_set: str
    lanes: int


def load_library() -> KernelLibrary:
    """Return the library for this CPU. A process searches for it, or compiles it, once.

    Compiling takes some seconds; of several processes that need the library, the first compiles it for all.

    Raises:
        KernelsUnavailableError: There is no C compiler, or no library that it compiles can be loaded.
    """
    result = _load_or_explain(_cpu_instruction_set())
    if isinstance(result, str):
        raise KernelsUnavailableError(result)
    return result


def is_compiled() -> bool:
    """Return whether `load_library` has no library to compile: there is one, or no compiler."""
    instruction_set = _cpu_instruction_set()
    if build.find_library(build.FOLDER, instruction_set):
        return True
    compiler = build.find_compiler()
    cached = cache_folder() / "kernels"
    return compiler is None or build.find_library(cached, instruction_set, compiler.version) is not None


@cache
def _load_or_explain(instruction_set: str) -> KernelLibrary | str:
    """Return the library for an instruction set, or the message that says why there is none and what to do."""
    if os.name == "nt":
        return "the fused kernels do not run on Windows; use Linux, such as in WSL, or macOS"
    installed = build.find_library(build.FOLDER, instruction_set)
    if installed is not None:
        try:
            return _open(installed, instruction_set)
        except OSError:  # installed from another machine's wheel: it may have a newer C library
            pass
    compiler = build.find_compiler()
    if compiler is None:
        return "no C compiler was found (cc, gcc, clang); install one to train about twice as fast"
    try:
        return _load_cached(compiler, instruction_set)
    except build.CompilationError as error:
        reason = f"the C compiler {compiler.command[0]!r} failed ({error})"
    except OSError as error:
        reason = f"the library compiled by {compiler.command[0]!r} cannot be loaded ({error})"
    return f"{reason}; install a current gcc or clang, or set CC to its path, to train about twice as fast"


def _load_cached(compiler: build.Compiler, instruction_set: str) -> KernelLibrary:
    """Return the library in the cache, compiled if it is missing.

    Raises:
        CompilationError: The compiler failed.
        OSError: Not even a library compiled in a temporary folder can be loaded.
    """
    try:
        return _open(_find_or_compile(compiler, instruction_set, cache_folder() / "kernels"), instruction_set)
    except (OSError, NotImplementedError):
        # The cache cannot be written or locked, or its libraries cannot be loaded, such as from a "noexec" disk.
        with TemporaryDirectory(prefix="tinynas-") as folder:
            return _open(build.compile_library(compiler, instruction_set, Path(folder)), instruction_set)


def _find_or_compile(compiler: build.Compiler, instruction_set: str, folder: Path) -> Path:
    """Return the library in a folder, compiled by one of the processes that need it if it is missing or corrupt.

    Raises:
        CompilationError: The compiler failed.
        OSError: The folder cannot be written.
    """
    from filelock import FileLock

    path = build.find_library(folder, instruction_set, compiler.version)
    if path is not None:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{instruction_set}.lock"):
        path = build.find_library(folder, instruction_set, compiler.version)
        return path or build.compile_library(compiler, instruction_set, folder, compiler.version)


def _open(path: Path, instruction_set: str) -> KernelLibrary:
    """Load a library and declare its functions.

    Raises:
        OSError: The file cannot be loaded, or was compiled for other vectors.
    """
    functions = ctypes.CDLL(str(path))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    lanes = functions.lanes()
    if lanes != LANES[instruction_set] or functions.operation_size() != OPERATION_BYTES:
        raise OSError(f"{path} is not of this version")
    return KernelLibrary(functions=functions, instruction_set=NAMES[instruction_set], lanes=lanes)


def _cpu_instruction_set() -> str:
    """Return the widest instruction set of `build.INSTRUCTION_SET_FLAGS` that this CPU has."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "neon"
    if machine in ("x86_64", "amd64"):
        return X86_SETS.get(torch.backends.cpu.get_cpu_capability(), "baseline")
    return "baseline"
