"""Where a run's results go and who signs them, checked before any time is spent."""

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
class Place:
    """Where results go, and who signs them.

    Attributes:
        store: runs, packages and channels.
        family_folder: folder of this family's runs on this machine.
        local: whether that folder is the store's own.
        key: the development key.
        trusted: the keyring with that key.
        keyring: its file.
        channel: what the channel carries before this run.
    """

    store: Store
    family_folder: Path
    local: bool
    key: PrivateKey
    trusted: TrustedKeys
    keyring: Path
    channel: ChannelState


def open_place(settings: JobSettings) -> Place:
    """Opens the store and checks it before any time is spent.

    Raises:
        DiskSpaceError: too little room for a run.
        ReleaseError: the store, the key or the channel cannot be used.
    """
    here = locations.local_folder(settings.run.artifacts)
    parent = settings.run.work_folder / "runs" if here is None else here
    run_folder.require_space(parent, settings.run.required_disk_bytes)
    opened = store.open_store(settings.run.artifacts)
    key = private_keys.open_development_key(settings.run.keys_folder)
    trusted = TrustedKeys.from_keys(key.trusted, allow_development=True)
    return Place(
        store=opened,
        family_folder=parent / settings.publish.family,
        local=here is not None,
        key=key,
        trusted=trusted,
        keyring=settings.run.keys_folder / private_keys.DEVELOPMENT_KEYRING_FILE,
        channel=channel_baseline.read_channel(
            opened, settings.publish.channel, TARGET, trusted
        ),
    )
