"""The edge package as the store holds it: verified there, not where it was made."""

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
    """Passes a package through `release.verification` and says what it is.

    A package that is not blessed is refused there. Its digests are then checked
    alone, and the refusal is part of the answer.

    Args:
        uri: where the package's files lie, file:// or gs://.
        keys: who may sign it.
        now: the time, with a time zone.
        target: export target it must be for.
        digest: package digest it must have.

    Raises:
        ReleaseError: the package is not there or damaged, or its signatures do not
            hold.
    """
    with _at_hand(uri) as folder:
        try:
            found = verify_package(folder, keys, now, target, digest)
        except NotBlessedError as e:
            return {
                "digest": verify_integrity(folder, target).digest,
                "verified": f"digests only, a robot refuses it: got {e.got}",
            }
    told = found.provenance
    return {
        "digest": found.digest,
        "verified": "digests, provenance and blessing",
        "run": told.run_id,
        "dataset": f"{told.dataset_uri} (sha256 {told.dataset_manifest_digest})",
        "code": f"{told.code_uri} at {told.code_commit}",
        "hardware": told.hardware,
        "target": told.export_target,
        "safety config": told.safety_version,
        "trained": f"{told.started:%Y-%m-%d %H:%M} to {told.finished:%H:%M} UTC",
    }


@contextlib.contextmanager
def _at_hand(uri: str) -> Iterator[Path]:
    """The package's folder, or a copy for as long as it is looked at."""
    local = locations.local_folder(uri)
    if local is not None:
        yield local
        return
    with tempfile.TemporaryDirectory() as name:
        try:
            _copy(uri, Path(name))
            yield Path(name)
        except ContinuonError as e:
            # `release.verification` names the copy, which is gone when this is read.
            e.add_note(f"{name} was the copy of {uri}")
            raise


def _copy(uri: str, folder: Path) -> None:
    store = open_store(uri)
    for name in store.list(""):
        file = folder / check_package_path(name, uri)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(store.get(name, LIMITS.package_bytes))
