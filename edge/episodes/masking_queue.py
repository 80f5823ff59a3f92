"""Raw episodes whose pictures wait to be masked, while the robot drives on.

To look at a picture takes longer than a robot takes to record one. So a recorder does
not wait for masks: a thread looks at one episode after the other, in whatever time the
machine has left, and the recorder shares each when that is done. The raw episodes wait
in the private folder, where the next recorder finds them if this one ends.

They take room. Beyond a limit the oldest one is shared without its pictures, each a
black one, and the operator is told: what waits for masks must not fill the disk.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from base.errors import one_line
from edge.episodes.shared_copy import Copy
from edge.episodes.sharing import Recording, Shared

LIMIT_BYTES: Final = 1 << 30
"""Of raw episodes that wait: 35 minutes of two cameras of 320x240 at 20 Hz."""


class MaskingQueue:
    """The raw episodes of one recorder; only its own thread calls this."""

    def __init__(
        self, tell: Callable[[str], None], limit_bytes: int = LIMIT_BYTES
    ) -> None:
        """Begins empty.

        Args:
            tell: gets a line about an episode that leaves without its pictures, or that
                cannot be shared.
            limit_bytes: of the episodes that wait.
        """
        self._tell = tell
        self._limit_bytes = limit_bytes
        self._waiting: deque[Path] = deque()
        self._work: _Work | None = None
        self._refused: set[Path] = set()

    def __len__(self) -> int:
        """Episodes that wait, and the one that is being masked."""
        return len(self._waiting) + (self._work is not None)

    def holds(self, path: Path) -> bool:
        """Whether an episode waits, is being masked, or was found not to be shareable.

        The last ones are tried again by the next recorder.
        """
        at_work = self._work is not None and self._work.path == path
        return at_work or path in self._waiting or path in self._refused

    def add(self, path: Path) -> None:
        """Lets a raw episode wait; once it holds it, adding it again does nothing."""
        if not self.holds(path):
            self._waiting.append(path)

    def poll(self, folders: Recording) -> Shared | None:
        """Shares what is masked by now, and begins with the next; it waits for nobody.

        Args:
            folders: the private and the shared folder.

        Raises:
            ContinuonError: the shared folder does not take the episode; it waits again.
        """
        work = self._work
        if work is not None:
            if work.is_alive():
                return None
            self._work = None
            return self._finish(work, folders)
        if self._waiting:
            path = self._waiting.popleft()
            too_many = self._measure_waiting() > self._limit_bytes
            if too_many:
                self._tell(
                    f"{one_line(path.name)} is shared without its pictures: more than"
                    f" {self._limit_bytes / 1e6:,.0f} MB wait to be masked"
                )
            self._work = _Work(folders, path, looks=not too_many)
            self._work.start()
        return None

    def _finish(self, work: "_Work", folders: Recording) -> Shared | None:
        if work.error is not None:
            self._refused.add(work.path)
            self._tell(f"{one_line(work.path.name)} stays private: {work.error}")
            return None
        assert work.copy is not None
        try:
            return folders.finish(work.copy)
        except BaseException:
            self._waiting.appendleft(work.path)
            raise

    def _measure_waiting(self) -> int:
        total = 0
        for path in self._waiting:
            if path.is_file():
                total += path.stat().st_size
        return total


class _Work(threading.Thread):
    """Makes the copy of one episode that may leave."""

    def __init__(self, folders: Recording, path: Path, *, looks: bool) -> None:
        # A recorder that ends does not wait for it: the raw episode stays.
        super().__init__(name="masks", daemon=True)
        self.path = path
        self.copy: Copy | None = None
        self.error: Exception | None = None
        self._folders = folders
        self._looks = looks

    def run(self) -> None:
        """Redacts; whatever that raises is told of by the recorder's thread."""
        try:
            self.copy = self._folders.copy(self.path, looks=self._looks)
        except Exception as e:
            self.error = e
