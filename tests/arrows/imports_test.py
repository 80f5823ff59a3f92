"""No source imports a folder or a room that its own may not, even where Bazel lets it.

A program may stand in another folder's runfiles, to be run (`cloud/` runs
`//edge:run`); its modules are then importable there, which no visibility refuses.
"""

import ast
from pathlib import Path

import pytest

from tests.arrows.order import FOLDERS, grounds_and_rooms, may_import

SOURCES = sorted(path for folder in FOLDERS for path in Path(folder).rglob("*.py"))
PLACES = grounds_and_rooms()


def imported_places(path: Path) -> set[str]:
    """Grounds and rooms that a source file imports, inside its functions too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in modules:
        folder, _, rest = name.partition(".")
        room = f"{folder}/{rest.partition('.')[0]}"
        if folder in FOLDERS:
            found.add(room if room in PLACES else folder)
    return found


def test_every_folder_shows_its_sources() -> None:
    shown = {path.parent.as_posix() for path in SOURCES}
    assert set(PLACES) <= shown


@pytest.mark.parametrize("folder", list(FOLDERS))
def test_sources_import_only_in_the_order_of_folders_and_rooms(folder: str) -> None:
    wrong = {
        str(path): [
            place
            for place in sorted(imported_places(path))
            if not may_import(path.parent.as_posix(), place)
        ]
        for path in SOURCES
        if path.parts[0] == folder
    }
    assert {path: places for path, places in wrong.items() if places} == {}


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("import edge.run", "edge"),
        ("from edge import run", "edge"),
        ("from edge.ota import update", "edge/ota"),
        ("from edge import ota", "edge/ota"),
        ("def f():\n  from edge.control.loop import Pace", "edge/control"),
    ],
)
def test_an_import_is_found_wherever_it_stands(
    tmp_path: Path, line: str, place: str
) -> None:
    (tmp_path / "one.py").write_text(line)
    assert imported_places(tmp_path / "one.py") == {place}
