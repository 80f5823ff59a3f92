"""Reads a channel and its package from a store, never more than the signed size."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

from base.errors import StoreError
from base.store.store import Store, open_store
from edge.ota.decide import Installed
from release import channel as channel_format
from release.channel import PackageEntry
from release.channel_verification import VerifiedChannel, verify_channel
from release.errors import DigestMismatchError, MissingFileError
from release.limits import LIMITS
from release.package import unpack_tar
from release.trusted_keys import TrustedKeys

_CHUNK_BYTES: Final = 4 * 1024 * 1024


def fetch_channel(
    channel: str, keys: TrustedKeys, now: datetime | None, installed: Installed | None
) -> tuple[Store, VerifiedChannel]:
    """Returns the store of a channel and the channel's verified content.

    Args:
        channel: URI `<store>/channels/<name>.json`, or its path, of the file for
            people; this reads the signed envelope beside it.
        keys: keys that may sign the channel.
        now: current time, compared with the signed expiry; None if it is not known.
        installed: what the robot accepted before.

    Raises:
        ReleaseError: the channel is absent, unsigned, wrongly signed, expired,
            malformed, of another name, or older than what was accepted.
    """
    store_uri, name = channel_format.split_uri(_uri(channel))
    store = open_store(store_uri)
    raw = store.get(channel_format.envelope_path(name), LIMITS.channel_bytes)
    if installed is None or installed.channel != name:
        # `decide` decides whether this folder may follow another channel.
        return store, verify_channel(raw, name, keys, now, 0)
    return store, verify_channel(
        raw, name, keys, now, installed.release_counter, installed.accepted_digest
    )


def _uri(location: str) -> str:
    """The URI of a location that is given as a URI or as a path."""
    if "://" in location:
        return location
    try:
        return Path(location).expanduser().absolute().as_uri()
    except RuntimeError as e:  # the home folder of an unknown user
        raise StoreError(
            location, "a path or a URI", e, "correct the channel's path"
        ) from e


def fetch_tar(store: Store, entry: PackageEntry, tar: Path) -> None:
    """Downloads a package tar as the new file `tar`.

    At most the signed size is read and written.

    Raises:
        MissingFileError: the store holds fewer bytes than the signed size.
        DigestMismatchError: the tar is not the signed one.
        ReleaseError: the store fails.
        OSError: the disk is full or fails.
    """
    source = f"{store.uri}/{entry.path}"
    state = hashlib.sha256()
    with tar.open("xb") as out:
        offset = 0
        while offset < entry.size_bytes:
            wanted = min(_CHUNK_BYTES, entry.size_bytes - offset)
            chunk = store.get_range(entry.path, offset, wanted)
            if not chunk:
                raise MissingFileError(
                    source,
                    f"{entry.size_bytes} bytes",
                    f"{offset} bytes",
                    "publish the package again; the current package stays active",
                )
            state.update(chunk)
            out.write(chunk)
            offset += len(chunk)
    if state.hexdigest() != entry.sha256:
        raise DigestMismatchError(
            source,
            f"sha256 {entry.sha256}",
            state.hexdigest(),
            "publish the package again; the current package stays active",
        )


def unpack(tar: Path, into: Path, source: str) -> None:
    """Unpacks a fetched tar, durably, as the new folder `into`, and removes the tar.

    Args:
        tar: a tar that `fetch_tar` wrote, so its bytes are the signed ones.
        into: the folder.
        source: the name used in errors.

    Raises:
        ReleaseError: it is not a package tar.
        OSError: the disk is full or fails.
    """
    with tar.open("rb") as stream:
        unpack_tar(stream, into, tar.stat().st_size, source)
    tar.unlink()
