"""One digest of the project's own code that a program runs.

A build action sees its input files but no version control, so that equal inputs give
equal bytes. It cannot name a commit; it can state the digest of those files instead.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from base import canonical_json

PREFIX = "sources-sha256:"
"""Prefix that tells this digest from a commit."""

_FOLDERS = ("base", "cloud", "edge", "model", "release", "rlds")


def code_version(root: Path) -> str:
    """Returns a digest of the Python sources below `root`: `sources-sha256:<64 hex>`.

    Two folders with the same files give the same text, whatever the machine, the time,
    the order of the files or the symbolic links to them. Third-party code is not
    included; the repository's lock files fix its versions.

    Args:
        root: folder that contains the project's top folders, as in runfiles.
    """
    files = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in _FOLDERS
        for path in (root / folder).rglob("*.py")
    }
    return PREFIX + hashlib.sha256(canonical_json.encode(files)).hexdigest()
