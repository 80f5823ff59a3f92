"""One training run's folder: its name, its files, and the lock on it.

    <family>/<run_id>/run.json          identity and settings, written at the start
    <family>/<run_id>/checkpoints/      Orbax checkpoints
    <family>/<run_id>/export/<target>/  the package
    <family>/<run_id>/evaluation.json   the evaluation report
    <family>/<run_id>/report.html       the report for people
    <family>/<run_id>/tensorboard/      event files, and a profile if requested
    <family>/<run_id>/samples/          a few recorded episodes of the package
    <family>/<run_id>/logs/             output of the programs that it ran
    <family>/<run_id>/finished.json     written last; without it a run is unfinished

The same command continues a run that was killed: the same inputs give the same
identity and so the same folder; of several unfinished runs, the one that is furthest.
A lock, which the kernel releases when the process ends, prevents two processes from
using one run, and the same command from starting beside itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from base import canonical_json, durable_file, file_lock, json_fields, plain_file
from base.errors import MalformedError, OversizedError
from cloud.errors import DiskSpaceError, RunFolderError

SCHEMA_VERSION = 1
_RECORD_LIMIT_BYTES = 1024 * 1024  # of run.json; it has some kilobytes of settings
STARTED_FORMAT = "%Y%m%dT%H%M%S"
"""UTC time in a run's name and in its run.json."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run's folder, locked by this process until it ends or closes it."""

    path: Path
    identity: str
    continued: bool
    """Whether an earlier process left this run unfinished."""
    lock_fd: int

    @property
    def started(self) -> datetime:
        """When the run started; a continued run started before this process.

        Raises:
            RunFolderError: run.json does not state it any more.
        """
        stated = _read_record(self.path).get("started_at")
        try:
            return datetime.strptime(str(stated), STARTED_FORMAT).replace(tzinfo=UTC)
        except ValueError as e:
            raise RunFolderError(
                self.path / "run.json",
                "started_at as YYYYMMDDTHHMMSS",
                f"{stated!r}",
                "move the run away and train again",
            ) from e

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def updates_done(self) -> int:
        """Updates of the furthest checkpoint; 0 without one."""
        return updates_done(self.path)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def export(self, target: str) -> Path:
        """Returns the folder of the package for one target."""
        return self.path / "export" / target

    @property
    def evaluation(self) -> Path:
        """File of the evaluation report."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """File of the report for people."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """Folder that TensorBoard reads."""
        return self.path / "tensorboard"

    @property
    def samples(self) -> Path:
        """Folder of a few episodes, recorded while the package was evaluated."""
        return self.path / "samples"

    @property
    def logs(self) -> Path:
        """Folder of the output of programs that the run started."""
        return self.path / "logs"

    def finish(self, outcome: dict[str, object]) -> None:
        """Marks the run as ended; the same command then starts a new run."""
        content = canonical_json.encode({"schema_version": SCHEMA_VERSION, **outcome})
        durable_file.write(self.path / "finished.json", content)

    def close(self) -> None:
        """Releases the lock."""
        os.close(self.lock_fd)


def compute_identity(settings: dict[str, object]) -> str:
    """Returns a digest of everything that decides what a run computes."""
    return hashlib.sha256(canonical_json.encode(settings)).hexdigest()


def open_run(
    parent: Path, settings: dict[str, object], started_at: str, resume: str | None
) -> RunFolder:
    """Continues the furthest unfinished run with these settings, or starts a new one.

    Args:
        parent: the family's folder.
        settings: everything that decides what the run computes.
        started_at: UTC time as YYYYMMDDTHHMMSS, part of a new run's name.
        resume: id of the run to continue; None continues any run of the same identity.

    Raises:
        RunFolderError: `resume` names no run, a finished run, or a run with other
            settings; or another process is using the run, or without `resume` any run
            with these settings.
    """
    identity = compute_identity(settings)
    if resume is not None:
        return _continue(parent / resume, identity)
    parent.mkdir(parents=True, exist_ok=True)
    # Held so that two commands that start together see each other's run.
    parent_fd = file_lock.open_folder(parent)
    try:
        file_lock.take(parent_fd)
        furthest: RunFolder | None = None
        for folder in list_unfinished(parent, identity):
            found = RunFolder(folder, identity, True, _require_lock(folder, furthest))
            if furthest is not None:
                found.close()
            furthest = furthest or found
        return furthest or _start(parent, identity, settings, started_at)
    finally:
        os.close(parent_fd)


def list_unfinished(parent: Path, identity: str) -> list[Path]:
    """Returns the folders of the unfinished runs of an identity, the furthest first."""
    if not parent.is_dir():
        return []
    found = [
        folder
        for folder in parent.iterdir()
        if _read_identity(folder) == identity
        and not (folder / "finished.json").exists()
    ]
    return sorted(found, key=lambda path: (updates_done(path), path.name), reverse=True)


def updates_done(folder: Path) -> int:
    """Returns the updates of a run's furthest checkpoint; 0 without one."""
    names = [path.name for path in (folder / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def make_folders(folder: Path) -> None:
    """Creates the folders that every run has."""
    for name in ("checkpoints", "export", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def require_space(folder: Path, size_bytes: int) -> None:
    """Checks, before the run starts, that its files will fit.

    Raises:
        DiskSpaceError: the file system of `folder` has less free space.
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
            "free some space, or name another --store",
        )


def _continue(folder: Path, identity: str) -> RunFolder:
    found = _read_identity(folder)
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
    if found != identity:
        raise RunFolderError(
            folder,
            f"a run with this command's settings ({identity[:12]})",
            found[:12],
            "give the flags that it was started with, or leave out --resume",
        )
    return RunFolder(folder, identity, True, _require_lock(folder, None))


def _require_lock(folder: Path, held: RunFolder | None) -> int:
    """Returns the lock of a run; gives up `held` and raises if it is in use."""
    lock_fd = _lock(folder)
    if lock_fd is None:
        if held is not None:
            held.close()
        raise RunFolderError(
            folder,
            "a run that no process is training",
            "one in use",
            "wait for it, or train with other settings, such as another --seed",
        )
    return lock_fd


def _start(
    parent: Path, identity: str, settings: dict[str, object], started_at: str
) -> RunFolder:
    for attempt in range(1000):
        suffix = f"-{attempt}" if attempt else ""
        folder = parent / f"{started_at}-{identity[:12]}{suffix}"
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
            "identity": identity,
            "started_at": started_at,
            "settings": settings,
        }
        durable_file.write(folder / "run.json", canonical_json.encode(content))
        durable_file.fsync_folder(parent)
        return RunFolder(folder, identity, continued=False, lock_fd=lock_fd)
    raise RunFolderError(
        parent,
        f"a free name for a run started at {started_at}",
        "none",
        "start again in a second",
    )


def parse_identity(raw: bytes) -> str | None:
    """Returns the identity in the bytes of a run.json, None if they are not one."""
    found = _parse(raw).get("identity")
    return found if isinstance(found, str) else None


def _read_identity(folder: Path) -> str | None:
    try:
        return parse_identity(_read(folder))
    except (OSError, OversizedError):
        return None


def _read_record(folder: Path) -> Mapping[str, object]:
    """Returns the content of run.json; empty if the folder is not a run."""
    try:
        return _parse(_read(folder))
    except (OSError, OversizedError):
        return {}


def _read(folder: Path) -> bytes:
    return plain_file.read(folder / "run.json", _RECORD_LIMIT_BYTES)


def _parse(raw: bytes) -> Mapping[str, object]:
    try:
        content = json_fields.decode(raw, "run.json", _RECORD_LIMIT_BYTES)
    except (MalformedError, OversizedError):
        return {}
    return content if isinstance(content, dict) else {}


def _lock(folder: Path) -> int | None:
    lock_fd = file_lock.open_file(folder / ".lock")
    if file_lock.try_take(lock_fd):
        return lock_fd
    os.close(lock_fd)
    return None
