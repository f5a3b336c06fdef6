"""The docstrings of public names: complete sections, and examples that run."""

import ast
import contextlib
import dataclasses
import doctest
import inspect
import textwrap

import pytest

import tinynas
from pages import make_example_run
from tinynas.early_exit.network import EarlyExits
from tinynas.models.network import Network

RETURNED = {
    "EarlyExits": EarlyExits,
    "Network": Network,
}  # classes that public functions return and that are not public names themselves
PUBLIC = {name: getattr(tinynas, name) for name in tinynas.__all__} | RETURNED
CLASSES = {name: obj for name, obj in PUBLIC.items() if inspect.isclass(obj)}
SECTIONS = ("Args:", "Attributes:", "Returns:", "Yields:", "Raises:", "Example:")


def public_functions():
    """Name and function of every public function, and of every public method of a public class."""
    for name, obj in PUBLIC.items():
        if name not in CLASSES:
            yield name, obj
            continue
        for method_name, member in vars(obj).items():
            method = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if inspect.isfunction(method) and not method_name.startswith("_"):
                yield f"{name}.{method_name}", method


FUNCTIONS = dict(public_functions())


def section(doc, title):
    """The lines of a section of a docstring, or nothing."""
    lines, inside = [], False
    for line in inspect.cleandoc(doc).splitlines():
        if line in SECTIONS:
            inside = line == title
        elif inside:
            lines.append(line.strip())
    return lines


def raises_on_purpose(function):
    """Whether the function's own code has a raise statement, or a call of `require`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            return True
    return False


def described(lines):
    """The names that a section describes: the words before the first colon of its lines."""
    return {line.split(":")[0].lstrip("*") for line in lines if ":" in line}


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_of_a_public_function_has_all_sections(name):
    function = FUNCTIONS[name]
    assert function.__doc__, name
    missing = set(parameters(function)) - described(section(function.__doc__, "Args:"))
    assert not missing, f"{name}: Args lacks {missing}"
    if inspect.signature(function).return_annotation not in (None, "None"):
        assert section(function.__doc__, "Returns:") or section(function.__doc__, "Yields:"), f"{name}: no Returns"
    if raises_on_purpose(function):
        assert section(function.__doc__, "Raises:"), f"{name}: no Raises"


@pytest.mark.parametrize("name", CLASSES)
def test_docstring_of_a_public_class_has_all_sections(name):
    cls = CLASSES[name]
    if dataclasses.is_dataclass(cls):
        expected, title = [field.name for field in dataclasses.fields(cls)], "Attributes:"
    elif "__init__" in vars(cls):
        expected, title = parameters(cls.__init__), "Args:"
    else:
        expected, title = [], "Args:"
    missing = set(expected) - described(section(cls.__doc__, title))
    assert not missing, f"{name}: {title} lacks {missing}"
    constructor = vars(cls).get("__post_init__" if dataclasses.is_dataclass(cls) else "__init__")
    if constructor and raises_on_purpose(constructor):
        assert section(cls.__doc__, "Raises:"), f"{name}: no Raises"


@pytest.mark.parametrize("name", CLASSES)
def test_public_properties_have_docstrings(name):
    for attribute, member in vars(CLASSES[name]).items():
        if isinstance(member, property) and not attribute.startswith("_"):
            assert member.__doc__, f"{name}.{attribute}"


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder with runs/example."""
    folder = tmp_path_factory.mktemp("docstrings")
    with contextlib.chdir(folder):
        make_example_run()
    return folder


@pytest.mark.parametrize("name", PUBLIC)
def test_example_of_a_public_name_runs(name, example, monkeypatch):
    monkeypatch.chdir(example)
    assert ">>>" in PUBLIC[name].__doc__, f"{name} has no example"
    run_examples(PUBLIC[name], name)


def test_example_of_the_package_runs():
    run_examples(inspect.cleandoc(tinynas.__doc__), "tinynas")


def run_examples(obj, name):
    """Run every example of an object's docstring and of its methods'."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    if isinstance(obj, str):
        tests = [doctest.DocTestParser().get_doctest(obj, {}, name, None, None)]
    else:
        tests = doctest.DocTestFinder().find(obj, name, globs={})
    report = []
    for test in tests:
        runner.run(test, out=report.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    assert runner.tries > 0, f"{name} has no example"
