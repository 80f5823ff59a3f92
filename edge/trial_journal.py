"""What a session of trials has done so far, on disk before the next trial begins.

    trials.jsonl   a line for the session, then one before and one after each trial
    trials.json    the record for //cloud:bless, signed, written anew after each trial
    episodes/      the episodes, redacted as all others

A line is durable before what follows from it happens. So after a kill the journal says
which trial was under way, and the record holds every trial before that. A line that a
crash cut short is no line.
"""

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError, DiskError, MalformedError
from base.json_fields import Fields, decode
from edge.errors import TrialsError
from release import trials
from release.trials import Trial, TrialsRecord

JOURNAL: Final = "trials.jsonl"
RECORD: Final = "trials.json"
LIMIT_BYTES: Final = 2 * 1024 * 1024
_MOST_LINES: Final = 4 * trials.MOST_TRIALS
_SCHEMA_VERSION: Final = 1
_SESSION: Final = "session"
_BEGINS: Final = "begins"
_ENDS: Final = "ends"
_SESSION_KEYS: Final = (
    "package_digest",
    "baseline_digest",
    "session",
    "planned_pairs",
    "blind",
    "robot_model",
    "environment_id",
    "task",
    "simulated",
    "max_steps",
)


@dataclass(frozen=True)
class Begun:
    """A trial that has begun.

    Attributes:
        pair: number of its pair.
        arm: which package drives.
        episode_id: name of its episode.
    """

    pair: int
    arm: str
    episode_id: str


class TrialJournal:
    """The journal of one session, which this process alone writes.

    Attributes:
        record: the session with all trials that have ended.
        unfinished: a trial that an earlier process began and did not end; None if there
            is none.
        is_continued: whether an earlier process began the session.
    """

    def __init__(self, folder: Path, wanted: TrialsRecord) -> None:
        """Opens the session of a folder, or begins one.

        Args:
            folder: the folder of the session; it exists.
            wanted: the session that is to be held; the random number of one that was
                begun earlier stays.

        Raises:
            TrialsError: the folder holds another session, or no journal of one.
            DiskError: the journal cannot be written.
            OSError: it cannot be read.
        """
        self._path = folder / JOURNAL
        self.unfinished: Begun | None = None
        self.is_continued = self._path.exists()
        if not self.is_continued:
            self.record = wanted
            self._write(
                {"schema_version": _SCHEMA_VERSION, _SESSION: _describe(wanted)}
            )
            return
        self.record, self.unfinished = read(self._path)
        found = replace(self.record, trials=(), session=wanted.session)
        for name in _SESSION_KEYS:
            expected, got = (getattr(one, name) for one in (found, wanted))
            if expected != got:
                raise TrialsError(
                    self._path,
                    f"the session that began here, of {name} {expected}",
                    got,
                    "give the same flags to go on, or name another --output",
                )

    def begin(self, begun: Begun) -> None:
        """Notes that a trial begins, before the robot moves.

        Raises:
            DiskError: the journal cannot be written.
        """
        self._write(
            {
                _BEGINS: {
                    "pair": begun.pair,
                    "arm": begun.arm,
                    "episode_id": begun.episode_id,
                }
            }
        )

    def end(self, trial: Trial) -> None:
        """Notes how a trial went.

        Raises:
            DiskError: the journal cannot be written.
        """
        self.record = self.record.add(trial)
        self.unfinished = None
        self._write({_ENDS: trial.to_json()})

    def _write(self, line: dict[str, object]) -> None:
        # The newline comes first too, so that a line is never joined to a torn one.
        raw = b"\n" + canonical_json.encode(line) + b"\n"
        try:
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
            try:
                durable_file.write_all(descriptor, raw)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            durable_file.fsync_folder(self._path.parent)
        except OSError as e:
            raise DiskError(
                self._path, "a line to be written", e.strerror, "make room on the disk"
            ) from e


def read(path: Path) -> tuple[TrialsRecord, Begun | None]:
    """Reads a journal.

    Returns:
        The session with its trials, and the one that began and did not end.

    Raises:
        TrialsError: the file is no journal of a session.
        OSError: it cannot be read.
    """
    raw = plain_file.read(path, LIMIT_BYTES)
    try:
        lines = _read_lines(raw, path)
        record = _parse_session(lines[0] if lines else None, path)
        begun: Begun | None = None
        ended: list[Trial] = []
        for line in lines[1:]:
            fields = Fields(line, path, (), "", (_BEGINS, _ENDS))
            if fields.has(_ENDS):
                one = fields.fields(_ENDS, trials.TRIAL_KEYS)
                ended.append(trials.parse_trial(one))
                begun = None
            else:
                one = fields.fields(_BEGINS, ("pair", "arm", "episode_id"))
                arm = one.one_of("arm", trials.ARMS)
                begun = Begun(one.integer("pair"), arm, one.text("episode_id"))
        return trials.with_trials(record, tuple(ended), path), begun
    except ContinuonError as e:
        raise TrialsError(
            path,
            "the journal of a session of trials",
            f"{type(e).__name__}: {e}",
            "name another --output",
        ) from e


def _read_lines(raw: bytes, path: Path) -> list[object]:
    """Returns the lines as decoded, without those that a crash cut short."""
    # Counted before they are made: millions of short ones take many times the file.
    if (count := raw.count(b"\n")) > _MOST_LINES:
        raise MalformedError(path, f"at most {_MOST_LINES} lines", f"{count}")
    found = []
    for line in raw.split(b"\n"):
        # A line is one JSON object; what a crash left of one does not end with it.
        if line.startswith(b"{") and line.endswith(b"}"):
            with contextlib.suppress(MalformedError):
                found.append(decode(line, path, LIMIT_BYTES))
    return found


def _parse_session(line: object, path: Path) -> TrialsRecord:
    fields = Fields(line, path, ("schema_version", _SESSION))
    fields.version(_SCHEMA_VERSION)
    one = fields.fields(_SESSION, _SESSION_KEYS)
    return trials.parse_session(one)


def _describe(record: TrialsRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in _SESSION_KEYS}
