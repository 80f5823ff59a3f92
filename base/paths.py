"""Which relative paths a store or a package may hold."""

import re
from pathlib import Path

from base.errors import UnsafePathError

_SEGMENT = re.compile(r"[A-Za-z0-9_=+@,~-][A-Za-z0-9._=+@,~-]*", re.ASCII)


def check_relative(path: str, source: str | Path) -> str:
    """Returns `path` if it is a plain path relative to a folder.

    Segments are separated by one `/`, use letters, digits and `._=+@,~-`, and do not
    begin with a dot, which rules out `..`, hidden files and absolute paths.

    Raises:
        UnsafePathError: any other path.
    """
    for segment in path.split("/"):
        if _SEGMENT.fullmatch(segment) is None:
            raise UnsafePathError(
                source,
                "a relative path of plain segments (letters, digits, ._=+@,~-)",
                repr(path),
            )
    return path
