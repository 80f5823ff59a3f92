"""Opens the archives of a Pi, for tests.

A test of them has them as data and names the bundle in the environment variable BUNDLE.
"""

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zstandard


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """Opens an archive, whose tar is decompressed into a temporary file first.

    Raises:
        zstandard.ZstdError: it is damaged.
    """
    with tempfile.TemporaryFile() as content:
        with path.open("rb") as compressed:
            zstandard.ZstdDecompressor().copy_stream(compressed, content)
        content.seek(0)
        with tarfile.open(fileobj=content, mode="r:") as tar:
            yield tar


def unpack(folder: Path) -> Path:
    """Unpacks the bundle below `folder`, and returns its root."""
    with open_archive(Path(os.environ["BUNDLE"])) as tar:
        tar.extractall(folder, filter="data")
    return folder / "continuon"


def unpack_over(root: Path, archive: Path) -> None:
    """Unpacks another archive over the bundle, of which it must replace no file."""
    below = {path for path in root.rglob("*") if path.is_file()}
    with open_archive(archive) as tar:
        added = {root.parent / one.name for one in tar if not one.isdir()}
        assert added.isdisjoint(below)
        tar.extractall(root.parent, filter="data")
