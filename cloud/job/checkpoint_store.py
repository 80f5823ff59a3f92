"""Finished checkpoints in a store.

A checkpoint is complete when its files match its manifest, whichever tool copied them.
Orbax instead recognises a whole checkpoint in a bucket by a file `commit_success.txt`.
A copy made by another tool, or of a checkpoint of an older Orbax, lacks that file and
is ignored (google/orbax#394); a copy that was interrupted after that file has it and is
taken for whole. The manifest, `checkpoint_manifest.json`, lists every file with size
and digest. It is in the checkpoint's folder, so that any copy of the folder contains
it, and is written last. Orbax's own marker is written too, so that Orbax alone can
restore the same folder.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orbax.checkpoint as ocp

from base import canonical_json, durable_file
from base.digest import sha256_bytes, sha256_file
from base.errors import NotFoundError, OversizedError
from base.json_fields import Fields, decode_canonical
from base.store.store import Store
from base.text_forms import check_relative_path
from cloud.errors import CheckpointError
from cloud.train import machine_failure

MANIFEST = "checkpoint_manifest.json"
MANIFEST_LIMIT_BYTES = 2 * 1024 * 1024
"""Room for ten thousand files of about 150 bytes; Orbax writes some dozens."""
_FILE_LIMIT_BYTES = 16 * 1024**3
"""Of one file of a foreign copy, which has no manifest to say its size. Orbax cuts
arrays into files of a few gigabytes."""
ORBAX_MARKER = "commit_success.txt"
_ORBAX_METADATA = ("_METADATA", "_CHECKPOINT_METADATA")
_SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """One file of a checkpoint: path below its folder, size and SHA-256."""

    path: str
    size_bytes: int
    sha256: str


def seal(folder: Path) -> tuple[StoredFile, ...]:
    """Writes a manifest of a finished checkpoint's files into its folder.

    Raises:
        CheckpointError: there is no finished checkpoint in `folder`.
        DiskError: a file cannot be written.
    """
    if not (folder / "_CHECKPOINT_METADATA").is_file():
        raise CheckpointError(
            folder,
            "a finished Orbax checkpoint",
            "no _CHECKPOINT_METADATA",
            "name the folder of one checkpoint",
        )
    for marked in _marked_folders(_plain_files(folder)):
        marker = folder / marked / ORBAX_MARKER
        if not marker.exists():
            durable_file.write(marker, b"Checkpoint commit was successful\n")
    files = tuple(
        StoredFile(name, (folder / name).stat().st_size, sha256_file(folder / name))
        for name in _plain_files(folder)
    )
    durable_file.write(folder / MANIFEST, _encode(files))
    return files


def upload(folder: Path, store: Store, prefix: str) -> tuple[StoredFile, ...]:
    """Seals a finished checkpoint and uploads it below `prefix`, its manifest last.

    Files that are already there with the right content are skipped, so the same call
    continues an interrupted upload.

    Raises:
        CheckpointError: `folder` holds no finished checkpoint, or another complete
            one is at `prefix`.
        StoreError: the store failed.
    """
    files = seal(folder)
    manifest = (folder / MANIFEST).read_bytes()
    manifest_path = f"{prefix}/{MANIFEST}"
    try:
        present = store.get(manifest_path, MANIFEST_LIMIT_BYTES)
    except NotFoundError:
        present = None
    if present not in (None, manifest):
        raise CheckpointError(
            f"{store.uri}/{manifest_path}",
            "no checkpoint or this one",
            "another",
            "a checkpoint never changes, choose a new folder",
        )
    uploaded = set(store.list(f"{prefix}/"))
    for file in files:
        path = f"{prefix}/{file.path}"
        if path not in uploaded or not _holds(store, path, file):
            store.put(path, (folder / file.path).read_bytes())
    if present is None:
        store.put(manifest_path, manifest, if_generation_match=0)
    return files


def fetch(store: Store, prefix: str, into: Path) -> tuple[StoredFile, ...]:
    """Downloads a complete checkpoint to the new folder `into`, which appears whole.

    Raises:
        CheckpointError: there is no manifest, or a file is missing or differs from it;
            nothing is left at `into`.
        StoreError: the store failed.
    """
    files = _read_manifest(store, prefix)
    _require_absent(into)
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = durable_file.make_folder(into.parent, f".draft-{into.name}-")
    try:
        for file in files:
            _write(draft, file.path, _get_verified(store, prefix, file))
        _write(draft, MANIFEST, _encode(files))
        draft.rename(into)
        durable_file.fsync_folder(into.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return files


def adopt(store: Store, prefix: str) -> tuple[StoredFile, ...]:
    """Makes a copy without a manifest complete, after Orbax has restored all of it.

    Every array is restored from a copy on this machine, which also verifies the
    checksums in the files. Only then are Orbax's markers and the manifest uploaded.

    Raises:
        CheckpointError: a manifest exists and the files do not match it, or Orbax
            cannot restore the files; nothing was uploaded.
        StoreError: the store failed.
    """
    paths = [p.removeprefix(f"{prefix}/") for p in store.list(f"{prefix}/")]
    if MANIFEST in paths:
        files = _read_manifest(store, prefix)
        for file in files:
            _get_verified(store, prefix, file)
        return files
    with tempfile.TemporaryDirectory(prefix="adopt-") as name:
        folder = Path(name) / "checkpoint"
        folder.mkdir()
        for path in paths:
            data = store.get(f"{prefix}/{path}", _FILE_LIMIT_BYTES)
            _write(folder, path, data)
        _require_restorable(folder, f"{store.uri}/{prefix}")
        return upload(folder, store, prefix)


def _require_restorable(folder: Path, where: str) -> None:
    items = sorted(p.parent for p in folder.rglob("_METADATA"))
    if not items:
        raise CheckpointError(
            where,
            "an Orbax checkpoint",
            "no _METADATA",
            "copy the whole folder of the checkpoint again",
        )
    try:
        with ocp.StandardCheckpointer() as reader:
            for item in items:
                reader.restore(item)
    except Exception as e:
        remedy = machine_failure.remedy(e) or "copy it again from a whole checkpoint"
        raise CheckpointError(
            where,
            "a checkpoint that Orbax can restore",
            " ".join(str(e).split())[:200],
            remedy,
        ) from e


def _read_manifest(store: Store, prefix: str) -> tuple[StoredFile, ...]:
    source = f"{store.uri}/{prefix}/{MANIFEST}"
    try:
        raw = store.get(f"{prefix}/{MANIFEST}", MANIFEST_LIMIT_BYTES)
    except NotFoundError as e:
        raise CheckpointError(
            source,
            "the manifest of a complete checkpoint",
            "none",
            "upload it again, or adopt it if another tool has copied it",
        ) from e
    value = decode_canonical(raw, source, MANIFEST_LIMIT_BYTES)
    fields = Fields(value, source, ("schema_version", "files"))
    fields.version(_SCHEMA_VERSION)
    return tuple(
        StoredFile(
            check_relative_path(one.text("path"), source),
            one.integer("size_bytes"),
            one.sha256("sha256"),
        )
        for one in fields.each("files", ("path", "size_bytes", "sha256"))
    )


def _get_verified(store: Store, prefix: str, file: StoredFile) -> bytes:
    where = f"{store.uri}/{prefix}/{file.path}"
    expected = f"{file.size_bytes} bytes with SHA-256 {file.sha256[:12]}"
    try:
        data = store.get(f"{prefix}/{file.path}", file.size_bytes)
        found = f"{len(data)} bytes with {sha256_bytes(data)[:12]}"
        same = len(data) == file.size_bytes and sha256_bytes(data) == file.sha256
    except NotFoundError:
        found, same = "no file", False
    except OversizedError:
        found, same = "more bytes", False
    if not same:
        raise CheckpointError(
            where,
            expected,
            found,
            "the copy is incomplete, upload or copy the checkpoint again",
        )
    return data


def _holds(store: Store, path: str, file: StoredFile) -> bool:
    try:
        return store.digest(path, file.size_bytes) == file.sha256
    except OversizedError:
        return False


def _require_absent(into: Path) -> None:
    if into.exists():
        raise CheckpointError(
            into,
            "a path that does not exist",
            "an existing folder",
            "name a new one, or remove it",
        )


def _plain_files(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in names if name != MANIFEST)


def _marked_folders(files: Sequence[str]) -> set[str]:
    """Returns the folders that need Orbax's marker: the checkpoint and each item."""
    return {str(Path(name).parent) for name in files if _is_metadata(name)}


def _is_metadata(name: str) -> bool:
    return Path(name).name in _ORBAX_METADATA


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / check_relative_path(name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable_file.write(path, data)


def _encode(files: Sequence[StoredFile]) -> bytes:
    listed = [dataclasses.asdict(file) for file in files]
    return canonical_json.encode({"schema_version": _SCHEMA_VERSION, "files": listed})
