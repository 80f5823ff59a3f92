"""Carries out what the operator decides about an episode of the shared folder.

| Decision | What is written, in this order |
|---|---|
| granted | the sidecar with the consent, then the record |
| refused | the record, then the sidecar without the consent |
| taken back | the record; then sidecar, episode and receipt are deleted |

Whatever forbids is written first and whatever allows last, each file whole or not at
all. So a cut leaves what held before, or what was decided; the same call again does the
rest. The sidecar of an episode that a store may hold is not changed: the store would
hold another one.

It is for whoever holds the folder's lock and the robot's key. The page has neither: it
leaves a wish (`consents.py`), which `apply_wishes` carries out.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from base import durable_file, plain_file
from base.errors import ContinuonError, DiskError, one_line
from edge.episodes import consents, terms
from edge.episodes.consents import Reached
from edge.episodes.robot_key import RobotKey
from edge.episodes.sharing import DATASET_NAME, SPLIT
from edge.errors import ConsentError
from rlds import consent_record, reader, sidecar, sidecar_statements, tfds_features
from rlds.consent_record import MAX_COUNTER, ConsentRecord, Decision
from rlds.raw_layout import RawFolder
from rlds.sidecar import Sidecar
from rlds.tfds_directory import (
    EPISODE_SUFFIX,
    FEATURES_FILE,
    SIDECAR_SUFFIX,
    TfdsDirectory,
)

FindKey = Callable[[str, str], RobotKey]
"""Returns the secrets of a key id, with which an episode of a day was signed."""
OpenDirectory = Callable[[], TfdsDirectory]


@dataclasses.dataclass(frozen=True)
class _About:
    """What a record says of its episode, whatever is left of that.

    Attributes:
        folder: where it lies in a store.
        sha256: digest of its file.
        keyid: id of the key that signed its sidecar.
    """

    folder: RawFolder
    sha256: str
    keyid: str


@dataclasses.dataclass(frozen=True)
class Done:
    """What became of a decision.

    Attributes:
        record: the record that counts now.
        stores: where the episode may be; each is told by the next upload to it.
    """

    record: ConsentRecord
    stores: tuple[str, ...]


class Deciding:
    """The decisions about the episodes of one shared folder."""

    def __init__(
        self, shared: Path, open_directory: OpenDirectory, find_key: FindKey
    ) -> None:
        """Reads nothing yet.

        Args:
            shared: folder of redacted episodes, to which nobody else writes meanwhile.
            open_directory: returns the folder as a dataset, to remove episodes.
            find_key: returns the robot's key of an id and a day, or raises.
        """
        self._shared = shared
        self._open_directory = open_directory
        self._find_key = find_key

    def decide(
        self, name: str, decision: Decision, unix_ns: int, sha256: str | None = None
    ) -> Done:
        """Decides about one episode, durably.

        Args:
            name: the episode.
            decision: what the operator says.
            unix_ns: the present time, of which the hour is kept.
            sha256: digest of the copy that was looked at; None for the one here. What
                was looked at may be sent, and nothing else.

        Raises:
            ConsentError: there is no such episode, it was taken back, or it is another
                copy than the one that was looked at.
            KeyFileError: the key that signed it is not here.
            ContinuonError: it is not what its sidecar says, or the disk refused; what
                was not to be sent before is not sent now.
        """
        stated, reached, before = self._find(name)
        about = self._describe(name, stated, reached, before)
        key = self._find_key(about.keyid, about.folder.date)
        if decision is Decision.GRANTED:
            self._require_looked_at(name, stated, sha256)
        by = terms.operator_consent(decision is Decision.GRANTED, unix_ns)
        record = before
        if before is None or (before.decision, before.sha256) != (
            decision,
            about.sha256,
        ):
            counter = _find_last(before, reached) + 1
            if counter > MAX_COUNTER:
                raise ConsentError(name, f"at most {MAX_COUNTER} decisions", counter)
            record = ConsentRecord(
                episode_id=name,
                robot_hash=about.folder.robot_hash,
                date=about.folder.date,
                sha256=about.sha256,
                counter=counter,
                decision=decision,
                at=by.at,
                keyid=about.keyid,
            )
        assert record is not None
        if decision is Decision.GRANTED:
            self._restate(stated, reached, by, key)
        if record is not before:
            raw = consent_record.sign(record, key.signing)
            consents.write_record(self._shared, raw, name)
        # Looked at after the record is written: an uploader that has begun meanwhile
        # either sees the record, or wrote its store down before.
        reached = consents.read_reached(self._shared, name)
        if decision is Decision.REFUSED:
            self._restate(stated, reached, by, key)
        elif decision is Decision.TAKEN_BACK:
            self._delete(name, reached)
        consents.open_or_close(
            self._shared, name, may_leave=decision is Decision.GRANTED
        )
        stores = () if reached is None else tuple(sorted(reached.stores))
        return Done(record, stores)

    def apply_wishes(self, unix_ns: int, tell: Callable[[str], None]) -> int:
        """Carries out all wishes; returns how many there were. See `apply_wish`."""
        names = consents.list_wishes(self._shared)
        for name in names:
            self.apply_wish(name, unix_ns, tell)
        return len(names)

    def apply_wish(self, name: str, unix_ns: int, tell: Callable[[str], None]) -> None:
        """Carries out what was said about one episode.

        What cannot be carried out is told of. If it would have let the episode go, it
        is dropped; if not, it stays and goes on to hold the episode back.

        Args:
            name: the episode, of `consents.list_wishes`.
            unix_ns: the present time.
            tell: gets a line about what cannot be carried out.
        """
        wish = None
        try:
            wish = consents.read_wish(self._shared, name)
            if wish is not None:
                self.decide(name, wish.decision, unix_ns, wish.sha256)
            consents.remove_wish(self._shared, name)
        except (ContinuonError, OSError) as e:
            tell(f"what was decided about {one_line(name)} is not signed: {e}")
            if wish is not None and wish.decision is Decision.GRANTED:
                with contextlib.suppress(ContinuonError):
                    consents.remove_wish(self._shared, name)

    def finish(self, tell: Callable[[str], None]) -> None:
        """Finishes what a cut left: of deletions, and of who may read an episode."""
        for name in consents.list_records(self._shared):
            try:
                if self._is_here(name) and consents.is_taken_back(self._shared, name):
                    self._delete(name, consents.read_reached(self._shared, name))
            except (ContinuonError, OSError) as e:
                tell(f"{one_line(name)} is not deleted: {e}")
        if consents.choose_group(self._shared, may_leave=True) is not None:
            self._open_or_close_all(tell)

    def _open_or_close_all(self, tell: Callable[[str], None]) -> None:
        for path in sorted(self._shared.glob(f"*{SIDECAR_SUFFIX}")):
            name = path.name.removesuffix(SIDECAR_SUFFIX)
            allowed = False
            try:
                stated = sidecar.parse(plain_file.read(path, sidecar.LIMIT_BYTES))
                allowed = consents.find_standing(self._shared, stated).allowed
            except (ContinuonError, OSError) as e:
                tell(f"{one_line(name)} is kept from the uploader: {e}")
            try:
                consents.open_or_close(self._shared, name, may_leave=allowed)
            except ContinuonError as e:
                tell(str(e))

    def _find(
        self, name: str
    ) -> tuple[Sidecar | None, Reached | None, ConsentRecord | None]:
        """What there is of an episode: sidecar, stores, and the newest record."""
        path = self._shared / f"{name}{SIDECAR_SUFFIX}"
        stated = None
        try:
            raw = plain_file.read(path, sidecar.LIMIT_BYTES)
        except FileNotFoundError:
            raw = b""
        except OSError as e:
            raise durable_file.disk_error(path, "to read the sidecar", e) from e
        if raw:
            named = sidecar.parse(raw)
            key = self._find_key(named.keyid, named.date)
            stated = sidecar.verify(raw, {named.keyid: key.signing.public_key()})
            if stated.episode_id != name:
                raise ConsentError(path, f"the sidecar of {name}", "another one")
        return (
            stated,
            consents.read_reached(self._shared, name),
            self._read_record(name),
        )

    def _read_record(self, name: str) -> ConsentRecord | None:
        """The newest record; one that cannot be read makes way for another one."""
        try:
            return consents.read_record(self._shared, name)[0]
        except ContinuonError:
            durable_file.set_aside(self._shared / f"{name}{consents.CONSENT_SUFFIX}")
            return None

    def _describe(
        self,
        name: str,
        stated: Sidecar | None,
        reached: Reached | None,
        before: ConsentRecord | None,
    ) -> _About:
        if stated is not None:
            folder = RawFolder(stated.robot_hash, stated.date, name)
            return _About(folder, stated.sha256, stated.keyid)
        if reached is not None and reached.keyid:
            return _About(reached.folder, reached.sha256, reached.keyid)
        if before is not None:
            folder = RawFolder(before.robot_hash, before.date, name)
            return _About(folder, before.sha256, before.keyid)
        raise ConsentError(
            self._shared,
            f"an episode {name}",
            "none",
            "name one that //edge:consent lists",
        )

    def _require_looked_at(
        self, name: str, stated: Sidecar | None, sha256: str | None
    ) -> None:
        """Checks that the copy that would be sent is the one that was looked at."""
        if stated is None:
            raise ConsentError(
                self._shared / f"{name}{EPISODE_SUFFIX}",
                "an episode that is still here",
                "none",
                "it was deleted: only what is here can be allowed to leave",
            )
        if sha256 is not None and sha256 != stated.sha256:
            raise ConsentError(
                self._shared / f"{name}{EPISODE_SUFFIX}",
                "the copy that was looked at",
                "one that was changed since",
                "look at it again, and decide then",
            )
        path = self._shared / f"{name}{EPISODE_SUFFIX}"
        try:
            stated.check_episode(plain_file.read(path, reader.LIMIT_BYTES))
        except OSError as e:
            raise durable_file.disk_error(path, "to read the episode", e) from e

    def _restate(
        self,
        stated: Sidecar | None,
        reached: Reached | None,
        consent: sidecar.Consent,
        key: RobotKey,
    ) -> None:
        """Signs the sidecar again with this consent, unless a store may hold it."""
        if stated is None or reached is not None:
            return
        if consent.granted and stated.safety.escalated:
            return  # it may leave as it is, and an uploader may have begun
        if stated.consent.granted == consent.granted:
            return
        new = dataclasses.replace(stated, consent=consent)
        sidecar_statements.check_consent(new)
        path = self._shared / f"{stated.episode_id}{SIDECAR_SUFFIX}"
        signed = sidecar.sign(new, key.signing)
        group = path.stat().st_gid
        durable_file.write(path, signed, durable_file.READABLE, group)

    def _is_here(self, name: str) -> bool:
        return any(
            (self._shared / f"{name}{suffix}").exists()
            for suffix in (SIDECAR_SUFFIX, EPISODE_SUFFIX)
        )

    def _delete(self, name: str, reached: Reached | None) -> None:
        """Deletes the copy of an episode here; what says where it went stays."""
        if reached is not None:  # an uploader of before may have left a receipt alone
            consents.write_reached(self._shared, reached)
        if self._is_here(name):
            directory = self._open_directory()
            try:
                directory.remove([f"{name}{EPISODE_SUFFIX}"])
            except DiskError:
                directory.read_again()
                raise
        consents.remove_note(self._shared, name, consents.RECEIPT_SUFFIX)


def open_directory(shared: Path) -> TfdsDirectory:
    """Opens a shared folder by the fields that it states.

    Raises:
        DatasetFolderError: it states none.
        DiskError, OSError: it cannot be read.
    """
    path = shared / FEATURES_FILE
    raw = plain_file.read(path, tfds_features.LIMIT_BYTES)
    spec = tfds_features.read_spec(raw, str(path))
    return TfdsDirectory(shared, DATASET_NAME, spec, SPLIT)


def _find_last(before: ConsentRecord | None, reached: Reached | None) -> int:
    """The highest counter that anybody has seen; 0 for none."""
    seen = [0 if before is None else before.counter]
    if reached is not None:
        seen += reached.stores.values()
    return max(seen)
