"""The starts of the active package: how many in a row died, and how many crashed.

    ROOT/starts    {"count", "crashes", "digest", "running", "schema_version"}

A step is native code: it can kill the process that runs it, and nobody is left to say
so. The program that drives writes here before the package opens, after its first
episode, and when it ends in good order; the next start finds what the one before could
not write.

| The file says | The next start counts |
|---|---|
| nothing, or of another package | its first start |
| no start runs | one more start in a row |
| a start runs, since the machine was booted | one more start in a row, and a crash |
| a start runs, of an earlier boot | one more in a row: perhaps the power was cut |

What the numbers mean is decided in `watch.py`. Three starts in a row, each before an
episode has ended, cost a robot its newest package until the next release, whether
crashes or power cuts ended them; only crashes count after the first episode.

What ends a run in good order (the operator, a robot that fails, a full disk) is not
the package's fault.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError, reason
from base.json_fields import Fields
from edge.errors import ActionShapeError, StepFunctionError
from edge.ota import watch
from edge.ota.errors import StateFolderError
from edge.ota.state_folder import StateFolder, read_counted

FILE: Final = "starts"
SCHEMA_VERSION: Final = 2
_READABLE_VERSIONS: Final = (1, SCHEMA_VERSION)  # 1 had no `crashes` and `running`
_LIMIT_BYTES: Final = 4096
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PACKAGES_FAULT: Final = (StepFunctionError, ActionShapeError)


@dataclass(frozen=True)
class Starts:
    """What is known of the starts of one package.

    Attributes:
        digest: digest of the package.
        in_a_row: its newest starts in a row before whose end no episode has ended.
        crashes: starts that died while the machine went on.
        running: boot of the machine in which the newest start began, while that has
            not ended in good order; "" if the boot is not known, None if it has ended.
    """

    digest: str
    in_a_row: int = 0
    crashes: int = 0
    running: str | None = None

    def begin(self, boot: str) -> "Starts":
        """Counts one more start, during this boot of the machine."""
        crashed = bool(boot) and self.running == boot
        return replace(
            self,
            in_a_row=self.in_a_row + 1,
            crashes=self.crashes + crashed,
            running=boot,
        )


class StartCount:
    """Counts the starts of one process."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._starts: Starts | None = None  # as counted in this process
        self._written = False  # whether the file holds that

    def begin(self) -> str | None:
        """Counts a start of the active package; call it before the package opens.

        A package counts once in a process.

        Returns:
            What the operator should know if it cannot be counted; such a robot drives.
        """
        try:
            installed = self._state.read_installed()
        except StateFolderError:
            return None  # no file says which package is started
        if installed is None or (
            self._starts is not None and installed.digest == self._starts.digest
        ):
            return None
        found = read_starts(self._state.root, installed.digest)
        self._starts = found.begin(_read_boot())
        self._written = True
        try:
            self._write(self._starts)
        except ContinuonError as e:
            return f"this start could not be counted: {reason(e)}"
        return None

    def clear(self) -> None:
        """Forgets the starts in a row: an episode has ended."""
        if self._written and self._starts is not None and self._starts.in_a_row:
            self._starts = replace(self._starts, in_a_row=0)
            with contextlib.suppress(ContinuonError):
                self._write(self._starts)

    @contextlib.contextmanager
    def judge(self) -> Iterator[None]:
        """Notes a good end of the run unless the package's own fault ends the block.

        Raises:
            Whatever the block raises.
        """
        try:
            yield
        except _PACKAGES_FAULT:
            raise
        except BaseException:
            self._end()
            raise
        self._end()

    def _end(self) -> None:
        """The run has ended in good order, and what is left is the count of crashes."""
        if not self._written or self._starts is None:
            return
        self._written = False
        with contextlib.suppress(ContinuonError, OSError):
            if self._starts.crashes:
                self._write(replace(self._starts, in_a_row=0, running=None))
            else:
                self._path.unlink(missing_ok=True)

    def _write(self, starts: Starts) -> None:
        value = {
            "schema_version": SCHEMA_VERSION,
            "digest": starts.digest,
            "count": starts.in_a_row,
            "crashes": starts.crashes,
            "running": starts.running,
        }
        durable_file.write_record(self._path, canonical_json.encode(value))

    @property
    def _path(self) -> Path:
        return self._state.root / FILE


def read_starts(root: Path, digest: str) -> Starts:
    """Returns what is known of the starts of a package; nothing if the file was lost.

    Args:
        root: the state folder.
        digest: digest of the package.
    """

    def parse(fields: Fields) -> Starts:
        crashes = fields.count("crashes") if fields.has("crashes") else 0
        running = fields.raw("running") if fields.has("running") else None
        if running is not None and not isinstance(running, str):
            raise fields.fail("running", "to be a string or null")
        return Starts(digest, fields.count("count"), crashes, running)

    optional = ("crashes", "running")
    found = read_counted(
        root / FILE, digest, _READABLE_VERSIONS, ("count",), parse, optional
    )
    return found or Starts(digest)


def read(root: Path, digest: str) -> int:
    """Returns how many starts of a package in a row no episode has ended in."""
    return read_starts(root, digest).in_a_row


def keeps_crashing(root: Path, digest: str) -> bool:
    """Returns whether so many starts of a package died that another should drive.

    The count includes the start that is asking.
    """
    return watch.find_dead_starts(read(root, digest)) is not None


def _read_boot() -> str:
    """Returns the id of this boot of the machine, or "" where it has none."""
    try:
        return plain_file.read(_BOOT_ID, _LIMIT_BYTES).decode("ascii").strip()
    except (ContinuonError, OSError, ValueError):
        return ""
