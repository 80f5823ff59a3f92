"""Tests of the notebook as a file: only the source is committed."""

import ast
import json
from pathlib import Path

import nbformat
import pytest

PATH = Path("cloud/colab/seed_genesis.ipynb")
NOTEBOOK = nbformat.read(PATH, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]


def test_notebook_is_valid_and_its_cells_have_ids() -> None:
    nbformat.validate(NOTEBOOK)
    assert (NOTEBOOK.nbformat, NOTEBOOK.nbformat_minor) == (4, 5)
    ids = [cell["id"] for cell in json.loads(PATH.read_text())["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("cell", CODE, ids=lambda cell: cell.id)
def test_no_output_is_committed_and_the_code_compiles(
    cell: nbformat.NotebookNode,
) -> None:
    assert cell.outputs == []
    assert cell.execution_count is None
    compile(cell.source, f"{PATH}:{cell.id}", "exec")
    assert all(len(line) <= 88 for line in cell.source.splitlines())


def test_one_cell_describes_every_parameter() -> None:
    tagged = [cell for cell in CODE if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert all("  # " in line for line in tagged[0].source.splitlines())
    tree = ast.parse(tagged[0].source)
    assert all(isinstance(line, ast.Assign) for line in tree.body)


def test_each_code_cell_is_short() -> None:
    for cell in CODE:
        assert len(cell.source.splitlines()) <= 40, cell.id
