"""Small sources in place of the kernels', and programs in place of a C compiler."""

import shutil

import pytest

from tinynas.kernels.build import find_compiler
from tinynas.kernels.program import OPERATION_BYTES
from tinynas.kernels.shared_library import SIGNATURES

COMPILER = find_compiler()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


def write_sources(folder, lanes):
    """Write a program.c with the functions of the real one, of which most return 0; it compiles at once."""
    values = dict.fromkeys(sorted(SIGNATURES), 0) | {"lanes": lanes, "operation_size": OPERATION_BYTES}
    functions = [f"long {name}(void) {{ return {value}; }}" for name, value in values.items()]
    folder.mkdir(exist_ok=True)
    (folder / "program.c").write_text("\n".join(functions))
    return folder


def write_program(path, script):
    """Write an executable shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
    path.chmod(0o755)
    return path


def write_failing_compiler(path):
    return write_program(
        path,
        '[ "$1" = --version ] && echo "fake 1.0" && exit\n'
        'echo "In file included from program.c:1:" >&2; echo "program.c:3:1: error: unknown type" >&2; exit 1',
    )


def write_counting_compiler(path, log):
    """Write a compiler that adds a line to a log, waits so that another process comes meanwhile, and compiles."""
    compiler = " ".join(COMPILER.command)
    return write_program(
        path,
        f'[ "$1" = --version ] && echo "fake 1.0" && exit\necho compiles >> "{log}"; sleep 1\nexec {compiler} "$@"',
    )
