"""What control hears of the other processes, without waiting for any.

A person's words and keys come from the supervisor, or the words from `//edge:tell`, who
drives at the operator's page from the page, and what the fast loop may do from the
learner; `mailbox.py` lists the messages.
"""

import time
from typing import Final

from base import text_forms
from edge.control.fast_loop import FastLoop
from edge.loops.mode import Mode
from edge.processes import last_word
from edge.processes.acting import HandedKeys, HandedMoves
from edge.processes.mode_keeper import ModeKeeper
from edge.processes.process import Process

_ALLOWED_S: Final = 5.0
"""A learner says twice a second whether the fast loop may run; one that has said
nothing for so long is gone, and nobody counts what is used."""


class Heard:
    """What was heard so far.

    Attributes:
        stop_key: whether the stop key of a supervisor was pressed since somebody set
            this to False.
    """

    def __init__(
        self, me: Process, keys: HandedKeys, moves: HandedMoves, keeper: ModeKeeper
    ) -> None:
        """Has heard nothing yet.

        Args:
            me: this process, whose mailbox it is.
            keys: get the keys of a person who acts.
            moves: get what the page tells of a person who acts there.
            keeper: hears what a person says.
        """
        self._me, self._keys, self._moves, self._keeper = me, keys, moves, keeper
        self._allowed_until_s = -_ALLOWED_S
        self._fast_reason = "nobody has allowed it yet"
        self.stop_key = False
        if me.is_service:
            # Nobody says again what was said before this process was started again.
            keeper.hear(last_word.read_kept(me.home))

    def listen(self) -> None:
        """Takes the messages that have come."""
        for message in self._me.receive():
            if message.kind == "stop_key":
                self.stop_key = True
                # By the time of the key: a word that came after it may be heard first.
                idle = {"mode": Mode.IDLE.value, "at_s": message.fields.get("at_s")}
                self._keeper.hear(idle)
            elif message.kind == "keys":
                self._keys.hear(message.fields)
            elif message.kind == "acts":
                self._moves.hear(message.fields)
            elif message.kind == "told":
                self._keeper.hear(message.fields)
            elif message.kind == "fast_loop":
                self._fast_reason = str(message.fields.get("reason", ""))
                may = message.fields.get("may") is True
                ahead_s = _ALLOWED_S if may else 0.0
                self._allowed_until_s = time.monotonic() + ahead_s

    def allow(self, fast: FastLoop) -> None:
        """Lets a fast loop run, or not, by what the learner said last."""
        fast.is_allowed = time.monotonic() < self._allowed_until_s

    def describe(self, fast: FastLoop) -> str:
        """What the view says of a fast loop."""
        updates = text_forms.count(fast.updates, "update")
        skipped = text_forms.count(fast.skipped, "step")
        text = f"fast, {updates}, {skipped} without time"
        why = fast.trouble or ("" if fast.is_allowed else self._fast_reason)
        return f"{text}; off: {why}" if why else text
