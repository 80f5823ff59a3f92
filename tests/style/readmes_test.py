"""A README of a folder lists every file there, and no document names one that is not.

Files of tests need not be listed: each stands beside what it tests.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = (
    *("base", "rlds", "release", "model", "edge", "cloud"),
    *("tests", "third_party"),
)
READMES = sorted(
    (Path("README.md"), *(p for f in FOLDERS for p in Path(f).rglob("README.md")))
)
DOCUMENTS = (*READMES, *sorted(Path("docs").glob("*.md")))
"""Not the decisions, which tell what was."""
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)")
_SOURCE = re.compile(r"[\w./-]+\.(?:py|bzl)")


def list_unnamed(text: str, files: list[Path]) -> list[str]:
    """Lists files that a README names neither as code, whole or by stem, nor links."""
    named = {*_CODE.findall(text), *map(os.path.normpath, _LINK.findall(text))}
    return [f.name for f in files if not named & {f.name, f.stem}]


def list_sources(text: str) -> Iterator[str]:
    """Yields the sources that a README names as code or in a command, or links."""
    for code in _CODE.findall(text):
        yield from (word for word in code.split() if _SOURCE.fullmatch(word))
    yield from (link for link in _LINK.findall(text) if _SOURCE.fullmatch(link))


def test_there_are_readmes_of_rooms() -> None:
    assert {Path("cloud/ingest/README.md"), Path("base/README.md")} <= {*READMES}
    assert len(READMES) > 30
    assert Path("docs/words.md") in DOCUMENTS


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_every_file_of_a_folder_stands_in_its_readme(readme: Path) -> None:
    files = sorted(
        path for path in readme.parent.glob("*.py") if "_test" not in path.stem
    )
    assert list_unnamed(readme.read_text(), files) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    absent = [
        name
        for name in list_sources(document.read_text())
        if not (document.parent / name).exists() and not Path(name).exists()
    ]
    assert absent == []


@pytest.mark.parametrize(
    ("text", "unnamed"),
    [
        ("| `walk.py`, `run.py` | both |", []),
        ("| `walk`, `run` | both |", []),
        ("[how it walks](walk.py), [and runs](./run.py#fast)", []),
        ("| `walk.py` | one |", ["run.py"]),
        ("walk.py and run.py as prose", ["walk.py", "run.py"]),
        ("`walk.python`, `prerun.py`", ["walk.py", "run.py"]),
    ],
)
def test_a_file_is_named_as_code_or_by_a_link(text: str, unnamed: list[str]) -> None:
    assert list_unnamed(text, [Path("walk.py"), Path("run.py")]) == unnamed


def test_sources_are_found_in_code_commands_and_links() -> None:
    text = "`a.py` `run b/c.py --flag` [d](../d.py#e) [f](f.md) `g.json` h.py `i.bzl`"
    assert list(list_sources(text)) == ["a.py", "b/c.py", "i.bzl", "../d.py"]
