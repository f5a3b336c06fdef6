"""Limits of style: dense expressions per 1,000 lines, sizes of functions and files, and names that say nothing."""

import ast
from collections import Counter

import pytest

from helpers import ROOT

FILES = {str(path.relative_to(ROOT)): path for folder in ("tinynas", "cli") for path in (ROOT / folder).rglob("*.py")}
TREES = {name: ast.parse(path.read_text()) for name, path in sorted(FILES.items())}
LIMITS = {"lambdas": 2.5, "comprehensions": 20.0, "starred": 3.0}  # per 1,000 lines that are neither blank nor comments
KINDS = {
    "lambdas": ast.Lambda,
    "comprehensions": ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
    "starred": ast.Starred,
}
FUNCTION_LINES, FILE_LINES = 45, 300
EMPTY_NAMES = {"one", "found", "each", "made", "given", "handed", "told"}


def lines_of(name):
    """The number of a file's lines that are neither blank nor a comment; docstrings count."""
    lines = (line.strip() for line in FILES[name].read_text().splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


@pytest.mark.parametrize("kind", LIMITS)
def test_dense_expressions_are_few(kind):
    counts = Counter({name: sum(isinstance(n, KINDS[kind]) for n in ast.walk(tree)) for name, tree in TREES.items()})
    lines = sum(map(lines_of, TREES))
    density = 1000 * counts.total() / lines
    worst = ", ".join(f"{name} {count}" for name, count in counts.most_common(10))
    assert density <= LIMITS[kind], f"{density:.1f} {kind} per 1,000 of {lines} lines; most of them in {worst}"


def function_lines(function):
    """The number of a function's lines without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def test_functions_are_short():
    long = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function_lines(node) > FUNCTION_LINES:
                long[f"{name}:{node.lineno} {node.name}"] = function_lines(node)
    assert not long


def test_files_are_short():
    lines = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    assert not {name: count for name, count in lines.items() if count > FILE_LINES}


def names_bound_by(tree):
    """Name and line of every variable, parameter, and name of an import or an exception."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, node.lineno


def test_names_say_what_they_hold():
    empty = []
    for file, tree in TREES.items():
        empty += [f"{file}:{line} {name}" for name, line in names_bound_by(tree) if name in EMPTY_NAMES]
    assert not empty
