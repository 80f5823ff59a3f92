"""Turns what a flag names, a path or a URI, into the URI of a store, and back."""

import pathlib
import urllib.parse


def to_uri(location: str | pathlib.Path) -> str:
    """Returns a URI without a trailing slash; a bare path becomes `file://…`."""
    text = str(location)
    if "://" in text:
        return text.rstrip("/")
    return pathlib.Path(text).expanduser().absolute().as_uri()


def shown(uri: str) -> str:
    """Returns how people and other programs are told of a place in a store.

    That is a plain path on this machine, like every other path they are told, and the
    URI elsewhere.
    """
    return str(local_folder(uri) or uri)


def local_folder(uri: str) -> pathlib.Path | None:
    """Returns the folder that a `file://` URI names, or None for another scheme."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "file":
        return None
    return pathlib.Path(urllib.parse.unquote(parts.path))
