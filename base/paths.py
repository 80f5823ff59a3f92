"""Which relative paths a store or a package may hold."""

import re
from pathlib import Path

from base.errors import UnsafePathError

_SEGMENT = re.compile(r"[A-Za-z0-9_=+@,~-][A-Za-z0-9._=+@,~-]*", re.ASCII)


def check_relative(path: str, source: str | Path) -> str:
    """Returns `path` when it names a file below a folder and nothing else.

    Segments are separated by one `/`, use letters, digits and `._=+@,~-`, and do not
    begin with a dot, which leaves no `..`, no hidden file and no absolute path.

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
