"""What became of one check of a robot."""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from base.errors import ContinuonError


class Result(enum.Enum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    NOTE = "note"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was checked.
        result: how it went.
        found: what was seen.
        remedy: what to do about it; "" if nothing.
    """

    name: str
    result: Result
    found: str
    remedy: str = ""


def judge(name: str, good: bool, found: str, remedy: str) -> Check:
    """Makes a check that passed or failed; only a failed one needs a remedy."""
    if good:
        return Check(name, Result.PASSED, found)
    return Check(name, Result.FAILED, found, remedy)


def catch(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Makes an error of the robot a check that failed."""
    try:
        yield from check()
    except ContinuonError as e:
        found = f"expected {e.expected}, got {e.got}"
        yield Check(name, Result.FAILED, found, e.remedy)
