"""Learners one after the other, which look like one to their caller.

Compiling a function takes far more memory than running it, and what one function left
comes on top of the next. So each large function is compiled by a process of its own,
before the process that learns finds all of them on the disk.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from edge.loops.learning_job import Job, Judged, Report


class Learner(Protocol):
    """One job in another process; see `LearnerProcess`."""

    @property
    def judged(self) -> Judged | None:
        """What a round found; None until it has ended well."""

    @property
    def failure(self) -> str | None:
        """Why it ended otherwise; None if it did not."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    def poll(self, timeout_s: float) -> list[Report]:
        """What it has said since."""

    def stop(self) -> float:
        """Ends it at once; returns how long that took, in seconds."""


class LearnerSeries:
    """Learners of which at most one runs; the first that fails is the last."""

    def __init__(
        self,
        jobs: Sequence[Job],
        run_folder: Path,
        start: Callable[[Job, Path], Learner],
    ) -> None:
        """Starts the first one.

        Args:
            jobs: at least one.
            run_folder: existing folder for what they say on stderr.
            start: starts a learner.

        Raises:
            OSError: it cannot be started.
        """
        first, *self._rest = jobs
        self._run_folder, self._start = run_folder, start
        self._learner = start(first, run_folder)
        self._compiles = first.function is not None

    @property
    def pid(self) -> int:
        """Process id of the one that runs, or ran last."""
        return self._learner.pid

    @property
    def running(self) -> bool:
        """Whether the last one has not ended."""
        return self._learner.running

    @property
    def compiles(self) -> bool:
        """Whether the one that runs does nothing but compile a function."""
        return self._compiles

    @property
    def judged(self) -> Judged | None:
        """What the last one found; None until it has ended well."""
        return None if self._rest else self._learner.judged

    @property
    def failure(self) -> str | None:
        """Why one of them failed; None if none did."""
        return self._learner.failure

    def poll(self, timeout_s: float) -> list[Report]:
        """What the one that runs has said since; starts the next one at its end.

        Raises:
            OSError: the next one cannot be started.
        """
        reports = self._learner.poll(timeout_s)
        if self._rest and not self._learner.running and self._learner.failure is None:
            following = self._rest.pop(0)
            self._learner = self._start(following, self._run_folder)
            self._compiles = following.function is not None
        return reports

    def stop(self) -> float:
        """Ends the one that runs, and starts no other; returns the seconds it took."""
        return self._learner.stop()
