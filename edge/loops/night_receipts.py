"""Signed receipts of what learning came to: of each delta, refusal and kind of failure.

| What happened | Outcome |
|---|---|
| a new delta counts from now on | `learned` |
| a round came to its end and its delta was refused | `not_learned` |
| a round failed, for another reason than the one before | `not_learned` |
| a delta drove no worse than before, and is the last good one | `proved_good` |
| a delta was put aside: worse in use, or no help on a new package | `unlearned` |

A delta and a delta in the quarantine are on the disk before their receipt is; a receipt
that a cut has kept from being written is written at the next look. A refusal or a
failure leaves nothing behind, so its receipt may be lost. A disk that takes no receipt
stops nobody from learning. Nothing of an episode is in a receipt: numbers, digests of
packages and deltas, what was found out about the body (`found`:
`found_latency_steps`, …), the guard's reason, which is made of numbers, and for a
failure words of this file: what a package or a library says of it stays in the log.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from base.digest import is_sha256
from base.errors import ContinuonError
from edge.control.local_delta import Evaluation, LocalDelta
from edge.loops.delta_store import DeltaStore
from edge.loops.night import Receipt
from edge.ota.decide import Installed
from edge.ota.receipts import Receipts
from rlds import receipt as receipts

NO_REASON: Final = "it was put aside before its receipt was written"
PROVED_BEFORE: Final = "it proved good before its receipt was written"
_FAILED: Final = "its learner failed"
_ENDED: Final = re.compile(r"it ended with code (-?[0-9]+)")
_NUMBER: Final = re.compile(r"[0-9]+")


def now() -> datetime:
    """The time by the robot's clock."""
    return datetime.now(UTC)


class NightReceipts:
    """Writes the receipts of learning; a failure is reported once and stops nothing."""

    def __init__(
        self,
        open_receipts: Callable[[], Receipts],
        tell: Callable[[str], None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Opens nothing yet.

        Args:
            open_receipts: opens the robot's receipts, and its key, when they are first
                needed: by then it is known whether the robot is simulated.
            tell: receives one line for everything that the operator should know.
            clock: the time by the robot's clock.
        """
        self._open, self._tell, self._clock = open_receipts, tell, clock
        self._receipts: Receipts | None = None
        self._said = ""
        self._failed = ("", "")  # the package and the reason of the last failure

    def note_round(self, installed: Installed, came_to: Receipt) -> None:
        """Writes the receipt of a round that came to its end.

        A round that judged the delta of an earlier package in vain has put that aside;
        `note_quarantine` says so.
        """
        self._failed = ("", "")
        counts = _count(came_to.evaluation, came_to.wall_s, came_to.processor_s)
        counts |= _name_found(came_to.found) | {"episodes": came_to.episodes}
        if came_to.delta is not None:
            outcome = receipts.LEARNED
        elif came_to.loop == "again":
            return
        else:
            outcome = receipts.NOT_LEARNED
        self._write(installed, outcome, came_to.delta or "", came_to.reason, counts)

    def note_failure(
        self,
        installed: Installed,
        reason: str,
        counts: Mapping[str, int | float],
    ) -> None:
        """Writes the receipt of a round that failed, unless the last one failed so too.

        A robot tries again and again; numbers make no other reason.

        Args:
            installed: the package with which it failed.
            reason: why, without anything of an episode; see `name_failure`.
            counts: what was counted.
        """
        failed = (installed.digest, _NUMBER.sub("", reason))
        if failed != self._failed:
            self._failed = failed
            self._write(installed, receipts.NOT_LEARNED, "", reason, dict(counts))

    def note_proved(
        self, installed: Installed, delta: str, reason: str = PROVED_BEFORE
    ) -> None:
        """Writes the receipt of the last good delta, unless it was written."""
        if not self._has(receipts.PROVED_GOOD, delta):
            self._write(installed, receipts.PROVED_GOOD, delta, reason, {})

    def note_current(self, installed: Installed, delta: LocalDelta) -> None:
        """Writes the receipt of the delta that counts, unless it was written."""
        if self._has(receipts.LEARNED, delta.digest):
            return
        record = delta.record
        counts = _count(record.evaluation, record.wall_s, record.processor_s)
        counts |= _name_found(record.found) | {"episodes": len(record.episodes)}
        self._write(installed, receipts.LEARNED, delta.digest, "", counts)

    def note_quarantine(
        self, installed: Installed, store: DeltaStore, reason: str = NO_REASON
    ) -> None:
        """Writes the receipts of deltas in the quarantine that have none yet."""
        for digest in store.list_quarantine():
            if is_sha256(digest) and not self._has(receipts.UNLEARNED, digest):
                self._write(installed, receipts.UNLEARNED, digest, reason, {})

    def _has(self, outcome: str, digest: str) -> bool:
        opened = self._open_once()
        return opened is None or opened.has(outcome, None, digest)

    def _write(
        self,
        installed: Installed,
        outcome: str,
        delta: str,
        reason: str,
        counts: dict[str, int | float],
    ) -> None:
        opened = self._open_once()
        if opened is None:
            return
        try:
            opened.write(
                self._clock(),
                outcome,
                installed.digest,
                delta_digest=delta,
                release_counter=installed.release_counter,
                channel=installed.channel,
                origin=installed.origin,
                reason=reason,
                counts=counts,
            )
        except (ContinuonError, OSError) as e:
            self._tell_once(f"no receipt of a night: {e}")

    def _open_once(self) -> Receipts | None:
        if self._receipts is None:
            try:
                self._receipts = self._open()
            except (ContinuonError, OSError) as e:
                self._tell_once(f"no receipts of nights: {e}")
        return self._receipts

    def _tell_once(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._tell(" ".join(line.split()))


def name_failure(said: str) -> str:
    """Says in words of this file why a learner failed.

    Args:
        said: what the learner or its package said, which may name a task or a path.
    """
    if ended := _ENDED.match(said):
        return f"its learner ended with code {ended[1]}"
    return _FAILED


def _count(
    evaluation: Evaluation, wall_s: float, processor_s: float
) -> dict[str, int | float]:
    return {
        "judges": evaluation.episodes,
        "error_before": evaluation.error_before,
        "error_after": evaluation.error_after,
        "confidence": evaluation.confidence,
        "wall_s": wall_s,
        "processor_s": processor_s,
    }


def _name_found(found: Mapping[str, float]) -> dict[str, int | float]:
    return {f"found_{name}": value for name, value in found.items()}
