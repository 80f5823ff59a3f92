"""Where a store is: a flag takes a path or a URI, a store has a URI."""

import re
from pathlib import Path
from typing import Final

from base.errors import StoreError

# A folder could have such a name, but a store must not be made there by mistake.
_SLASH_MISSING: Final = re.compile(r"[A-Za-z][\w+.-]*:/")


def to_uri(location: str | Path) -> str:
    """Returns the URI of a store or of something in it, without a slash at its end.

    Args:
        location: a URI, which stays as it is, or a path of this machine, in which `~`
            is a home folder.

    Raises:
        StoreError: it is a URI that lacks a slash, or a path that begins with the home
            folder of a user who is not here.
    """
    text = str(location)
    scheme, mark, rest = text.partition("://")
    if mark:
        return scheme + mark + (rest.rstrip("/") or rest[:1])
    if _SLASH_MISSING.match(text):
        raise StoreError(
            text,
            "a path or a URI",
            text,
            "write file:///FOLDER or gs://BUCKET/PREFIX, or ./ before a path",
        )
    try:
        return Path(text).expanduser().absolute().as_uri()
    except RuntimeError as e:
        raise StoreError(text, "a path or a URI", e, "correct the path") from e
