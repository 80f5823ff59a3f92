"""Lists a raw root: its episode folders, and every other object."""

import dataclasses
from collections.abc import Iterable

from base.store.store import Store
from cloud.errors import RawRootError
from rlds import raw_layout
from rlds.raw_layout import RawFolder


@dataclasses.dataclass(frozen=True)
class RawListing:
    """The objects below a raw root.

    Attributes:
        folders: episode folders with the names of their files, sorted.
        strangers: objects whose path is not part of the layout, sorted.
    """

    folders: tuple[tuple[RawFolder, frozenset[str]], ...]
    strangers: tuple[str, ...]


def read(store: Store) -> RawListing:
    """Lists a raw root.

    A mistyped address lists no objects, in a folder and in a bucket alike. If that
    counted as a raw root without episodes, it would empty the index.

    Raises:
        RawRootError: there is no object below `rlds_v0/`.
    """
    paths = store.list(f"{raw_layout.PREFIX}/")
    if not paths:
        raise RawRootError(
            store.uri,
            f"raw episodes below {raw_layout.PREFIX}/",
            "none there",
            "name the store that //edge:upload wrote to in --raw",
        )
    return group_by_folder(paths)


def group_by_folder(paths: Iterable[str]) -> RawListing:
    """Groups object paths by episode folder and separates the strangers."""
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
