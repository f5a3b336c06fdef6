import ctypes
import subprocess

import numpy as np
import pytest

from helpers import compiled_sources
from tinynas.deploy.c_source import c_array, c_float, c_string

NAMES = [
    "cat",
    'a "quoted" \\ name',
    "two\nlines\tand\0more",
    "??=trigraph??/",
    "Füße 猫 🐈",
    "é1",
    "*/ // %s",
    "",
    "\x7f\x01",
]


def test_c_strings_are_what_the_compiler_reads(tmp_path):
    literals = ", ".join(map(c_string, NAMES))
    sizes = ", ".join(f"sizeof {c_string(name)}" for name in NAMES)
    (tmp_path / "names.c").write_text(f"const char *names[] = {{{literals}}};\nconst int sizes[] = {{{sizes}}};\n")
    library = compiled_sources(tmp_path, "names.c")
    names = (ctypes.POINTER(ctypes.c_char) * len(NAMES)).in_dll(library, "names")
    sizes = (ctypes.c_int * len(NAMES)).in_dll(library, "sizes")
    assert [pointer[: size - 1].decode() for pointer, size in zip(names, sizes, strict=True)] == NAMES


def test_c_strings_of_lone_surrogates_are_replaced():
    assert c_string("a\ud800") == '"a\\?"'


@pytest.mark.parametrize(("value", "literal"), [(0.3, "0.3f"), (2, "2.0f"), (1e-9, "1e-09f"), (1e20, "1e+20f")])
def test_c_float_is_short(value, literal):
    assert c_float(value) == literal


def test_c_floats_and_arrays_are_what_the_compiler_reads(tmp_path, rng):
    floats = rng.uniform(0, 1, 500).astype(np.float32) ** 20
    numbers = rng.integers(-128, 128, (5, 3, 70)).astype(np.int8)
    source = f"const float floats[] = {{{', '.join(map(c_float, floats))}}};\n"
    source += f"const signed char numbers[5][3][70] = {c_array(numbers)};\n"
    source += f"const unsigned char bytes[] = {c_array(np.arange(256, dtype=np.uint8))};\n"
    (tmp_path / "arrays.c").write_text(source)
    assert max(map(len, source.splitlines()[1:])) <= 120
    library = compiled_sources(tmp_path, "arrays.c")
    assert np.array_equal((ctypes.c_float * 500).in_dll(library, "floats"), floats)
    assert np.array_equal((ctypes.c_int8 * numbers.size).in_dll(library, "numbers"), numbers.ravel())
    assert bytes((ctypes.c_uint8 * 256).in_dll(library, "bytes")) == bytes(range(256))


def test_compiler_reports_warnings_as_errors(tmp_path):
    (tmp_path / "bad.c").write_text("int f(int unused) { return 0; }\n")
    with pytest.raises(subprocess.CalledProcessError):
        compiled_sources(tmp_path, "bad.c")
