"""How often in a row the active package was started and no episode came to its end.

    state_dir/starts    {"count", "digest", "schema_version"}

A step is native code: it can kill the process that runs it, and nobody is left to say
so. The count is written before the package opens and removed after the first episode.
A process that finds too many starts counted knows that those before it died, and falls
back to the package before.

What ends a run in good order (the operator, a robot that fails, a full disk) is not
the package's fault and clears the count. A power cut looks like a crash; three in a
row, each before an episode has ended, cost a robot its newest package until the next
release.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError
from base.json_fields import Fields, decode
from edge.errors import ActionShapeError, StepFunctionError
from edge.ota.errors import StateFolderError
from edge.ota.state_folder import StateFolder

FILE: Final = "starts"
SCHEMA_VERSION: Final = 1
MOST_CRASHES: Final = 3
"""Starts in a row that may die: one may be bad luck, and a robot that falls back stays
with the older package until the next release."""
_LIMIT_BYTES: Final = 4096
_PACKAGES_FAULT: Final = (StepFunctionError, ActionShapeError)


class StartCount:
    """Counts the starts of one process."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._digest: str | None = None  # counted in this process
        self._counts = False  # whether the file holds that count

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
        try:
            if installed is None or installed.digest == self._digest:
                return None
            self._digest, self._counts = installed.digest, True
            count = read(self._state.root, installed.digest) + 1
            value = {
                "schema_version": SCHEMA_VERSION,
                "digest": installed.digest,
                "count": count,
            }
            durable_file.write(self._path, canonical_json.encode(value))
        except ContinuonError as e:
            return f"this start could not be counted: {e}"
        return None

    def clear(self) -> None:
        """Forgets the starts: an episode has ended, or the run for another reason."""
        if self._counts:
            self._counts = False
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def judge(self) -> Iterator[None]:
        """Clears the count if the block ends by anything but the package's own fault.

        Raises:
            Whatever the block raises.
        """
        try:
            yield
        except _PACKAGES_FAULT:
            raise
        except BaseException:
            self.clear()
            raise
        self.clear()

    @property
    def _path(self) -> Path:
        return self._state.root / FILE


def read(root: Path, digest: str) -> int:
    """Returns how often in a row a package was started; 0 if the count was lost.

    Args:
        root: the state folder.
        digest: digest of the package.
    """
    path = root / FILE
    try:
        raw = plain_file.read(path, _LIMIT_BYTES)
        fields = Fields(
            decode(raw, path, _LIMIT_BYTES), path, ("schema_version", "digest", "count")
        )
        fields.version(SCHEMA_VERSION)
        return fields.integer("count") if fields.sha256("digest") == digest else 0
    except (ContinuonError, OSError):
        return 0


def keeps_crashing(root: Path, digest: str) -> bool:
    """Returns whether so many starts of a package died that another should drive.

    The count includes the start that is asking.
    """
    return read(root, digest) > MOST_CRASHES
