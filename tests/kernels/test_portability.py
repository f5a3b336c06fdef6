"""program.c computes the same with every instruction set and compiler at hand, compared in C with loops in double."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tinynas.kernels import build, shared_library

pytestmark = pytest.mark.slow

CHECK = Path(__file__).with_name("check_program.c")
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
AARCH64_COMPILER, AARCH64_EMULATOR = (
    "aarch64-linux-gnu-gcc",
    "qemu-aarch64",
)  # of Debian: gcc-aarch64-linux-gnu, qemu-user
OWN_SETS = ["baseline"]
if shared_library._cpu_instruction_set() in ("avx2", "avx512"):
    OWN_SETS.append("avx2")
if shared_library._cpu_instruction_set() == "avx512":
    OWN_SETS.append("avx512")


def compile_check(compiler, instruction_set, folder, *flags):
    """Compile the check with the flags of the library, and return the program."""
    program = folder / "check"
    shared = {"-shared", "-fPIC"}
    common = [flag for flag in build.FLAGS if flag not in shared] + build.INSTRUCTION_SET_FLAGS[instruction_set]
    command = [compiler, *common, *WARNINGS, *flags, f"-I{build.FOLDER}", str(CHECK), "-o", str(program), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return program


def assert_check_passes(command, instruction_set):
    # Leaks are not looked for: that needs more rights than a container has, and the check is a short program.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (result.stdout, result.stderr) == (f"{shared_library.LANES[instruction_set]} lanes, 0 errors\n", "")
    assert result.returncode == 0


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize("instruction_set", OWN_SETS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_results_are_those_of_plain_loops(tmp_path, compiler, instruction_set):
    needs(compiler)
    assert_check_passes([compile_check(compiler, instruction_set, tmp_path)], instruction_set)


@pytest.mark.parametrize("instruction_set", OWN_SETS)
def test_sanitizers_find_nothing(tmp_path, instruction_set):
    needs("gcc")
    assert_check_passes([compile_check("gcc", instruction_set, tmp_path, *SANITIZERS)], instruction_set)


def test_results_on_an_emulated_arm_processor_are_those_of_plain_loops(tmp_path):
    needs(AARCH64_COMPILER, AARCH64_EMULATOR)
    program = compile_check(AARCH64_COMPILER, "neon", tmp_path, "-static")
    assert_check_passes([AARCH64_EMULATOR, program], "neon")
