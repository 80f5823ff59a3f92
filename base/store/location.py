"""Where a store is: a flag takes a path or a URI, a store has a URI."""

from pathlib import Path

from base.errors import StoreError


def to_uri(location: str | Path) -> str:
    """Returns the URI of a store or of something in it, without a slash at its end.

    Args:
        location: a URI, which stays as it is, or a path of this machine, in which `~`
            is a home folder.

    Raises:
        StoreError: the path begins with the home folder of a user who is not here.
    """
    text = str(location)
    scheme, mark, rest = text.partition("://")
    if mark:
        return scheme + mark + (rest.rstrip("/") or rest[:1])
    try:
        return Path(text).expanduser().absolute().as_uri()
    except RuntimeError as e:
        raise StoreError(text, "a path or a URI", e, "correct the path") from e
