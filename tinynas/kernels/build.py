"""Compile program.c to a shared library. setup.py runs this file by its path, so it imports nothing of tinynas."""

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent

# No -ffast-math: it would lose NaN and infinities, which training must notice.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC", "-pthread"]
INSTRUCTION_SET_FLAGS: dict[str, list[str]] = {
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "neon": [],
    "baseline": [],
}
INSTALLED_SETS = {  # by the machine's architecture: what an installation compiles
    "x86_64": ("avx2", "avx512"),
    "amd64": ("avx2", "avx512"),
    "aarch64": ("neon",),
    "arm64": ("neon",),
}


class CompilationError(Exception):
    """The compiler failed. The message is the first line that says why."""


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """A C compiler.

    Attributes:
        command: The program and its own options, as $CC may have them.
        version: What it prints for --version.
    """

    command: list[str]
    version: str


def find_compiler() -> Compiler | None:
    """Return the first C compiler that runs of $CC, cc, gcc and clang."""
    for text in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        try:
            command = shlex.split(text)
        except ValueError:  # an open quotation mark
            continue
        if not command or shutil.which(command[0]) is None:
            continue
        # On a Mac without developer tools, there is a cc that does nothing but fail.
        try:
            result = _run(command, ["--version"])
        except OSError:  # not a program of this machine
            continue
        if result.returncode == 0:
            return Compiler(command=command, version=result.stdout)
    return None


def find_library(folder: Path, instruction_set: str, version: str = "") -> Path | None:
    """Return a library of these sources that is intact: its name ends with the digest of its content.

    A truncated library must not be loaded, as the process that reads it is killed.

    Args:
        folder: Where it may lie.
        instruction_set: A key of INSTRUCTION_SET_FLAGS.
        version: That of the compiler; empty for a library that was compiled when tinynas was installed.
    """
    for path in sorted(folder.glob(f"{_prefix(instruction_set, version)}*.so")):
        try:
            content = path.read_bytes()
        except OSError:  # removed in the meantime, or of another user
            continue
        if path.stem.endswith(_digest(content)):
            return path
    return None


def compile_library(compiler: Compiler, instruction_set: str, folder: Path, version: str = "") -> Path:
    """Compile a library that `find_library` finds with the same arguments. Its file is never seen incomplete.

    Raises:
        CompilationError: The compiler failed.
        OSError: The folder cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        library = Path(temporary) / "library.so"
        flags = FLAGS + INSTRUCTION_SET_FLAGS[instruction_set]
        files = [str(FOLDER / "program.c"), "-o", str(library), "-lm"]
        result = _run(compiler.command, flags + files)
        if result.returncode != 0:
            raise CompilationError(_first_error(result.stderr) or f"exit code {result.returncode}")
        if not library.exists():
            raise CompilationError("it wrote no library")
        path = folder / f"{_prefix(instruction_set, version)}{_digest(library.read_bytes())}.so"
        os.replace(library, path)
    return path


def _run(command: list[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command without input and return its output."""
    return subprocess.run(
        command + arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )


def _first_error(output: str) -> str:
    """Return the first line that reports an error; if there is none, the first line; "" if there is no output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        if "error" in line.lower():
            return line
    return lines[0] if lines else ""


def _prefix(instruction_set: str, version: str) -> str:
    """Return how the names of libraries begin, which differs by all that a library is compiled from."""
    parts = [instruction_set, version] + FLAGS + INSTRUCTION_SET_FLAGS[instruction_set]
    for source in sorted(FOLDER.glob("*.[ch]")):
        parts += [source.name, source.read_text(encoding="utf-8")]
    return f"{instruction_set}-{_digest(chr(0).join(parts).encode())}-"


def _digest(content: bytes) -> str:
    """Return 16 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
