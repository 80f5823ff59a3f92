"""Flags that name a file or a folder, checked before a command does anything.

A command says once which of its flags name what. A folder where a file is expected, or
a file where a folder is or on the way there, is then an error about the flag: not one
of a library after an hour of work, in its own words.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from absl import flags

from base.errors import WrongKindError

_FILE, _FOLDER = "file", "folder"
_kinds: dict[str, str] = {}


def files(*names: str) -> None:
    """Declares that these flags name files, which need not exist."""
    _kinds.update(dict.fromkeys(names, _FILE))


def folders(*names: str) -> None:
    """Declares that these flags name folders, or URIs of stores; none need exist."""
    _kinds.update(dict.fromkeys(names, _FOLDER))


def declared() -> Mapping[str, str]:
    """Returns `file` or `folder` for every flag that was declared."""
    return dict(_kinds)


def require_kinds() -> None:
    """Refuses flags whose path is a folder where a file is expected, or the reverse.

    Raises:
        WrongKindError: the first such flag.
    """
    for name, kind in _kinds.items():
        value = flags.FLAGS[name].value
        for text in value if isinstance(value, list) else [value]:
            path = _local_path(name, text) if text else None
            if path is not None:
                _require_kind(name, kind, path)


def _local_path(name: str, text: str) -> Path | None:
    """Returns the path of a file or folder on this machine, None for another URI."""
    if "://" not in text:
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError as e:
            raise WrongKindError(
                f"--{name}",
                "the home folder of a user of this machine",
                Path(text).parts[0],
                "write the path out",
            ) from e
    parts = urlsplit(text)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _require_kind(name: str, kind: str, path: Path) -> None:
    if kind == _FILE and path.is_dir():
        raise WrongKindError(f"--{name}", "a file", f"the folder {path}", "name a file")
    for part in path.parents if kind == _FILE else (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise WrongKindError(
                f"--{name}",
                "a folder" if part == path else f"a {kind} in a folder",
                f"the file {part}",
                "name a folder",
            )
