import contextlib
import gc
import os
import resource
import weakref
from pathlib import Path

import pytest

from edge.control import realtime
from edge.control.realtime import Grants
from edge.testing.child import in_child

NOBODY = 65534
FIFO = os.SCHED_FIFO


def scheduler() -> int:
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


def allow_nothing() -> None:
    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK):
        resource.setrlimit(limit, (0, 0))
    if os.getuid() == 0:
        # Refused in a user namespace of one user, whose root may not do this anyway.
        with contextlib.suppress(OSError):
            os.setuid(NOBODY)


def test_each_refusal_is_one_line_with_its_remedy() -> None:
    def work() -> str:
        allow_nothing()
        grants = realtime.prepare()
        with realtime.episode(grants):
            assert scheduler() == os.SCHED_OTHER
        assert not grants.memory_locked
        return "\n".join((grants.describe(), *grants.refusals))

    described, priority, memory = in_child(work).splitlines()
    assert described == "ordinary priority, any processor, memory not locked"
    assert priority.startswith("real-time priority 40 was refused (")
    assert "set LimitRTPRIO=50 in the unit" in priority
    assert memory.startswith("locked memory was refused (")
    assert "set LimitMEMLOCK=infinity in the unit" in memory


def test_what_is_granted_holds_in_an_episode_only_and_the_rest_is_refused() -> None:
    def work() -> str:
        processors = os.sched_getaffinity(0)
        grants = realtime.prepare()
        assert scheduler() == os.SCHED_OTHER
        with realtime.episode(grants):
            assert (scheduler() == FIFO) == (grants.priority is not None)
            if grants.processor is not None:
                assert os.sched_getaffinity(0) == {grants.processor}
            else:
                assert os.sched_getaffinity(0) == processors
        assert scheduler() == os.SCHED_OTHER
        assert os.sched_getaffinity(0) == processors
        locked = int(
            next(
                line.split()[1]
                for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmLck:")
            )
        )
        assert (locked > 0) == grants.memory_locked
        refused = (grants.priority is None) + (not grants.memory_locked)
        assert len(grants.refusals) == refused
        return "done"

    assert in_child(work) == "done"


def test_child_of_an_episode_is_an_ordinary_program() -> None:
    def work() -> str:
        with realtime.episode(realtime.prepare()):
            return in_child(lambda: str(scheduler()))

    assert in_child(work) == str(os.SCHED_OTHER)


class Cycle:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.own = self


def test_no_garbage_is_collected_inside_an_episode_and_all_of_it_after_it() -> None:
    with realtime.episode(Grants()):
        dropped = weakref.ref(Cycle())
        for _ in range(3000):
            [[]]  # noqa: B018 - would begin a collection
        assert dropped() is not None
        assert not gc.isenabled()
    assert dropped() is None
    assert gc.isenabled()


def test_garbage_of_an_episode_is_bounded() -> None:
    kept: list[list[object]] = []
    with realtime.episode(Grants()):
        dropped = weakref.ref(Cycle())
        realtime.collect_if_much()
        assert dropped() is not None
        kept.extend([] for _ in range(realtime.GARBAGE_BOUND + 1000))
        realtime.collect_if_much()
        assert dropped() is None


def test_collection_that_was_off_before_an_episode_stays_off() -> None:
    gc.disable()
    try:
        with realtime.episode(Grants()):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_error_in_an_episode_gives_back_what_was_granted() -> None:
    def work() -> str:
        grants = realtime.prepare()
        with pytest.raises(OSError, match="broken"), realtime.episode(grants):
            raise OSError("broken")
        return str(scheduler())

    assert in_child(work) == str(os.SCHED_OTHER)
