"""One digest for the project's own code that a program runs.

A build step knows no commit: it sees its input files and no version control, so that
equal inputs give equal bytes. What it can state is what those files are.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from base import canonical_json

PREFIX = "sources-sha256:"
"""What stands before the digest where a commit could stand."""

_FOLDERS = ("base", "cloud", "edge", "model", "release", "rlds")


def code_version(root: Path) -> str:
    """Says which Python sources lie below `root`, as `sources-sha256:<64 hex>`.

    Two places with the same files give the same text, whatever the machine, the
    time, the order or the links that lead to them. Third-party code is not in it; the
    repository's lock files fix that.

    Args:
        root: folder with the project's folders in it, as Bazel lays them out.
    """
    files = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in _FOLDERS
        for path in (root / folder).rglob("*.py")
    }
    return PREFIX + hashlib.sha256(canonical_json.encode(files)).hexdigest()
