"""The last word of a person to a robot, which outlives the control process.

Control may die at any time. A supervisor says the word again and again, so that a new
control process learns what was said, and whether the actor has stopped the robot.
Without one, `//edge:tell` keeps the word beside the mailboxes, and a control process
that is a service reads it when it starts:

    home/run/told.json    {"boot_id": "…", "told": {…}}

`mode_keeper.py` describes the message, whose times count from the machine's start: a
word from before that holds no more.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError
from base.json_fields import Fields, decode
from edge.loops.mode import Mode
from edge.processes.mailbox import RUN

FILE: Final = "told.json"
_LIMIT_BYTES: Final = 4096
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_GROUP: Final = 0o660  # whoever may tell the robot something may do so


class LastWord:
    """What was said last, and the stop that came after it, if any."""

    def __init__(self) -> None:
        """Nobody has said anything yet."""
        self._mode: Mode | None = None
        self._demonstrates = False
        self._at_s = 0.0
        self._stopped_s: float | None = None

    def say(self, mode: Mode, at_s: float, *, demonstrates: bool = False) -> None:
        """Takes what a person says; a stop from before holds no more.

        Args:
            mode: what the robot is to do.
            at_s: when it was said, in monotonic seconds.
            demonstrates: whether the actor drives in the place of the package.
        """
        self._mode, self._at_s, self._demonstrates = mode, at_s, demonstrates
        self._stopped_s = None

    def hear(self, fields: Mapping[str, object], now_s: float) -> bool:
        """Takes what a person said elsewhere, from a message `told`.

        Returns:
            Whether it was taken: not if it is malformed or older than the last word.
        """
        at_s = fields.get("at_s")
        try:
            mode = Mode(fields.get("mode"))
        except ValueError:
            return False
        if not isinstance(at_s, int | float) or not self._at_s <= at_s <= now_s:
            return False
        self.say(mode, at_s, demonstrates=fields.get("demonstrates") is True)
        return True

    def note(self, status: Mapping[str, object]) -> None:
        """Takes control's status: the actor stopped the robot, or let it go on."""
        stopped_s, went_on_s = status.get("stopped_s"), status.get("went_on_s")
        if isinstance(stopped_s, int | float) and stopped_s > self._at_s:
            self._stopped_s = float(stopped_s)
        elif isinstance(went_on_s, int | float) and went_on_s > (
            self._stopped_s or self._at_s
        ):
            # What was said before the stop holds as if it had been said then.
            self._at_s, self._stopped_s = float(went_on_s), None

    def describe(self) -> dict[str, object]:
        """The fields of a message `told`."""
        return {
            "mode": "" if self._mode is None else self._mode.value,
            "demonstrates": self._demonstrates,
            "at_s": self._at_s,
            "stopped_s": self._stopped_s,
        }


class StopKey:
    """The stop key of a supervisor, handed on until control has it.

    The word to stay still, which comes with the key, would let an episode run to its
    end.
    """

    def __init__(self) -> None:
        """It was not pressed yet."""
        self._pressed_s: float | None = None
        self._is_told = False

    def press(self, at_s: float) -> None:
        """Takes the key, pressed at a monotonic time."""
        self._pressed_s, self._is_told = at_s, False

    def forget(self) -> None:
        """Something else was said since."""
        self._pressed_s = None

    def hand_on(self, send: Callable[[dict[str, object]], bool]) -> str:
        """Hands the key on, if it was pressed and control does not have it yet.

        Args:
            send: sends the fields of a `stop_key` message; whether they arrived.

        Returns:
            A line for the person if control does not hear it, once for each press; "".
        """
        if self._pressed_s is None:
            return ""
        if send({"at_s": self._pressed_s}):
            self._pressed_s = None
            return ""
        told, self._is_told = self._is_told, True
        return "" if told else "control does not hear the stop key now"


def keep(home: Path, told: Mapping[str, object]) -> None:
    """Keeps the fields of a message `told` for control processes that start later.

    Raises:
        DiskError: the system refused.
    """
    path = home / RUN / FILE
    raw = canonical_json.encode({"boot_id": _read_boot_id(), "told": dict(told)})
    durable_file.write_record(path, raw, _GROUP)


def read_kept(home: Path) -> Mapping[str, object]:
    """The fields that `keep` kept since the machine's start; none if there are none."""
    path = home / RUN / FILE
    try:
        raw = plain_file.read(path, _LIMIT_BYTES)
        fields = Fields(decode(raw, path, _LIMIT_BYTES), path, ("boot_id", "told"))
        if fields.text("boot_id") != _read_boot_id():
            return {}
        return dict(fields.mapping("told"))
    except (ContinuonError, OSError):
        return {}


def _read_boot_id() -> str:
    return plain_file.read(_BOOT_ID, 64).decode("ascii", "replace").strip()
