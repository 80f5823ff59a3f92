"""The recorded episodes of one robot, for the operator who labels or trims them.

    private/NAME.tfrecord                      raw: rewritten
    shared/NAME.tfrecord, NAME.sidecar.json    redacted: rewritten, and signed again
    shared/NAME.sent.json                      a store holds it: nothing is changed

What is written is what the robot might have recorded: signed with the key that signed
it before, looked at again, whole or not at all. An episode that a store holds has left:
a change here would make two episodes of one name.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from base import durable_file, plain_file
from base.digest import sha256_bytes
from base.errors import ContinuonError, one_line
from edge.episodes import consents, recording_folders, replacing, robot_key
from edge.episodes import terms as episode_terms
from edge.episodes.consents import RECEIPT_SUFFIX, STORES_SUFFIX
from edge.episodes.robot_key import RobotKey
from edge.episodes.sharing import DATASET_NAME, SPLIT
from edge.errors import AmendError
from edge.redact import redactor
from rlds import (
    blank_picture,
    consent_record,
    example_codec,
    reader,
    sealing,
    sidecar,
    sidecar_statements,
    tfrecord,
)
from rlds.consent_record import Decision
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import EpisodeSpec
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX, TfdsDirectory

Change = Callable[[Episode], Episode]
FindKey = Callable[[str, str], RobotKey]
"""Returns the secrets of a key id with which an episode of a time was signed."""


@dataclasses.dataclass(frozen=True)
class Copy:
    """A file that holds an episode.

    Attributes:
        path: the file.
        episode: what it holds.
    """

    path: Path
    episode: Episode

    @property
    def name(self) -> str:
        """The episode's name."""
        return self.episode.metadata.episode_id


class OwnEpisodes:
    """The episodes of a private and a shared folder; `open_folders` makes it."""

    def __init__(
        self,
        shared: Path,
        private: Path,
        find_key: FindKey,
        now: datetime,
        open_directory: Callable[[EpisodeSpec], TfdsDirectory] | None = None,
    ) -> None:
        """Holds the folders, which nobody else writes to meanwhile.

        Args:
            shared: folder of redacted episodes.
            private: folder of raw episodes.
            find_key: returns the robot's key of an id and a time, or raises.
            now: the present time.
            open_directory: returns the shared folder as whoever holds it has it open;
                None to open it.
        """
        self._open = open_directory
        self._shared = shared
        self._private = private
        self._find_key = find_key
        self._now = now

    def list_copies(self, tell: Callable[[str], None]) -> list[Copy]:
        """Lists what can be read, raw ones first; `tell` gets a line about the rest."""
        found = []
        for folder in (self._private, self._shared):
            for path in sorted(folder.glob(f"*{EPISODE_SUFFIX}")):
                try:
                    recording_folders.require_file(path)
                    episode = reader.read_episode(path)
                    _require_name(path, episode)
                except ContinuonError as e:
                    tell(f"{one_line(path.name)} is left as it is: {e}")
                    continue
                found.append(Copy(path, episode))
        return found

    def find_copies(self, name: str) -> list[Copy]:
        """Reads the copies of one episode, the raw one first.

        Raises:
            AmendError: there is none in the shared folder.
            ContinuonError: one cannot be read.
        """
        found = []
        for folder in (self._private, self._shared):
            path = folder / f"{name}{EPISODE_SUFFIX}"
            if not path.exists():
                continue
            recording_folders.require_file(path)
            episode = reader.read_episode(path)
            _require_name(path, episode)
            found.append(Copy(path, episode))
        if not any(copy.path.parent == self._shared for copy in found):
            raise AmendError(self._shared, f"an episode {one_line(name)}", "none")
        return found

    def is_sent(self, name: str) -> bool:
        """Whether a store holds an episode, or may do so."""
        return any(
            consents.find_note(self._shared, name, suffix).exists()
            for suffix in (RECEIPT_SUFFIX, STORES_SUFFIX)
        )

    def open_directory(self, spec: EpisodeSpec) -> TfdsDirectory:
        """Opens the shared folder for episodes of a spec."""
        if self._open is not None:
            return self._open(spec)
        return TfdsDirectory(self._shared, DATASET_NAME, spec, SPLIT)

    def prepare(
        self, copy: Copy, change: Change, consent: Consent | None
    ) -> Callable[[], None]:
        """Makes the changed episode, and returns what writes it.

        Args:
            copy: of `list_copies`.
            change: gives the episode as it is to be.
            consent: in the place of that which it was recorded with; None to keep it.

        Raises:
            AmendError: it cannot be changed like this, or a store holds it.
            KeyFileError, OtherRobotError: the key that signed it is not here.
            ContinuonError: it is not what its sidecar says.
        """
        changed = change(copy.episode)
        if copy.path.parent == self._private:
            return lambda: self._write_raw(copy, changed, consent)
        if self.is_sent(copy.name):
            raise AmendError(
                copy.path,
                "an episode that is not uploaded yet",
                f"the receipt {copy.name}{RECEIPT_SUFFIX} of a store that holds it",
                "a copy here would differ from that: name the episode where you curate",
            )
        changed = redactor.restore_form(changed)
        framed = tfrecord.frame(example_codec.encode(changed))
        signed, key = self._sign_again(copy, changed, framed, consent)
        renewed = self._renew_record(copy.name, framed, consent, key)
        directory = self.open_directory(changed.spec)

        def write() -> None:
            replacing.replace(self._private, directory, copy.name, framed, signed)
            # A cut before this leaves a record of other bytes: nothing is sent.
            if renewed:
                consents.write_record(self._shared, renewed, copy.name)
            standing = consents.find_standing(self._shared, sidecar.parse(signed))
            consents.open_or_close(self._shared, copy.name, may_leave=standing.allowed)

        return write

    def _write_raw(self, copy: Copy, changed: Episode, consent: Consent | None) -> None:
        # The consent first: a cut must not leave more than the operator wants shared.
        if consent is not None:
            terms = episode_terms.read(self._private, copy.name)
            if terms is not None:
                terms = dataclasses.replace(terms, consent=consent)
                episode_terms.write(self._private, copy.name, terms)
        raw = sealing.seal(tfrecord.frame(example_codec.encode(changed)))
        durable_file.write(copy.path, raw, durable_file.PRIVATE)

    def _renew_record(
        self, name: str, framed: bytes, consent: Consent | None, key: RobotKey
    ) -> bytes:
        """What was granted, said of the changed bytes; empty if nothing was granted."""
        record, _ = consents.read_record(self._shared, name)
        if record is None or not record.is_granted:
            return b""
        kept = consent is None or consent.granted
        new = dataclasses.replace(
            record,
            sha256=sha256_bytes(framed),
            counter=record.counter + 1,
            decision=record.decision if kept else Decision.REFUSED,
        )
        return consent_record.sign(new, key.signing)

    def _sign_again(
        self, copy: Copy, changed: Episode, framed: bytes, consent: Consent | None
    ) -> tuple[bytes, RobotKey]:
        path = self._shared / f"{copy.name}{SIDECAR_SUFFIX}"
        try:
            raw = plain_file.read(path, sidecar.LIMIT_BYTES)
        except OSError as e:
            raise durable_file.disk_error(path, "to read the sidecar", e) from e
        keyid = sidecar.parse(raw).keyid
        key = self._find_key(keyid, copy.episode.metadata.start_time)
        old = sidecar.verify(raw, {keyid: key.signing.public_key()})
        before = plain_file.read(copy.path, reader.LIMIT_BYTES)
        old.check_episode(before)
        new = _describe_again(old, changed, framed, consent)
        words = robot_key.read_enrolment(self._shared, keyid).words
        for said, episode, whole in (
            (old, copy.episode, before),
            (new, changed, framed),
        ):
            sidecar_statements.check_statements(said, episode, whole, self._now, words)
        return sidecar.sign(new, key.signing), key


def _require_name(path: Path, episode: Episode) -> None:
    """Refuses an episode that lies under the name of another one."""
    name = f"{episode.metadata.episode_id}{EPISODE_SUFFIX}"
    if path.name != name:
        raise MalformedEpisodeError(path, f"a file {name} for this episode", path.name)


def _describe_again(
    old: Sidecar, changed: Episode, framed: bytes, consent: Consent | None
) -> Sidecar:
    count = changed.num_steps
    violations = sidecar_statements.count_violations(changed)
    # Which pictures were masked is not recorded: of fewer, this is how many at most.
    # Which were dropped is seen.
    images = [
        image for name in changed.spec.picture_fields for image in changed.steps[name]
    ]
    dropped = blank_picture.count(images)
    masked = min(old.privacy.frames_masked, len(images) - dropped)
    pictures, drawn = old.privacy.pictures, old.privacy.drawn
    if pictures is not None:
        pictures = dataclasses.replace(pictures, frames_dropped=dropped)
    if drawn is not None:
        drawn = dataclasses.replace(drawn, frames_dropped=dropped)
    return dataclasses.replace(
        old,
        sha256=sha256_bytes(framed),
        size_bytes=len(framed),
        num_steps=count,
        consent=consent or old.consent,
        safety=Safety(violations, old.safety.escalated),
        privacy=dataclasses.replace(
            old.privacy, frames_masked=masked, pictures=pictures, drawn=drawn
        ),
    )


@contextlib.contextmanager
def open_folders(
    shared: Path,
    private: Path,
    find_key: FindKey,
    now: datetime,
    tell: Callable[[str], None],
) -> Iterator[OwnEpisodes]:
    """Locks the folders against recordings, and finishes what a cut left.

    Args:
        shared: folder of redacted episodes.
        private: folder of raw episodes, made when absent.
        find_key: returns the robot's key of an id and a time, or raises.
        now: the present time.
        tell: gets a line about what cannot be finished.

    Raises:
        AmendError: there is no such folder.
        OutputFolderError: a recording writes there, or others can read `private`.
        DiskError: the disk refuses.
    """
    if not shared.is_dir():
        raise AmendError(
            shared,
            "a folder of recorded episodes",
            "none",
            "name what //edge:record --output or the --home of a robot is",
        )
    with recording_folders.hold(shared, private) as keep:
        keep()
        for folder in (shared, shared / SPLIT, private):
            durable_file.remove_leftovers(folder)
        own = OwnEpisodes(shared, private, find_key, now)
        replacing.finish(private, own.open_directory, tell)
        yield own
