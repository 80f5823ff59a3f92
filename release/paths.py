"""Which relative paths a package or a store may hold."""

import re
from pathlib import Path

from release.errors import UnsafePathError
from release.limits import LIMITS

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


def check_package_path(path: str, source: str | Path) -> str:
    """Returns `path` when a package may hold a file of that name.

    Raises:
        UnsafePathError: not a plain relative path, too long or too deep.
    """
    check_relative(path, source)
    if len(path) > LIMITS.path_chars or path.count("/") >= LIMITS.path_depth:
        raise UnsafePathError(
            source,
            f"at most {LIMITS.path_chars} characters and {LIMITS.path_depth} segments",
            repr(path),
        )
    return path
