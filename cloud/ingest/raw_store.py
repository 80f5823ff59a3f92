"""Lists the raw root: which episodes lie there, and what else."""

import dataclasses
from collections.abc import Iterable

from base.store.store import Store
from cloud.errors import RawRootError
from rlds import raw_layout
from rlds.raw_layout import RawFolder


@dataclasses.dataclass(frozen=True)
class RawListing:
    """What lies below the raw root.

    Attributes:
        folders: episode folders with the names of their files, sorted.
        strangers: objects whose path is none of the layout's, sorted.
    """

    folders: tuple[tuple[RawFolder, frozenset[str]], ...]
    strangers: tuple[str, ...]


def read(store: Store) -> RawListing:
    """Lists a raw root.

    A mistyped address lists as nothing, in a folder as in a bucket. Taken for a raw
    root without episodes, it would empty the index.

    Raises:
        RawRootError: there is not one object below `rlds_v0/`.
    """
    paths = store.list(f"{raw_layout.PREFIX}/")
    if not paths:
        raise RawRootError(
            store.uri,
            f"raw episodes below {raw_layout.PREFIX}/",
            "no such place or an empty one",
            "name the store that //edge:upload wrote to in --raw",
        )
    return sort_out(paths)


def sort_out(paths: Iterable[str]) -> RawListing:
    """Groups object paths by episode folder and sets strangers apart."""
    folders: dict[RawFolder, set[str]] = {}
    strangers = []
    for path in paths:
        parsed = raw_layout.parse(path)
        if parsed is None:
            strangers.append(path)
            continue
        folder, file = parsed
        folders.setdefault(folder, set()).add(file)
    ordered = sorted(folders.items(), key=lambda item: item[0])
    return RawListing(
        tuple((folder, frozenset(files)) for folder, files in ordered),
        tuple(sorted(strangers)),
    )
