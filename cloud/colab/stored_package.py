"""Verifies the edge package in the store, not the one that was built locally."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from base.errors import ContinuonError
from base.store.store import open_store
from cloud import locations
from release.errors import NotBlessedError
from release.limits import LIMITS
from release.package_tar import check_package_path
from release.trusted_keys import TrustedKeys
from release.verification import verify_integrity, verify_package


def verify(
    uri: str, keys: TrustedKeys, now: datetime, target: str, digest: str
) -> dict[str, str]:
    """Verifies a package with `release.verification` and describes it.

    A package that is not blessed is refused. Only its digests are checked then, and the
    refusal is part of the description.

    Args:
        uri: URI of the package's folder, file:// or gs://.
        keys: the trusted keys.
        now: the current time, with a time zone.
        target: export target that it must have.
        digest: package digest that it must have.

    Raises:
        ReleaseError: the package is missing or damaged, or a signature is not valid.
    """
    with _open_folder(uri) as folder:
        try:
            found = verify_package(folder, keys, now, target, digest)
        except NotBlessedError as e:
            return {
                "digest": verify_integrity(folder, target).digest,
                "verified": f"digests only, a robot refuses it: got {e.got}",
            }
    provenance = found.provenance
    return {
        "digest": found.digest,
        "verified": "digests, provenance and blessing",
        "run": provenance.run_id,
        "dataset": f"{provenance.dataset_uri} (sha256"
        f" {provenance.dataset_manifest_digest})",
        "code": f"{provenance.code_uri} at {provenance.code_commit}",
        "hardware": provenance.hardware,
        "target": provenance.export_target,
        "safety config": provenance.safety_version,
        "trained": f"{provenance.started:%Y-%m-%d %H:%M} to"
        f" {provenance.finished:%H:%M} UTC",
    }


@contextlib.contextmanager
def _open_folder(uri: str) -> Iterator[Path]:
    """Yields the package's folder or, for a bucket, a temporary copy of it."""
    local = locations.local_folder(uri)
    if local is not None:
        yield local
        return
    with tempfile.TemporaryDirectory() as name:
        try:
            _copy(uri, Path(name))
            yield Path(name)
        except ContinuonError as e:
            # The message names the copy, which no longer exists when it is read.
            e.add_note(f"{name} was the copy of {uri}")
            raise


def _copy(uri: str, folder: Path) -> None:
    store = open_store(uri)
    for name in store.list(""):
        file = folder / check_package_path(name, uri)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(store.get(name, LIMITS.package_bytes))
