"""Fixtures of the benchmarks' tests: the scripts as modules, and an empty place for cells and pages."""

import importlib.util
import sys

import pytest

from helpers import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="session", autouse=True)
def common():
    """Make benchmarks/common importable, as it is for a script."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="session")
def load_script(common):
    """A function that returns a script as a module."""
    modules = {}

    def load(name):
        if name not in modules:
            spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
            modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(modules[name])
        return modules[name]

    return load


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty folder of cells, which is the current folder as well."""
    import common.cells

    monkeypatch.setattr(common.cells, "RESULTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
