"""Reads a channel and its package from a store, never more than the signed size.

A robot does not move while it updates. So all that one update reads has one deadline
together, however its store spreads the delay.
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

from base import path_flags
from base.errors import NotFoundError
from base.store.deadline import Deadline
from base.store.location import to_uri
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
# For the questions of one update and for a network that comes back meanwhile. The
# bytes of a package have their own time, from the size that its publisher signed.
_ALLOWANCE_S: Final = 150.0


class ChannelStore:
    """The store of a channel, for one update: all its reads have one deadline."""

    def __init__(self, store: Store) -> None:
        """Starts the time."""
        self._store = store
        self._deadline = Deadline(_ALLOWANCE_S)

    @property
    def uri(self) -> str:
        """See `Store.uri`."""
        return self._store.uri

    def get(self, path: str, limit_bytes: int) -> bytes:
        """See `Store.get`; a StoreError if the update's time is over."""
        return self._deadline.run(
            f"{self.uri}/{path}", lambda: self._store.get(path, limit_bytes)
        )

    def get_range(self, path: str, offset: int, size_bytes: int) -> bytes:
        """See `Store.get_range`; a StoreError if the update's time is over."""
        return self._deadline.run(
            f"{self.uri}/{path}",
            lambda: self._store.get_range(path, offset, size_bytes),
        )

    def expect_bytes(self, size_bytes: int) -> None:
        """Gives the update the time that so many bytes take on a slow network."""
        self._deadline.add_bytes(size_bytes)


def fetch_channel(
    channel: str, keys: TrustedKeys, now: datetime | None, installed: Installed | None
) -> tuple[ChannelStore, VerifiedChannel]:
    """Returns the store of a channel and the channel's verified content.

    Args:
        channel: URI `<store>/channels/<name>.json`, or its path, of the file for
            people; this reads the signed envelope beside it.
        keys: keys that may sign the channel.
        now: current time, compared with the signed expiry; None if it is not known.
        installed: what the robot accepted before.

    Raises:
        NotFoundError: there is no such channel.
        ReleaseError: the channel is unsigned, wrongly signed, expired,
            malformed, of another name, or older than what was accepted.
        StoreError: the store fails, or does not answer in time.
    """
    store_uri, name = channel_format.split_uri(to_uri(channel))
    store = ChannelStore(open_store(store_uri))
    signed = channel_format.envelope_path(name)
    try:
        raw = store.get(signed, LIMITS.channel_bytes)
    except NotFoundError as e:
        raise NotFoundError(
            channel,
            "a channel",
            f"no {signed} in its store" + (f": {e.got}" if e.got != "none" else ""),
            "publish one, as //cloud:train does, or check --channel",
        ) from e
    if installed is None or installed.channel != name:
        # `decide` decides whether this folder may follow another channel.
        return store, verify_channel(raw, name, keys, now, 0)
    return store, verify_channel(
        raw, name, keys, now, installed.release_counter, installed.accepted_digest
    )


def require_form(channel: str, flag: str = "channel") -> None:
    """Checks what can be told of a channel's location without looking there.

    Args:
        channel: what a person gave.
        flag: the flag that it was given with, without dashes.

    Raises:
        FlagValueError: it is no STORE/channels/NAME.json, or its store is of a kind
            that is not known.
    """
    with path_flags.about(flag, "a channel", "correct the location of the channel"):
        uri = to_uri(channel)
        if not uri.startswith(("gs://", "file://")):
            open_store(uri)  # says which there are
        store_uri, _ = channel_format.split_uri(uri)
        if not store_uri.startswith("gs://"):  # a bucket needs credentials
            open_store(store_uri)


def fetch_tar(store: ChannelStore, entry: PackageEntry, tar: Path) -> None:
    """Downloads a package tar as the new file `tar`.

    At most the signed size is read and written.

    Raises:
        MissingFileError: the store holds fewer bytes than the signed size.
        DigestMismatchError: the tar is not the signed one.
        StoreError: the store fails, or does not answer in time.
        OSError: the disk is full or fails.
    """
    source = f"{store.uri}/{entry.path}"
    state = hashlib.sha256()
    store.expect_bytes(entry.size_bytes)
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
                    "nothing changes on this robot; publish the package again",
                )
            state.update(chunk)
            out.write(chunk)
            offset += len(chunk)
    if state.hexdigest() != entry.sha256:
        raise DigestMismatchError(
            source,
            f"sha256 {entry.sha256}",
            state.hexdigest(),
            "nothing changes on this robot; publish the package again",
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
