"""The order of folders and rooms, read from the file that Bazel reads."""

import ast
from pathlib import Path

ORDER_FILE = Path("order.bzl")


def _table(name: str) -> dict[str, list[str]]:
    """A dictionary of order.bzl: it is written in the common part of two languages."""
    for node in ast.parse(ORDER_FILE.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            found = ast.literal_eval(node.value)
            assert isinstance(found, dict)
            return found
    raise AssertionError(f"{ORDER_FILE}: expected a table {name}, got none")


FOLDERS = _table("FOLDERS")
ROOMS = _table("ROOMS")
ROOFS = _table("ROOFS")
CLOSED = _table("CLOSED")


def grounds_and_rooms() -> list[str]:
    """Every place a source can be imported from, such as `cloud` and `cloud/index`."""
    return [
        *FOLDERS,
        *(f"{folder}/{room}" for folder in FOLDERS for room in ROOMS[folder]),
    ]


def may_import(importing: str, imported: str) -> bool:
    """Says whether a package may import a ground or a room, as the design has it.

    Args:
        importing: a package, such as `cloud/index`.
        imported: a ground or a room.
    """
    folder, _, room = importing.partition("/")
    other, _, other_room = imported.partition("/")
    if importing == imported or folder == "tests":
        return True
    if folder != other:
        return other in FOLDERS[folder] and folder not in CLOSED.get(imported, [])
    if not other_room or room in ROOFS[folder]:
        return True
    rooms = ROOMS[folder]
    return room in rooms and rooms.index(other_room) < rooms.index(room)
