"""One training run's folder: its name, what is in it, and who may write it.

    <family>/<run_id>/run.json          what the run is, written when it starts
    <family>/<run_id>/checkpoints/      Orbax checkpoints
    <family>/<run_id>/export/<target>/  the package
    <family>/<run_id>/evaluation.json   the evaluation report
    <family>/<run_id>/report.html       the report for people
    <family>/<run_id>/tensorboard/      event files, and a profile if one was asked for
    <family>/<run_id>/samples/          a few recorded episodes of the package
    <family>/<run_id>/logs/             output of the programs it ran
    <family>/<run_id>/finished.json     written last; without it a run is unfinished

A run that was killed is continued by the same command: same inputs, same
identity, same folder. A lock, which the kernel drops with its process, keeps two
processes out of one run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from base import canonical_json, durable_file, file_lock
from base.errors import CanonicalJsonError
from cloud.errors import DiskSpaceError, RunFolderError

SCHEMA_VERSION = 1
STARTED_FORMAT = "%Y%m%dT%H%M%S"
"""UTC, in a run's name and in its run.json."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run's folder, locked by this process as long as it lives."""

    path: Path
    identity: str
    continued: bool
    """Whether an earlier process left this run unfinished."""
    lock_fd: int

    @property
    def started(self) -> datetime:
        """When the run began, which for a continued one is before this process.

        Raises:
            RunFolderError: run.json no longer says so.
        """
        told = _told(self.path).get("started_at")
        try:
            return datetime.strptime(str(told), STARTED_FORMAT).replace(tzinfo=UTC)
        except ValueError as e:
            raise RunFolderError(
                self.path / "run.json",
                "started_at as YYYYMMDDTHHMMSS",
                f"{told!r}",
                "move the run away and train again",
            ) from e

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps its checkpoints."""
        return self.path / "checkpoints"

    def export(self, target: str) -> Path:
        """Where the package for one target is built."""
        return self.path / "export" / target

    @property
    def evaluation(self) -> Path:
        """The evaluation report's file."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """What TensorBoard is pointed at."""
        return self.path / "tensorboard"

    @property
    def samples(self) -> Path:
        """A few episodes of the package, recorded while it was evaluated."""
        return self.path / "samples"

    @property
    def logs(self) -> Path:
        """Output of the programs the run started."""
        return self.path / "logs"

    def finish(self, outcome: dict[str, object]) -> None:
        """Marks the run as ended; an identical run then starts anew."""
        content = canonical_json.encode({"schema_version": SCHEMA_VERSION, **outcome})
        durable_file.write(self.path / "finished.json", content)

    def close(self) -> None:
        """Releases the lock."""
        os.close(self.lock_fd)


def identity(settings: dict[str, object]) -> str:
    """Digest of everything that decides what a run computes."""
    return hashlib.sha256(canonical_json.encode(settings)).hexdigest()


def open_run(
    parent: Path, settings: dict[str, object], started_at: str, resume: str | None
) -> RunFolder:
    """Continues the unfinished run with these settings, or starts a new one.

    Args:
        parent: the family's folder.
        settings: everything that decides what the run computes.
        started_at: UTC time as YYYYMMDDTHHMMSS, part of a new run's name.
        resume: a run id to continue; None continues any run of the same identity.

    Raises:
        RunFolderError: `resume` names no run, a finished run, a run with other
            settings, or one that another process is writing.
    """
    key = identity(settings)
    if resume is not None:
        return _continue(parent / resume, key)
    parent.mkdir(parents=True, exist_ok=True)
    for folder in sorted(parent.iterdir(), reverse=True):
        if _identity_of(folder) != key or (folder / "finished.json").exists():
            continue
        lock_fd = _lock(folder)
        if lock_fd is not None:
            return RunFolder(folder, key, continued=True, lock_fd=lock_fd)
    return _start(parent, key, settings, started_at)


def make_folders(folder: Path) -> None:
    """Makes what every run's folder has in it."""
    for name in ("checkpoints", "export", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def require_space(folder: Path, size_bytes: int) -> None:
    """Checks, before time is spent, that a run's files will fit.

    Raises:
        DiskSpaceError: the file system of `folder` has less room.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < size_bytes:
        raise DiskSpaceError(
            existing,
            f"{size_bytes / 1e6:.0f} MB of free disk for the run",
            f"{free_bytes / 1e6:.0f} MB",
            "free some, or name another --store",
        )


def _continue(folder: Path, key: str) -> RunFolder:
    found = _identity_of(folder)
    if found is None:
        raise RunFolderError(
            folder, "an unfinished run", "no run", "leave out --resume"
        )
    if (folder / "finished.json").exists():
        raise RunFolderError(
            folder,
            "an unfinished run",
            "one that has ended",
            "leave out --resume to train again",
        )
    if found != key:
        raise RunFolderError(
            folder,
            f"a run with this command's settings ({key[:12]})",
            found[:12],
            "give the flags it was started with, or leave out --resume",
        )
    lock_fd = _lock(folder)
    if lock_fd is None:
        raise RunFolderError(
            folder,
            "a run that no process writes",
            "one in use",
            "wait for that process, or leave out --resume to start a new run",
        )
    return RunFolder(folder, key, continued=True, lock_fd=lock_fd)


def _start(
    parent: Path, key: str, settings: dict[str, object], started_at: str
) -> RunFolder:
    for attempt in range(1000):
        suffix = f"-{attempt}" if attempt else ""
        folder = parent / f"{started_at}-{key[:12]}{suffix}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        lock_fd = _lock(folder)
        if lock_fd is None:
            continue
        make_folders(folder)
        content = {
            "schema_version": SCHEMA_VERSION,
            "identity": key,
            "started_at": started_at,
            "settings": settings,
        }
        durable_file.write(folder / "run.json", canonical_json.encode(content))
        durable_file.fsync_folder(parent)
        return RunFolder(folder, key, continued=False, lock_fd=lock_fd)
    raise RunFolderError(
        parent,
        f"a free name for a run started at {started_at}",
        "none",
        "start again in a second",
    )


def told_identity(raw: bytes) -> str | None:
    """The identity written in a run.json when the run started; None when it is none."""
    found = _parsed(raw).get("identity")
    return found if isinstance(found, str) else None


def _identity_of(folder: Path) -> str | None:
    try:
        return told_identity((folder / "run.json").read_bytes())
    except OSError:
        return None


def _told(folder: Path) -> Mapping[str, object]:
    """What run.json says; nothing when it is no run."""
    try:
        return _parsed((folder / "run.json").read_bytes())
    except OSError:
        return {}


def _parsed(raw: bytes) -> Mapping[str, object]:
    try:
        content = canonical_json.decode(raw)
    except CanonicalJsonError:
        return {}
    return content if isinstance(content, dict) else {}


def _lock(folder: Path) -> int | None:
    lock_fd = file_lock.open_file(folder / ".lock")
    if file_lock.try_take(lock_fd):
        return lock_fd
    os.close(lock_fd)
    return None
