"""Where things lie in the folder of one robot; each entry but one has one writer.

    home/packages/      the packages and the pointer to the active one   update
      starts            how often the active one was started             control
      current           control too, under the same lock, when a package
                        does not open
    home/deltas/        what the robot has learned, and two pointers      learn
    home/private/       journals and raw episodes                         record
    home/shared/        redacted, signed episodes                         record
    home/memories/new/  raw episodes that nobody has learned from         record
    home/memories/      local memories and compiled functions             learn
    home/receipts/      signed receipts; each outcome has one writer      update, learn
    home/run/           sockets, locks: made anew at each start           each its own
    home/ring/          the ring of steps from control to record          control

Whatever survives a power cut is outside `run` and `ring`, which a robot keeps in
memory. The ring is raw: as services, its two sides alone may enter its folder.
"""

from dataclasses import dataclass
from pathlib import Path

from edge.processes.mailbox import RUN


@dataclass(frozen=True)
class Home:
    """The folder of one robot.

    Attributes:
        root: the folder itself.
    """

    root: Path

    @property
    def packages(self) -> Path:
        """Folder of `edge.ota.state_folder.StateFolder`."""
        return self.root / "packages"

    @property
    def deltas(self) -> Path:
        """Folder of `edge.loops.delta_store.DeltaStore`."""
        return self.root / "deltas"

    @property
    def private(self) -> Path:
        """Folder of journals and raw episodes, mode 0700."""
        return self.root / "private"

    @property
    def shared(self) -> Path:
        """Folder of redacted episodes."""
        return self.root / "shared"

    @property
    def memories(self) -> Path:
        """Folder of the local memories."""
        return self.root / "memories"

    @property
    def new_memories(self) -> Path:
        """Folder of raw episodes that were handed over to the learner."""
        return self.memories / "new"

    @property
    def receipts(self) -> Path:
        """Folder of signed receipts."""
        return self.root / "receipts"

    @property
    def run(self) -> Path:
        """Folder of sockets and locks."""
        return self.root / RUN

    @property
    def ring(self) -> Path:
        """The ring of steps between control and record."""
        return self.root / "ring" / "steps.ring"
