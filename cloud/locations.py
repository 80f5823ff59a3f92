"""Locations as people read them and as others may see them."""

import pathlib
import urllib.parse

from base.store.location import to_uri as to_uri


def format_location(uri: str) -> str:
    """Formats a location for display: a plain path on this machine, else the URI."""
    return str(local_folder(uri) or uri)


def public_uri(uri: str, name: str) -> str:
    """Returns a URI that may be published: `uri`, or a name for a folder of a machine.

    A path on this machine means nothing on others and may name its user.

    Args:
        uri: where something is.
        name: what it is, such as `dataset:reach:1.0.0`.
    """
    return uri if local_folder(uri) is None else f"urn:continuon:{name}"


def local_folder(uri: str) -> pathlib.Path | None:
    """Returns the folder that a `file://` URI names, or None for another scheme."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "file":
        return None
    return pathlib.Path(urllib.parse.unquote(parts.path))
