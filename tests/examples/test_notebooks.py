"""The notebooks of examples/: they are committed without outputs, and run."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def quick(source):
    """The source of a cell with the shortest trainings and searches."""
    return re.sub(r"trials=\d+", "trials=2", re.sub(r"epochs=\d+", "epochs=1", source))


def text_of(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.filterwarnings("ignore")  # of Jupyter, which is not tested here
@pytest.mark.parametrize("change", [quick, pytest.param(str, marks=pytest.mark.slow)])
def test_digits_notebook_runs(change, tmp_path):
    notebook = read(ROOT / "examples" / "digits.ipynb")
    for cell in notebook.cells:
        cell.source = change(cell.source)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = {cell.source.partition("(")[0].split()[0]: cell for cell in notebook.cells if cell.cell_type == "code"}
    shown = text_of(cells["run"])
    assert shown.startswith("data: handwritten: 10 classes; images: 1,260 train, 140 search-val, 397 test\n")
    assert "supernet" in shown
    assert "Warning" not in shown
    assert "image/png" in cells["%matplotlib"].outputs[0].data
    assert text_of(cells["model"]).count("of the test images are recognised") == 1
    assert text_of(cells["report"]).count(" bytes  ") == 3
    assert (tmp_path / "exported" / "model.int8.onnx").exists()
    if change is str:
        assert float(text_of(cells["model"]).partition("%")[0]) > 80
        assert text_of(cells["for"]).count("was recognised as") == 5
