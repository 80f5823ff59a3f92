"""Carries episodes of one robot from its control loop to a folder that may be shared.

    begin -> journal -> raw episode -> redact -> sign -> shared folder

Everything before the last arrow is in a private folder. Each arrow is durable before
the next begins: a crash at any instant leaves the raw episode, the shared one, or both,
and `recover` finishes the work under the terms that the episode began with.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from base import durable_file
from base.errors import (
    ContinuonError,
    DiskError,
    OversizedError,
    one_line,
    reason,
)
from edge.episodes import consents, recording_folders, replacing, robot_key
from edge.episodes import terms as episode_terms
from edge.episodes.episode_id import Held
from edge.episodes.provenance import Provenance, begin_metadata
from edge.episodes.recorder import EpisodeRecorder, episode_spec
from edge.episodes.robot_key import RobotKey
from edge.episodes.shared_copy import Copy, describe, find_drawer
from edge.episodes.shared_quota import SharedQuota
from edge.episodes.terms import EpisodeTerms
from edge.errors import (
    ConsentError,
    EpisodeTermsError,
    KeyFileError,
    OtherRobotError,
    RedactionError,
    UncoveredFieldError,
)
from edge.redact import masker, redactor, transforms
from edge.redact.masker import Masker
from edge.robots.clock import NS_PER_S, Clock
from edge.robots.robot import RobotSpec
from rlds import (
    example_codec,
    journal,
    reader,
    recovery,
    redacted_form,
    sidecar,
    sidecar_statements,
    tfrecord,
)
from rlds.closed_episode import EPISODE_SUFFIX, ClosedEpisode
from rlds.episode import Episode
from rlds.errors import (
    CorruptRecordError,
    DamagedJournalError,
    DatasetFolderError,
    DateError,
    FieldFormError,
    MalformedEpisodeError,
    SealedError,
)
from rlds.recovery import RECOVERED_TAG
from rlds.sidecar import Consent
from rlds.spec import LEFT_OUT_TAG, EpisodeSpec
from rlds.tfds_directory import SIDECAR_SUFFIX, TfdsDirectory

DATASET_NAME = "episodes"
SPLIT = "train"
MOST_ASIDE = 64
"""Files that one recovery sets aside, each with a line and a sync of the folder."""
ROBOTS_CLOCK = "the robot's clock"

_SUFFIXES = (EPISODE_SUFFIX, journal.SUFFIX, episode_terms.SUFFIX)
# What reading a damaged, foreign or oversized episode raises.
_UNREADABLE = (
    CorruptRecordError,
    MalformedEpisodeError,
    OversizedError,
    DiskError,
)


@dataclass(frozen=True)
class Shared:
    """An episode in the shared folder.

    Attributes:
        episode_id: its name.
        path: its file.
        num_steps: number of its steps.
    """

    episode_id: str
    path: Path
    num_steps: int


class Recording:
    """Carries the episodes of one robot from the private to the shared folder."""

    def __init__(
        self,
        output: Path,
        private: Path,
        directory: TfdsDirectory,
        key: RobotKey,
        robot_id: str,
        consent: Consent,
        tell: Callable[[str], None],
        machine: Clock,
        hand_over: Callable[[Path], None] | None = None,
        quota: SharedQuota | None = None,
        words: frozenset[str] = frozenset(),
        masker: Masker | None = None,
    ) -> None:
        """Holds the folders; call `open_recording`, which makes and locks them."""
        self._output = output
        self._private = private
        self._key = key
        self._robot_id = robot_id
        self._terms = EpisodeTerms(robot_id, key.keyid, consent, words)
        self._directory = directory
        self._tell = tell
        self._machine = machine
        self._hand_over = hand_over
        self._quota = quota
        self._masker = masker
        self._places = [path.stat() for path in (private, output)]
        self._aside = 0  # files that this recovery has set aside
        self._sealed: list[SealedError] = []  # that it cannot open

    def is_in_place(self) -> bool:
        """Whether both folders are still those that were opened."""
        try:
            now = [path.stat() for path in (self._private, self._output)]
        except OSError:
            return False
        return all(map(os.path.samestat, self._places, now))

    def look_up(self, episode_id: str) -> Held:
        """Returns what the shared folder holds of an episode.

        An episode that has become unreadable there is set aside with its sidecar.
        """
        if not self._sidecar_path(episode_id).exists():
            return Held.NOTHING
        try:
            recording_folders.require_file(self._episode_path(episode_id))
            episode = reader.read_episode(self._episode_path(episode_id))
        except _UNREADABLE as e:
            both = self._episode_path(episode_id), self._sidecar_path(episode_id)
            recording_folders.set_aside(e, self._tell, *both)
            self._directory.read_again()
            return Held.NOTHING
        if RECOVERED_TAG in episode.metadata.tags:
            return Held.RECOVERED
        return Held.WHOLE

    def find_path(self, episode_id: str) -> Path | None:
        """Returns the file of a readable episode of the shared folder; None if it has
        none."""
        if self.look_up(episode_id) is Held.NOTHING:
            return None
        return self._episode_path(episode_id)

    def begin(
        self,
        robot: RobotSpec,
        episode_id: str,
        start_unix_ns: int,
        provenance: Provenance,
        on_begin: Callable[[str], None] | None = None,
        drawn: frozenset[str] = frozenset(),
    ) -> EpisodeRecorder:
        """Opens the private journal of an episode that begins now.

        Args:
            robot: the robot that is driven.
            episode_id: name of the episode.
            start_unix_ns: when it begins, on the robot's clock.
            provenance: who acts, and with what.
            on_begin: called with the name of each part, before its first step.
            drawn: what `edge.robots.drawn_cameras` finds of the robot, which a crash
                must not lose; none where nobody has the robot at hand.

        Raises:
            FieldFormError: the robot's make, task or environment is not in the form in
                which it may leave the robot; nothing is written.
            DateError: a wrong clock dates it; nothing is written.
            DatasetFolderError: the folder's episodes have other fields than those of
                this robot; nothing is written.
            RldsError: the journal or its terms cannot be written; a journal without a
                step is removed by the next `recover`.
        """
        metadata = begin_metadata(
            robot, self._robot_id, episode_id, start_unix_ns, provenance
        )
        redacted_form.check_open_fields(metadata)
        sidecar_statements.check_date(
            metadata.start_time, self._now(), ROBOTS_CLOCK, "a day"
        )
        spec = episode_spec(robot, provenance)
        leave = self._masker is not None or bool(find_drawer(spec, metadata, drawn))
        self._directory.check_spec(redactor.shared_spec(spec, leave))
        terms = replace(self._terms, drawn=drawn)

        def begin_part(name: str) -> None:
            # Its journal is there already: that is refused if this id has an episode,
            # whose terms must stay.
            episode_terms.write(self._private, name, terms)
            if on_begin is not None:
                on_begin(name)

        return EpisodeRecorder(
            self._private,
            spec,
            metadata,
            begin_part,
            cameras=robot.cameras,
            tell=self._tell,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._machine.unix_ns() / NS_PER_S, UTC)

    def share(self, closed: ClosedEpisode) -> Shared:
        """Redacts, signs and shares a raw episode, then removes the raw one.

        Raises:
            UncoveredFieldError: a sensitive field has no transform; nothing is shared.
            RedactionError, FieldFormError: a value cannot be redacted, or is not in
                the form in which it may leave the robot; nothing is shared.
            DateError: a wrong clock dated it; nothing is shared.
            OtherRobotError: another robot, or one with another key, recorded it.
            KeyFileError: the robot has too many words of its own.
            EpisodeTermsError: the file of its terms is malformed.
            SealedError: it is sealed with another key than this program's.
            ConsentError: what was decided about it cannot be read.
            RldsError: a file cannot be read or written; the raw episode stays.
        """
        return self._share_raw(closed.path, reader.read_episode(closed.path))

    @property
    def masks(self) -> bool:
        """Whether pictures are masked, which takes its time."""
        return self._masker is not None

    def copy(self, path: Path, *, looks: bool = True) -> Copy:
        """Makes the copy of a raw episode that may leave, for `finish`.

        It changes no file, so another thread may do it while this one records.

        Args:
            path: the raw episode.
            looks: whether its pictures are looked at; else they are all dropped.

        Raises:
            What `share` raises.
        """
        return self._copy(path, reader.read_episode(path), looks=looks)

    def finish(self, copy: Copy) -> Shared:
        """Signs and shares a copy, then removes the raw episode.

        Raises:
            What `share` raises.
        """
        # It may have been taken back since.
        still = copy if self._may_leave(copy.name) else None
        return self._publish(copy.path, copy.name, copy.num_steps, still)

    def recover(
        self, later: Callable[[Path], bool] = lambda path: False
    ) -> Iterator[Shared]:
        """Shares what an interrupted recording left in the private folder.

        Each episode keeps the consent that it began with; if its terms are missing, it
        counts as without consent. What cannot be read is set aside, up to `MOST_ASIDE`
        files: whoever records does not wait for more, and `has_more` says that another
        call goes on. What cannot be shared, such as an episode of another robot, stays.
        Both are told of.

        Args:
            later: asked for each raw episode; True if somebody else shares it.

        Raises:
            DiskError: an episode cannot be written; what was left stays.
        """
        self._aside = 0
        sealed = self._sealed = []
        replacing.finish(self._private, self._open_directory, self._tell)
        self._set_aside_foreign()
        if self.has_more:
            return
        try:
            recovery.recover(self._private)
        except (DamagedJournalError, SealedError) as e:
            self._tell(str(e))
        for path in sorted(self._private.glob(f"*{EPISODE_SUFFIX}")):
            if self.has_more:
                return
            if later(path):
                continue
            shared = self._share_or_tell(path)
            if shared is not None:
                yield shared
        if sealed:
            first, more = sealed[0], len(sealed) - 1
            named = one_line(first.source) + (f" and {more} more" if more else "")
            why = reason(first, first.source)
            self._tell(f"{named} cannot be shared now: {why}; {first.remedy}")
        for name in episode_terms.list_episodes(self._private):
            if not self._holds(name):
                episode_terms.remove(self._private, name)

    def recover_all(self) -> Iterator[Shared]:
        """Does as `recover` until nothing is left, for a program that then begins.

        An episode that it records may have the name of one that was interrupted.

        Raises:
            DiskError: as `recover`.
        """
        yield from self.recover()
        while self.has_more:
            yield from self.recover()

    @property
    def directory(self) -> TfdsDirectory:
        """The shared folder, for whoever removes episodes of it in this process."""
        return self._directory

    def _open_directory(self, spec: EpisodeSpec) -> TfdsDirectory:
        """The shared folder, for an episode that lay there already."""
        self._directory.check_spec(spec)
        return self._directory

    def _set_aside_foreign(self) -> None:
        """Sets aside what has the name of one of our files and is none."""
        for path in sorted(self._private.iterdir()):
            if path.name.endswith(_SUFFIXES):
                if self.has_more:
                    return
                try:
                    recording_folders.require_file(path)
                except MalformedEpisodeError as e:
                    self._put_aside(e, path)

    @property
    def has_more(self) -> bool:
        """Whether the last recovery left files for another one."""
        return self._aside >= MOST_ASIDE

    def _put_aside(self, reason: ContinuonError, path: Path) -> None:
        recording_folders.set_aside(reason, self._tell, path)
        # One that stays is found again: more calls would not get beyond it.
        self._aside += not os.path.lexists(path)

    def _share_or_tell(self, path: Path) -> Shared | None:
        try:
            raw = reader.read_episode(path)
        except SealedError as e:
            self._sealed.append(e)
            return None
        except _UNREADABLE as e:
            self._put_aside(e, path)
            return None
        try:
            return self._share_raw(path, raw)
        except SealedError as e:  # its terms are
            self._sealed.append(e)
            return None
        except (
            ConsentError,
            DatasetFolderError,
            DateError,
            EpisodeTermsError,
            FieldFormError,
            KeyFileError,
            OtherRobotError,
            RedactionError,
            UncoveredFieldError,
        ) as e:
            self._tell(f"{one_line(path.name)} stays private: {e}")
            return None

    def _share_raw(self, path: Path, raw: Episode) -> Shared:
        name = raw.metadata.episode_id
        leaves = self._may_leave(name)
        copy = self._copy(path, raw) if leaves else None
        return self._publish(path, name, raw.num_steps, copy)

    def _may_leave(self, name: str) -> bool:
        """Whether an episode is to be shared: not taken back, and not there already."""
        if consents.is_taken_back(self._output, name):
            self._tell(f"{name} is not shared: it was taken back")
            return False
        return self.look_up(name) is Held.NOTHING

    def _copy(self, path: Path, raw: Episode, *, looks: bool = True) -> Copy:
        name = raw.metadata.episode_id
        terms = self._read_terms(raw)
        self._require_own(name, terms)
        chosen = self._masker
        drawn_by = find_drawer(raw.spec, raw.metadata, terms.drawn)
        leave = chosen is not None or bool(drawn_by)
        dropped = ", ".join(redactor.find_dropped(raw.spec, leave))
        if dropped:
            self._tell(f"{name} is shared without {dropped}: nothing here masks it")
        if chosen is not None and not looks:
            chosen = masker.DroppingMasker()
        key = self._key.of_month(transforms.coarsen_time(raw.metadata.start_time))
        redacting = redactor.Redactor(key.robot_hash, terms.words, chosen, self._tell)
        redacted, record = redacting.redact(raw, drawn_by)
        framed = tfrecord.frame(example_codec.encode(redacted))
        consent = terms.consent
        if consent.granted and LEFT_OUT_TAG in raw.metadata.tags:
            consent = episode_terms.operator_consent(False, self._machine.unix_ns())
        described = describe(redacted, record, framed, consent)
        sidecar_statements.check_statements(
            described, redacted, framed, self._now(), terms.words
        )
        return Copy(path, name, raw.num_steps, described, framed, key, terms.words)

    def _publish(
        self, path: Path, name: str, num_steps: int, copy: Copy | None
    ) -> Shared:
        """Signs and shares a copy, if there is one, and removes the raw episode."""
        if copy is not None:
            key, framed = copy.key, copy.framed
            robot_key.write_public(self._output, key, self._robot_id, copy.words)
            signed = sidecar.sign(copy.described, key.signing)
            if self._quota is not None:
                size_bytes = len(framed) + len(signed)
                self._quota.make_room(self._output, self._directory, size_bytes)
            # It would be that of one of this name that was set aside.
            consents.remove_note(self._output, name, consents.RECEIPT_SUFFIX)
            stated = copy.described
            group = consents.choose_group(
                self._output,
                may_leave=consents.find_standing(self._output, stated).allowed,
            )
            self._directory.add(framed, signed, group)
        if self._hand_over is not None:
            self._hand_over(path)
        path.unlink()
        episode_terms.remove(self._private, name)
        durable_file.fsync_folder(self._private)
        return Shared(name, self._episode_path(name), num_steps)

    def _read_terms(self, raw: Episode) -> EpisodeTerms:
        """Reads the terms that the episode began with; without them, no consent."""
        metadata = raw.metadata
        kept = episode_terms.read(self._private, metadata.episode_id)
        if kept is not None:
            return kept
        at = transforms.coarsen_time(metadata.start_time)
        return EpisodeTerms(
            metadata.robot_hash, self._key.keyid, Consent(False, "unknown", at)
        )

    def _require_own(self, name: str, terms: EpisodeTerms) -> None:
        """Refuses an episode of another robot, which this key must not sign."""
        own = self._terms
        if (terms.robot_id, terms.keyid) != (own.robot_id, own.keyid):
            raise OtherRobotError(
                self._private / name,
                f"an unfinished episode of robot {own.robot_id!r} with key "
                f"{own.keyid[:12]}",
                f"one of robot {terms.robot_id!r} with key {terms.keyid[:12]}",
                "run once with the --robot_id and --key_file that recorded it, or "
                "record into another folder",
            )

    def _holds(self, name: str) -> bool:
        """Whether the private folder holds a journal or a raw episode of this name."""
        return any(
            (self._private / f"{name}{suffix}").exists()
            for suffix in (journal.SUFFIX, EPISODE_SUFFIX)
        )

    def _episode_path(self, episode_id: str) -> Path:
        return self._output / f"{episode_id}{EPISODE_SUFFIX}"

    def _sidecar_path(self, episode_id: str) -> Path:
        return self._output / f"{episode_id}{SIDECAR_SUFFIX}"
