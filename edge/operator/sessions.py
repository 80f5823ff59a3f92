"""Who may use the page: whoever read the code that the robot shows, for some hours.

The code is short, since a person types it. It holds for one pairing and a few minutes,
and is another one after a few wrong tries, so guessing it is a matter of luck alone
(`GUESS_CHANCE`). What it gives is a random token that a browser keeps; here only its
digest is kept, and only in memory. No IO and no clock: times are passed in, in
monotonic seconds.
"""

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"  # none that look alike
_CODE_LENGTH: Final = 8
CODE_LIVES_S: Final = 600.0
TRIES_OF_A_CODE: Final = 10
"""Wrong tries, by anybody, after which there is another code."""
TRIES_PER_MINUTE: Final = 5
"""Of one address."""
ALL_TRIES_PER_MINUTE: Final = 20
"""Of all addresses but this machine's own, so that nobody else locks its user out."""
GUESS_CHANCE: Final = ALL_TRIES_PER_MINUTE * 60 * 24 * 365 / len(_LETTERS) ** 8
"""That a year of guessing finds a code: 1.6e-5."""
SESSION_LIVES_S: Final = 12 * 3600.0
IDLE_LIVES_S: Final = 2 * 3600.0
MOST_SESSIONS: Final = 8
_MOST_ADDRESSES: Final = 256
_TOKEN_BYTES: Final = 32


class Limiter:
    """Allows so many events of a kind within a time, and forgets the oldest kinds."""

    def __init__(self, most: int, period_s: float) -> None:
        """Counts from 0.

        Args:
            most: events within the time.
            period_s: the time, in seconds.
        """
        self._most, self._period_s = most, period_s
        self._seen: dict[str, deque[float]] = {}

    def take(self, kind: str, now_s: float) -> bool:
        """Counts an event; False if there were too many, and then it is not counted."""
        times = self._seen.pop(kind, deque())
        while times and now_s - times[0] >= self._period_s:
            times.popleft()
        self._seen[kind] = times  # the latest kind is last
        while len(self._seen) > _MOST_ADDRESSES:
            del self._seen[next(iter(self._seen))]
        if len(times) >= self._most:
            return False
        times.append(now_s)
        return True


@dataclass
class Session:
    """One browser that was paired.

    Attributes:
        csrf: what each of its forms has to say; another site cannot know it.
        began_s: when it was paired.
        seen_s: when it was last used.
    """

    csrf: str
    began_s: float
    seen_s: float

    def is_over(self, now_s: float) -> bool:
        """Whether it has expired."""
        return (
            now_s - self.began_s >= SESSION_LIVES_S
            or now_s - self.seen_s >= IDLE_LIVES_S
        )


class Sessions:
    """The code, and the sessions that it gave."""

    def __init__(self, choose: Callable[[str], str] = secrets.choice) -> None:
        """Nobody is paired.

        Args:
            choose: chooses a letter at random.
        """
        self._choose = choose
        self._sessions: dict[str, Session] = {}
        self._code = ""
        self._code_s = 0.0
        self._wrong = 0
        self._tries = Limiter(TRIES_PER_MINUTE, 60.0)
        self._all_tries = Limiter(ALL_TRIES_PER_MINUTE, 60.0)

    def show_code(self, now_s: float) -> str:
        """The code that holds now, for whoever sees the robot's terminal."""
        if not self._code or now_s - self._code_s >= CODE_LIVES_S:
            self._renew(now_s)
        return f"{self._code[:4]}-{self._code[4:]}"

    def pair(self, text: str, address: str, is_own: bool, now_s: float) -> str | None:
        """Tries a code; returns the token of a new session, or None for a wrong one.

        Args:
            text: what was typed; small letters, spaces and dashes do not matter.
            address: who typed it.
            is_own: whether that is this machine.
            now_s: the time now.

        Raises:
            TooManyTriesError: there were too many tries; this one was not looked at.
        """
        allowed = self._tries.take(address, now_s)
        if not is_own:
            allowed &= self._all_tries.take("", now_s)
        if not allowed:
            raise TooManyTriesError
        self.show_code(now_s)
        typed = "".join(one for one in text.upper() if one.isalnum())
        if not hmac.compare_digest(typed.encode(), self._code.encode()):
            self._wrong += 1
            if self._wrong >= TRIES_OF_A_CODE:
                self._renew(now_s)
            return None
        self._renew(now_s)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._remove_old(now_s)
        session = Session(secrets.token_urlsafe(_TOKEN_BYTES), now_s, now_s)
        self._sessions[_digest(token)] = session
        return token

    def find(self, token: str, now_s: float) -> Session | None:
        """Returns the session of a token; None if there is none, or it is over."""
        session = self._sessions.get(_digest(token))
        if session is None:
            return None
        if session.is_over(now_s):
            del self._sessions[_digest(token)]
            return None
        session.seen_s = now_s
        return session

    def close(self, token: str) -> None:
        """Ends a session."""
        self._sessions.pop(_digest(token), None)

    def count(self, now_s: float) -> int:
        """Number of sessions that are not over."""
        return sum(not one.is_over(now_s) for one in self._sessions.values())

    def _renew(self, now_s: float) -> None:
        self._code = "".join(self._choose(_LETTERS) for _ in range(_CODE_LENGTH))
        self._code_s, self._wrong = now_s, 0

    def _remove_old(self, now_s: float) -> None:
        """Makes room for one more: what is over goes, and then what is unused."""
        by_use = sorted(self._sessions.items(), key=lambda one: one[1].seen_s)
        room = len(by_use) - MOST_SESSIONS + 1
        for digest, session in by_use:
            if session.is_over(now_s) or room > 0:
                del self._sessions[digest]
                room -= 1


class TooManyTriesError(Exception):
    """Somebody tried too many codes within a minute."""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
