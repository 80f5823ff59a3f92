"""Where a run's results are stored and which key signs them, checked at the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from base.store import store
from base.store.store import Store
from cloud import locations
from cloud.evaluate import channel_baseline
from cloud.evaluate.channel_baseline import ChannelState
from cloud.job import run_folder
from cloud.job.settings import TARGET, JobSettings
from release.signing import private_keys
from release.signing.private_keys import PrivateKey
from release.trusted_keys import TrustedKeys


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where results are stored, and the key that signs them.

    Attributes:
        store: the store of runs, packages and channels.
        family_folder: folder of this family's runs on this machine.
        local: whether that folder is in the store itself.
        key: the development key.
        trusted: the keyring with that key.
        keyring: file of the keyring.
        channel: state of the channel before this run.
    """

    store: Store
    family_folder: Path
    local: bool
    key: PrivateKey
    trusted: TrustedKeys
    keyring: Path
    channel: ChannelState


def open_destination(settings: JobSettings) -> Destination:
    """Opens store, key and channel and checks them before the run starts.

    Raises:
        DiskSpaceError: there is too little free space for a run.
        StoreError, ReleaseError: the store, the key or the channel cannot be used.
    """
    local = locations.local_folder(settings.run.artifacts_uri)
    parent = settings.run.work_folder / "runs" if local is None else local
    run_folder.require_space(parent, settings.run.required_disk_bytes)
    opened = store.open_store(settings.run.artifacts_uri)
    key = private_keys.open_development_key(settings.run.keys_folder)
    trusted = TrustedKeys.from_keys(key.trusted, allow_development=True)
    return Destination(
        store=opened,
        family_folder=parent / settings.publish.family,
        local=local is not None,
        key=key,
        trusted=trusted,
        keyring=settings.run.keys_folder / private_keys.DEVELOPMENT_KEYRING_FILE,
        channel=channel_baseline.read_channel(
            opened, settings.publish.channel, TARGET, trusted
        ),
    )
