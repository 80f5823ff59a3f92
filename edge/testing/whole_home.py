"""Checks that a robot's folder is whole, at any instant, for tests that kill programs.

Programs may be at work in the folder meanwhile: what they remove while it is looked at
is looked at again. Nobody has damaged anything here, so nothing may be set aside.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from base import durable_file
from base.digest import sha256_bytes
from edge.control import local_delta
from edge.episodes import open_episode, step_account
from edge.errors import DeltaError
from edge.loops import history, ledger
from edge.loops.delta_store import CURRENT, LAST_GOOD, DeltaStore
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.runtime_version import EXPORT_TARGET
from release import package
from release.errors import ReleaseError
from release.package import PackageManifest
from release.trusted_keys import TrustedKeys
from release.verification import verify_package
from rlds import reader
from rlds.episode import Episode

_MEMORY: Final = re.compile(r"\d{8}-(?:learn|judge)-([0-9a-f]{64})\.tfrecord")
_LIMIT_BYTES: Final = 1 << 20


class WholeHome:
    """Looks at one robot's folder again and again; a file that was whole stays so."""

    def __init__(self, home: Home, keys: TrustedKeys, robot_id: str) -> None:
        self._home, self._keys, self._robot_id = home, keys, robot_id
        self._state = StateFolder(home.packages)
        self._store = DeltaStore(home.deltas)
        self._verified: set[str] = set()
        self.shared: dict[str, Episode] = {}

    def check(self) -> None:
        """Pointers name whole things, and every episode and record can be read."""
        self.check_package()
        for pointer in (CURRENT, LAST_GOOD):
            self.check_delta(pointer)
        self._check_memories()
        self.read_shared()
        self._check_records()
        set_aside = [*self._home.root.rglob(f"*{durable_file.DAMAGED_SUFFIX}*")]
        assert set_aside == []

    def check_package(self) -> PackageManifest:
        """The pointer names a package that verifies; returns its manifest."""
        while True:
            installed = self._state.read_installed()
            assert installed is not None
            folder = self._state.package_folder(installed.digest)
            try:
                found = verify_package(
                    folder, self._keys, None, EXPORT_TARGET, installed.digest
                )
            except (ReleaseError, OSError):
                # The updater may remove what the pointer does not name any more.
                assert self._state.read_installed() != installed
                continue
            return found.manifest

    def check_delta(self, pointer: str) -> str | None:
        """A pointer names a whole delta in its bounds, or none; returns its digest."""
        while True:
            digest = self._store.named(pointer)
            if digest is None:
                return None
            try:
                self._read_delta(digest)
            except (DeltaError, OSError):
                # The learner may move away what the pointer does not name any more.
                assert self._store.named(pointer) != digest
                continue
            return digest

    def _read_delta(self, digest: str) -> None:
        folder = self._store.folder(digest)
        record = local_delta.parse((folder / local_delta.RECORD).read_bytes(), folder)
        manifest = self._state.package_folder(record.base_package) / package.MANIFEST
        try:
            raw = manifest.read_bytes()
        except FileNotFoundError:  # of a package of long ago: no robot drives with it
            content = (folder / local_delta.TENSORS).read_bytes()
            assert sha256_bytes(content) == record.tensors_sha256
            return
        delta = local_delta.read(folder, package.parse(raw))
        assert all(np.isfinite(vector).all() for vector in delta.vectors.values())

    def _check_memories(self) -> None:
        for path in self._home.memories.glob("*.tfrecord"):
            match = _MEMORY.fullmatch(path.name)
            assert match, path
            if path.name not in self._verified:
                raw = _read(path)
                if raw is None:
                    continue
                assert sha256_bytes(raw) == match[1], path
                self._read_own(raw)
                self._verified.add(path.name)
        for path in self._home.new_memories.glob("*.tfrecord"):
            if (raw := _read(path)) is not None:
                self._read_own(raw)

    def _read_own(self, raw: bytes) -> None:
        episode = reader.read_episode_bytes(raw, len(raw))
        assert episode.metadata.robot_hash == self._robot_id

    def read_shared(self) -> int:
        """Reads the episodes that were shared; returns how many there are."""
        for path in self._home.shared.glob("*.tfrecord"):
            if path.name not in self._verified:
                found = reader.read_episode(path)
                assert found.metadata.episode_id not in self.shared, path
                self.shared[found.metadata.episode_id] = found
                self._verified.add(path.name)
        return len(self.shared)

    def _check_records(self) -> None:
        path = self._home.root / ledger.FILE
        if path.exists():
            assert not ledger.read_spent(path).lost
        for record in (
            self._home.memories / history.FILE,
            self._home.private / step_account.ACCOUNT,
            self._home.private / open_episode.OPEN,
        ):
            if (raw := _read(record)) is not None:
                json.loads(raw)

    def read_account(self) -> dict[str, Any]:
        """What the recorder says of all steps."""
        path = self._home.private / step_account.ACCOUNT
        return dict(json.loads(path.read_bytes()))

    def count_leftovers(self) -> int:
        """Files and folders that were being written when a program was killed."""
        return sum(1 for _ in self._home.root.rglob(f"{durable_file.LEFTOVER_PREFIX}*"))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None  # a program has just taken it
