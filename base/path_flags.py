"""Flags that name a file or a folder, checked before a command does anything.

A command says once which of its flags name what. A folder where a file is expected, or
a file where a folder is or on the way there, is then an error about the flag: not one
of a library after an hour of work, in its own words.

In all of them `~` at the beginning is the home folder of the user: a shell leaves it as
it is in `--home=~/robot`, and without a word a folder of the name `~` would be made.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from absl import flags

from base.errors import (
    ContinuonError,
    CredentialsError,
    FlagValueError,
    WrongKindError,
)

_FILE, _FOLDER, _PLACE = "file", "folder", "place"
_kinds: dict[str, str] = {}


def files(*names: str) -> None:
    """Declares that these flags name files, which need not exist."""
    _kinds.update(dict.fromkeys(names, _FILE))


def folders(*names: str) -> None:
    """Declares that these flags name folders, or URIs of stores; none need exist."""
    _kinds.update(dict.fromkeys(names, _FOLDER))


def places(*names: str) -> None:
    """Declares that these flags name paths or URIs whose kind is not checked here."""
    _kinds.update(dict.fromkeys(names, _PLACE))


def declared() -> Mapping[str, str]:
    """Returns `file`, `folder` or `place` for every flag that was declared."""
    return dict(_kinds)


def settle() -> None:
    """Writes out `~` in the declared flags, and refuses what is of the wrong kind.

    The defaults of the flags are written out as well.

    Raises:
        WrongKindError: the first flag whose path is a folder where a file is expected,
            or the reverse, or begins with the home folder of a user who is not here.
    """
    for name, kind in _kinds.items():
        flag = flags.FLAGS[name]
        if isinstance(flag.value, list):
            flag.value = [_write_out(name, kind, text) for text in flag.value]
        elif flag.value:
            flag.value = _write_out(name, kind, flag.value)
        for text in flag.value if isinstance(flag.value, list) else [flag.value]:
            path = _local_path(text) if text and kind != _PLACE else None
            if path is not None:
                _require_kind(name, kind, path)


@contextlib.contextmanager
def about(name: str, expected: str, remedy: str) -> Iterator[None]:
    """Makes whatever fails inside an error about a flag's value, so wrong usage.

    It is for what a person named and can name better. A service does without: what it
    was given may be there again when it is next started.

    Args:
        name: the flag, without dashes.
        expected: what it should name.
        remedy: what to do about it.

    Raises:
        FlagValueError: for any ContinuonError or OSError inside.
        CredentialsError: as it was raised inside.
    """
    flag = f"--{name}"
    try:
        yield
    except FileNotFoundError as e:
        missing = f"no file {e.filename}"
        raise FlagValueError(flag, expected, missing, remedy) from e
    except OSError as e:
        reason = e.strerror or type(e).__name__
        got = f"{e.filename}: {reason}" if e.filename else reason
        raise FlagValueError(flag, expected, got, remedy) from e
    except CredentialsError:
        raise  # another location would need them as well
    except ContinuonError as e:
        if e.source == flag:
            raise
        got = e.got if e.source in e.got else f"{e.got} in {e.source}"
        raise FlagValueError(flag, e.expected, got, remedy) from e


def _write_out(name: str, kind: str, text: str) -> str:
    """Replaces a home folder at the beginning of a path; a URI stays as it is.

    So does a place in the home of a user who is not here: whoever looks there says so.
    """
    if not text.startswith("~") or "://" in text:
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError as e:
        if kind == _PLACE:
            return text
        raise WrongKindError(
            f"--{name}",
            "the home folder of a user of this machine",
            Path(text).parts[0],
            "write the path out",
        ) from e


def _local_path(text: str) -> Path | None:
    """Returns the path of a file or folder on this machine, None for another URI."""
    if "://" not in text:
        return Path(text).absolute()
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
