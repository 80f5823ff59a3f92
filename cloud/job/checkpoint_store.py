"""Finished checkpoints in a store, complete by their content and not by their way.

Orbax tells a whole checkpoint in a bucket from a torn one by a file
`commit_success.txt`. A copy made by another tool, or of a checkpoint of an older
Orbax, lacks it and is passed over (google/orbax#394); a copy that broke off after that
file has it and is taken for whole. Here a checkpoint is complete when each file that
its `checkpoint_manifest.json` lists is there with its size and digest. The manifest
lies inside the checkpoint's folder, so that any copy of the folder carries it, and is
written last. Orbax's own marker is written with it, so that the same place restores
through Orbax alone.
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
MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024
"""About 150 bytes a file: room for a hundred thousand of them."""
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
    """Lists a finished checkpoint's files in its own manifest, for copies to carry.

    Raises:
        CheckpointError: there is no finished checkpoint in `folder`.
        DiskError: a file cannot be written.
    """
    if not (folder / "_CHECKPOINT_METADATA").is_file():
        raise CheckpointError(
            folder,
            "a finished checkpoint of Orbax",
            "no _CHECKPOINT_METADATA",
            "name the folder of one step",
        )
    for place in _marked_folders(_plain_files(folder)):
        marker = folder / place / ORBAX_MARKER
        if not marker.exists():
            durable_file.write(marker, b"Checkpoint commit was successful\n")
    files = tuple(
        StoredFile(name, (folder / name).stat().st_size, sha256_file(folder / name))
        for name in _plain_files(folder)
    )
    durable_file.write(folder / MANIFEST, _encode(files))
    return files


def upload(folder: Path, store: Store, prefix: str) -> tuple[StoredFile, ...]:
    """Seals a finished checkpoint and puts it below `prefix`, its manifest last.

    What already lies there with the right content is left, so that an upload that
    broke off is continued by the same call.

    Raises:
        CheckpointError: `folder` holds no finished checkpoint, or another stands
            complete at `prefix`.
        ReleaseError: the store failed.
    """
    files = seal(folder)
    manifest = (folder / MANIFEST).read_bytes()
    place = f"{prefix}/{MANIFEST}"
    try:
        present = store.get(place, MANIFEST_LIMIT_BYTES)
    except NotFoundError:
        present = None
    if present not in (None, manifest):
        raise CheckpointError(
            f"{store.uri}/{place}",
            "no checkpoint or this one",
            "another",
            "a checkpoint never changes, choose a new place",
        )
    there = set(store.list(f"{prefix}/"))
    for file in files:
        path = f"{prefix}/{file.path}"
        if path not in there or store.digest(path) != file.sha256:
            store.put(path, (folder / file.path).read_bytes())
    if present is None:
        store.put(place, manifest, if_generation_match=0)
    return files


def fetch(store: Store, prefix: str, into: Path) -> tuple[StoredFile, ...]:
    """Takes a complete checkpoint to the new folder `into`, which appears whole.

    Raises:
        CheckpointError: there is no manifest, or a file is missing or is not the one
            that it lists; nothing is left at `into`.
        ReleaseError: the store failed.
    """
    files = _stored_manifest(store, prefix)
    _require_absent(into)
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".draft-{into.name}-", dir=into.parent))
    try:
        for file in files:
            _write(draft, file.path, _verified(store, prefix, file))
        _write(draft, MANIFEST, _encode(files))
        draft.rename(into)
        durable_file.fsync_folder(into.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return files


def adopt(store: Store, prefix: str) -> tuple[StoredFile, ...]:
    """Makes a copy that nobody sealed complete, after Orbax has read all of it.

    Every array is restored from a copy on this machine; the files' own checksums
    are checked on the way. Only then are Orbax's markers and the manifest put.

    Raises:
        CheckpointError: a manifest is there already and does not hold, or Orbax
            cannot restore what is there; nothing was put.
        ReleaseError: the store failed.
    """
    paths = [p.removeprefix(f"{prefix}/") for p in store.list(f"{prefix}/")]
    if MANIFEST in paths:
        files = _stored_manifest(store, prefix)
        for file in files:
            _verified(store, prefix, file)
        return files
    with tempfile.TemporaryDirectory(prefix="adopt-") as name:
        folder = Path(name) / "checkpoint"
        folder.mkdir()
        for path in paths:
            data = store.get_range(f"{prefix}/{path}", 0, 1 << 62)
            _write(folder, path, data)
        _require_restorable(folder, f"{store.uri}/{prefix}")
        return upload(folder, store, prefix)


def _require_restorable(folder: Path, where: str) -> None:
    items = sorted(p.parent for p in folder.rglob("_METADATA"))
    if not items:
        raise CheckpointError(
            where,
            "a checkpoint of Orbax",
            "no _METADATA",
            "copy the whole folder of one step again",
        )
    try:
        with ocp.StandardCheckpointer() as reader:
            for item in items:
                reader.restore(item)
    except Exception as e:
        remedy = machine_failure.remedy(e) or "copy it again from where it is whole"
        raise CheckpointError(
            where,
            "a checkpoint that Orbax can restore",
            " ".join(str(e).split())[:200],
            remedy,
        ) from e


def _stored_manifest(store: Store, prefix: str) -> tuple[StoredFile, ...]:
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


def _verified(store: Store, prefix: str, file: StoredFile) -> bytes:
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


def _require_absent(into: Path) -> None:
    if into.exists():
        raise CheckpointError(into, "no folder", "one", "name a new one, or remove it")


def _plain_files(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in names if name != MANIFEST)


def _marked_folders(files: Sequence[str]) -> set[str]:
    """Folders in which Orbax looks for its marker: the step's and each item's."""
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
