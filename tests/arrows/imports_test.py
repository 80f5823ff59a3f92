"""No source imports a folder that its own may not, even where Bazel lets it.

A program may stand in another folder's runfiles, to be run (`cloud/` runs
`//edge:run`); its modules are then importable there, which no visibility refuses.
"""

import ast
from pathlib import Path

import pytest

from tests.arrows.order import ORDER

SOURCES = sorted(path for folder in ORDER for path in Path(folder).rglob("*.py"))


def imported_folders(path: Path) -> set[str]:
    """Top folders that a source file imports, inside its functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.partition(".")[0] for name in found} & set(ORDER)


def test_every_folder_shows_its_sources() -> None:
    shown = {path.parent.as_posix() for path in SOURCES}
    assert {"rlds", "model", "release", "edge/ota", "cloud/index"} <= shown


@pytest.mark.parametrize("folder", [name for name in ORDER if name != "tests"])
def test_sources_import_only_in_the_order_of_the_folders(folder: str) -> None:
    wrong = {
        str(path): sorted(imported_folders(path) - ORDER[folder] - {folder})
        for path in SOURCES
        if path.parts[0] == folder
    }
    assert {path: folders for path, folders in wrong.items() if folders} == {}


@pytest.mark.parametrize(
    "line",
    ["import edge.run", "from edge import run", "def f():\n  from edge.run import x"],
)
def test_an_import_is_found_wherever_it_stands(tmp_path: Path, line: str) -> None:
    (tmp_path / "one.py").write_text(line)
    assert imported_folders(tmp_path / "one.py") == {"edge"}
