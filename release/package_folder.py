"""Describes the files of a folder as a package, and lists them.

The folder then holds what its `package.json` says, and nothing else.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from base import canonical_json, durable_file
from base.digest import sha256_bytes, sha256_file
from release.errors import LinkError, UnknownFileError
from release.package import (
    EVALUATION,
    LEARNING,
    MANIFEST,
    SCHEMA_VERSION,
    STATEMENTS,
    UNLISTED,
    parse,
)
from release.package_tar import check_package_path


def build(
    folder: Path,
    *,
    family: str,
    version: str,
    release_counter: int,
    target: str,
    robot: Mapping[str, object],
    functions: Mapping[str, object],
    surfaces: Mapping[str, object],
    backbone_digest: str,
    safety_version: str,
    metadata: Mapping[str, object],
    learning: Mapping[str, object] | None = None,
) -> str:
    """Writes `package.json` for the files in `folder`.

    The JSON arguments have the form of the manifest's fields of the same name. The
    same files and arguments give the same bytes. If the digest changes, the statements
    and the report about the folder's earlier content are removed.

    Returns:
        The package digest.

    Raises:
        MalformedError: an argument does not have its field's form.
        MissingFileError: a required file or a function's file is not in the folder.
        LinkError: something in the folder is neither a plain file nor a folder.
        UnsafePathError: a package may not hold a file of that name.
        OversizedError: the files have more bytes than a package may hold.
    """
    paths = [path for path in list_files(folder) if path not in UNLISTED]
    value = {
        "schema_version": SCHEMA_VERSION,
        "family": family,
        "version": version,
        "release_counter": release_counter,
        "target": target,
        "robot": robot,
        "files": [
            {
                "path": path,
                "sha256": sha256_file(folder / path),
                "size_bytes": (folder / path).stat().st_size,
            }
            for path in paths
        ],
        "functions": functions,
        "surfaces": surfaces,
        "backbone_digest": backbone_digest,
        "safety_version": safety_version,
        "metadata": metadata,
        **({} if learning is None else {LEARNING: learning}),
    }
    raw = canonical_json.encode(value)
    manifest = parse(raw, folder / MANIFEST)
    _remove_stale_statements(folder, raw)
    durable_file.write(folder / MANIFEST, raw)
    return manifest.digest


def list_files(folder: Path) -> tuple[str, ...]:
    """Returns the sorted paths of all files below `folder`, unlisted ones included.

    Raises:
        LinkError: there is a symbolic link, a hard link or a special file.
        UnknownFileError: there is an empty folder.
        UnsafePathError: a package may not hold a file of that name.
        OSError: the folder cannot be read.
    """
    found: list[str] = []
    _walk(folder, "", found)
    return tuple(sorted(found))


def _walk(folder: Path, prefix: str, found: list[str]) -> None:
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            path = check_package_path(f"{prefix}{entry.name}", folder)
            if entry.is_symlink():
                raise LinkError(folder / path, "a plain file", "a symbolic link")
            if entry.is_dir(follow_symlinks=False):
                before = len(found)
                _walk(folder, f"{path}/", found)
                if len(found) == before:
                    raise UnknownFileError(
                        folder / path, "no empty folder", "an empty folder"
                    )
            elif not entry.is_file(follow_symlinks=False):
                raise LinkError(folder / path, "a plain file", "a special file")
            elif entry.stat(follow_symlinks=False).st_nlink != 1:
                raise LinkError(folder / path, "a plain file", "a hard link")
            else:
                found.append(path)


def _remove_stale_statements(folder: Path, raw: bytes) -> None:
    manifest = folder / MANIFEST
    if manifest.exists() and sha256_file(manifest) == sha256_bytes(raw):
        return
    for name in (*STATEMENTS, EVALUATION):
        (folder / name).unlink(missing_ok=True)
