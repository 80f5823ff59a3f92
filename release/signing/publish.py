"""Moves a channel to a package: writes the tar, the signed channel, then the copy.

The signed envelope is the only file that robots read. It is written whole, after the
tar that it names, so a publisher that dies between two writes leaves either the old
channel or the new one. If two publish at once, the second finds that the generation
has changed and stops.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from base import text_forms
from base.digest import sha256_bytes, sha256_file
from base.errors import OversizedError, PreconditionFailedError, StoreError
from base.store.store import Store
from release import channel, channel_verification, dsse, package, verification
from release.channel import Channel, ChannelProvenance, PackageEntry, Previous, Rollout
from release.channel_verification import VerifiedChannel
from release.errors import DigestMismatchError, RollbackError, WrongChannelError
from release.signing.private_keys import PrivateKey
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedPackage

DEFAULT_MINIMUM_RUNTIME = "0.1.0"
DEFAULT_ROLLOUT = Rollout(percent=100, salt="everyone")


@dataclass(frozen=True)
class Published:
    """A published release and its files in the store.

    Attributes:
        record: the published channel.
        digest: package digest.
        tar_path: path of the package tar in the store.
        envelope_path: path of the signed channel in the store.
        channel_uri: URI of the channel file for people, in the form for `--channel`.
    """

    record: Channel
    digest: str
    tar_path: str
    envelope_path: str
    channel_uri: str

    @property
    def release_counter(self) -> int:
        """The channel's release counter."""
        return self.record.release_counter


def publish(
    store: Store,
    channel_name: str,
    package_folder: Path,
    keys: Sequence[PrivateKey],
    trusted: TrustedKeys,
    now: datetime,
    expires: datetime,
    rollout: Rollout = DEFAULT_ROLLOUT,
    minimum_runtime: str = DEFAULT_MINIMUM_RUNTIME,
    release_counter: int | None = None,
) -> Published:
    """Publishes a blessed package as the next release of a channel.

    Packages of the current release for other targets stay in the channel.

    Args:
        store: the store of channels and packages.
        channel_name: the channel to move.
        package_folder: a package with provenance and blessing.
        keys: the keys that sign the channel.
        trusted: the keyring that robots use; nothing that it refuses is published.
        now: the time, with a time zone.
        expires: time after which robots no longer accept the channel.
        rollout: share of robots that take it.
        minimum_runtime: lowest runtime version that can run it.
        release_counter: the counter of the release; None for the lowest that is above
            the current one and not below the package's counter.

    Raises:
        What `verification.verify_package` raises, for the package, and:
        UntrustedError: `trusted` refuses the current channel or these keys.
        RollbackError: `release_counter` is too low.
        CounterStepError: it is too far above the current release's, or the package's
            own counter is; robots would not believe it.
        TimeTooFarError: `expires` is further ahead than robots believe.
        PreconditionFailedError: another release was published meanwhile.
        DigestMismatchError: the store holds other bytes under the tar's name.
        StoreError: the store failed.
        ValueError: `expires` is not after `now`.
    """
    if text_forms.require_aware(expires) <= now:
        raise ValueError(f"expected an expiry after {now}, got {expires}")
    verified = verification.verify_package(package_folder, trusted, now, None, None)
    generation = store.generation(channel.envelope_path(channel_name))
    current = channel_verification.read_current_channel(store, channel_name, trusted)
    tar = package.pack_tar(package_folder)
    record = Channel(
        channel=channel_name,
        release_counter=_next_counter(current, verified, release_counter),
        package=_entries(current, verified, tar),
        rollout=rollout,
        minimum_runtime=minimum_runtime,
        previous=_previous(current),
        provenance=_provenance(verified),
        expires=expires,
        issued=now,
    )
    payload = record.encode()
    envelope = dsse.sign(payload, channel.PAYLOAD_TYPE, keys)
    last_counter = current.release_counter if current else 0
    # Whatever robots would refuse is refused here, before anything is written.
    channel_verification.verify_channel(
        envelope, channel_name, trusted, now, last_counter
    )
    entry = record.package[verified.manifest.target]
    _put_once(store, entry.path, tar)
    store.put(channel.envelope_path(channel_name), envelope, generation)
    _put_copy(store, channel_name, payload, trusted)
    return Published(
        record=record,
        digest=verified.digest,
        tar_path=entry.path,
        envelope_path=channel.envelope_path(channel_name),
        channel_uri=f"{store.uri}/{channel.plain_path(channel_name)}",
    )


def publish_envelope(
    store: Store,
    channel_name: str,
    envelope: bytes,
    tars: Mapping[str, bytes],
    trusted: TrustedKeys,
    now: datetime,
) -> VerifiedChannel:
    """Publishes a channel that key holders signed elsewhere.

    Args:
        store: the store of channels and packages.
        channel_name: the channel to move.
        envelope: the signed channel.
        tars: package tar by target; tars that the store already holds may be left out.
        trusted: the keyring that robots use.
        now: the time, with a time zone.

    Raises:
        What `channel_verification.verify_channel` raises, against the current release,
            and:
        WrongChannelError: `previous` is not the store's current release.
        NotFoundError: a tar that the channel names is neither given nor stored.
        StoreError: a tar is not the one that the channel names.
        DigestMismatchError: the store holds other bytes under a tar's name.
        PreconditionFailedError: another release was published meanwhile.
    """
    path = channel.envelope_path(channel_name)
    generation = store.generation(path)
    current = channel_verification.read_current_channel(store, channel_name, trusted)
    last_counter = current.release_counter if current else 0
    verified = channel_verification.verify_channel(
        envelope, channel_name, trusted, now, last_counter
    )
    if verified.record.previous != _previous(current):
        raise WrongChannelError(
            f"channel {channel_name}",
            f"previous {_previous(current)}",
            f"{verified.record.previous}",
            "make the channel file again on top of the current release",
        )
    for target, entry in verified.record.package.items():
        tar = tars.get(target)
        if tar is not None and sha256_bytes(tar) == entry.sha256:
            _put_once(store, entry.path, tar)
        elif (
            tar is not None
            or _digest(store, entry.path, entry.size_bytes) != entry.sha256
        ):
            raise StoreError(entry.path, f"a tar of sha256 {entry.sha256}", "another")
    store.put(path, envelope, generation)
    _put_copy(store, channel_name, verified.record.encode(), trusted)
    return verified


def _next_counter(
    current: VerifiedChannel | None, verified: VerifiedPackage, wanted: int | None
) -> int:
    last = current.release_counter if current else 0
    lowest = max(last + 1, verified.manifest.release_counter)
    if wanted is not None and wanted < lowest:
        raise RollbackError(
            verified.folder, f"a release counter of at least {lowest}", wanted
        )
    return lowest if wanted is None else wanted


def _entries(
    current: VerifiedChannel | None, verified: VerifiedPackage, tar: bytes
) -> dict[str, PackageEntry]:
    entries = dict(current.record.package) if current else {}
    tar_sha256 = sha256_bytes(tar)
    entries[verified.manifest.target] = PackageEntry(
        path=channel.tar_path(tar_sha256),
        sha256=tar_sha256,
        size_bytes=len(tar),
        digest=verified.digest,
    )
    return entries


def _previous(current: VerifiedChannel | None) -> Previous | None:
    if current is None:
        return None
    return Previous(current.release_counter, current.sha256)


def _provenance(verified: VerifiedPackage) -> ChannelProvenance:
    return ChannelProvenance(
        run_id=verified.provenance.run_id,
        dataset_manifest_digest=verified.provenance.dataset_manifest_digest,
        commit=verified.provenance.code_commit,
        blessing=sha256_file(verified.folder / package.BLESSING),
    )


def _digest(store: Store, path: str, size_bytes: int) -> str:
    """Returns the digest of an object of this size, or says that it is larger."""
    try:
        return store.digest(path, size_bytes)
    except OversizedError as e:
        return e.got


def _put_once(store: Store, path: str, data: bytes) -> None:
    """Writes an object whose name is its digest, unless it already exists."""
    try:
        store.put(path, data, if_generation_match=0)
    except PreconditionFailedError as e:
        wanted, held = sha256_bytes(data), _digest(store, path, len(data))
        if held != wanted:
            raise DigestMismatchError(
                f"{store.uri}/{path}",
                f"the sha256 of its name, {wanted}",
                held,
                "the stored file is damaged: remove it and publish again",
            ) from e


def _put_copy(
    store: Store, channel_name: str, payload: bytes, trusted: TrustedKeys
) -> None:
    """Writes the copy for people, unless a later release has been published."""
    path = channel.plain_path(channel_name)
    while True:
        generation = store.generation(path)
        current = channel_verification.read_current_channel(
            store, channel_name, trusted
        )
        if current is None or current.sha256 != sha256_bytes(payload):
            return
        try:
            store.put(path, payload, generation)
            return
        except PreconditionFailedError:
            continue  # perhaps an earlier publisher wrote its copy late
