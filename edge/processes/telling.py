"""What a person may tell a robot from outside its terminal, and how it is sent.

The supervisor hears it where there is one, and else the control process. That one
hears it again if it is started again by systemd, until the machine is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edge.errors import MailboxError
from edge.loops.mode import Mode
from edge.processes import last_word
from edge.processes.last_word import LastWord
from edge.processes.mailbox import RUN, Outbox

NAME: Final = "tell"
_START: Final = "start //edge:robot, or the service continuon-control, with this --home"


@dataclass(frozen=True)
class Word:
    """What a person may say.

    Attributes:
        mode: what the robot is to do.
        text: the same, for people.
        demonstrates: whether the actor is to drive, in the place of the package.
        stops: whether the robot is to stop at once.
    """

    mode: Mode
    text: str
    demonstrates: bool = False
    stops: bool = False


WORDS: Final[Mapping[str, Word]] = MappingProxyType(
    {
        "driving": Word(Mode.DRIVING, "to drive"),
        "idle": Word(Mode.IDLE, "to stay still after its episode"),
        "asleep": Word(Mode.ASLEEP, "to sleep after its episode"),
        "demonstrating": Word(
            Mode.DRIVING, "to let its actor demonstrate", demonstrates=True
        ),
        "stopped": Word(Mode.IDLE, "to stop at once", stops=True),
    }
)


def tell(home: Path, word: Word, at_s: float) -> None:
    """Sends what a person says to whoever hears it for the robot.

    Args:
        home: the robot's folder.
        word: what the person says.
        at_s: the time now, in monotonic seconds.

    Raises:
        MailboxError: no robot listens there, or this user may not tell it anything.
        DiskError: it was told, and would forget it if it were started again.
    """
    said = LastWord()
    said.say(word.mode, at_s, demonstrates=word.demonstrates)
    told = said.describe()
    mailbox = Outbox(home, NAME)
    if word.stops:
        heard = mailbox.send("robot", "stop_key", {"at_s": at_s})
        kept = not heard and mailbox.send("control", "stop_key", {"at_s": at_s})
    else:
        heard = mailbox.send("robot", "told", told)
        kept = not heard and mailbox.send("control", "told", told)
    if kept:
        last_word.keep(home, told)
    elif not heard:
        raise MailboxError(home / RUN, "a robot that runs", "none that listens", _START)
