"""What follows the death of a child, decided and done."""

import time
from pathlib import Path

import pytest

from edge.processes.children import (
    FIRST_PAUSE_S,
    LIVED_S,
    LONGEST_PAUSE_S,
    Child,
    Program,
    Restart,
    decide_restart,
    describe_end,
)
from edge.testing import process_tree


def test_pause_grows_from_death_to_death_up_to_its_limit() -> None:
    pauses, deaths = [], 0
    for _ in range(12):
        restart = decide_restart(deaths, 1.0, -9)
        deaths = restart.deaths
        assert restart.pause_s is not None
        pauses.append(restart.pause_s)
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_child_that_lived_long_is_started_again_soon() -> None:
    assert decide_restart(9, LIVED_S, 1) == Restart(FIRST_PAUSE_S, 1)


def test_wrong_usage_is_not_started_again_whatever_its_age() -> None:
    assert decide_restart(0, 2 * LIVED_S, 2).pause_s is None


@pytest.mark.parametrize(
    ("code", "last", "said"),
    [
        (-9, "half a line", "killed by SIGKILL"),
        (-200, "", "killed by signal 200"),
        (1, "learn: no room", "ended with 1: learn: no room"),
        (0, "", "ended with 0"),
    ],
)
def test_end_of_a_child_is_told_with_its_reason(
    code: int, last: str, said: str
) -> None:
    assert describe_end(code, last) == said


def run(folder: Path, source: str) -> Child:
    """A child that runs a module of these lines."""
    (folder / "child_program.py").write_text(source)
    return Child(Program("child", "child_program", (), 0.3))


def tick_until(child: Child, wanted: str) -> None:
    lines: list[str] = []

    def look() -> bool:
        lines.extend(child.tick(time.monotonic()))
        return wanted in lines or child.reason == wanted

    process_tree.wait_until(look, lambda: (lines, child.reason))


def stop(child: Child) -> None:
    """Stops a child and waits until nothing is left of it."""
    child.stop(time.monotonic())

    def look() -> bool:
        child.tick(time.monotonic())
        return child.is_gone

    process_tree.wait_until(look)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_dead_child_is_started_again_with_its_reason_told(folder: Path) -> None:
    child = run(folder, "import sys\nprint('begins', flush=True)\nsys.exit('no luck')")
    tick_until(child, "begins")
    tick_until(child, "ended with 1: no luck")
    assert child.pause_left_s(time.monotonic()) is not None
    tick_until(child, "begins")
    assert child.starts == 2
    stop(child)


def test_child_that_hears_nothing_is_killed_with_its_own_children(
    folder: Path,
) -> None:
    child = run(
        folder,
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "grandchild = os.fork()\n"
        "if grandchild: print(grandchild, flush=True)\n"
        "time.sleep(60)\n",
    )
    lines: list[str] = []

    def has_said() -> bool:
        lines.extend(child.tick(time.monotonic()))
        return bool(lines)

    process_tree.wait_until(has_said)
    stop(child)
    assert child.pause_left_s(time.monotonic()) is None
    process_tree.wait_until(lambda: not process_tree.is_alive(int(lines[0])))


def test_child_that_writes_without_end_does_not_wait_for_a_reader(
    folder: Path,
) -> None:
    child = run(
        folder,
        "import os, pathlib\n"
        "for _ in range(1000):\n"
        "    try: os.write(2, b'x' * 1000 + b'\\n')\n"
        "    except BlockingIOError: pass\n"
        f"pathlib.Path({str(folder / 'done')!r}).touch()\n",
    )
    child.tick(time.monotonic())
    process_tree.wait_until((folder / "done").exists)  # nobody reads meanwhile
    stop(child)
    assert child.lines[-1] == "x" * 1000


def test_child_that_writes_without_end_keeps_nobody_from_the_other_children(
    folder: Path,
) -> None:
    child = run(
        folder,
        "import os\n"
        "while True:\n"
        "    try: os.write(2, b'x' * 1000 + b'\\n')\n"
        "    except BlockingIOError: pass\n",
    )
    found: list[str] = []

    def has_written() -> bool:
        found[:] = child.tick(time.monotonic())
        return bool(found)

    for _ in range(20):
        process_tree.wait_until(has_written)
        assert sum(map(len, found)) <= 1 << 17
    stop(child)


def test_program_that_this_runtime_lacks_is_known_to_be_absent() -> None:
    assert Program("control", "edge.processes.control", (), 1.0).is_here()
    assert not Program("sing", "edge.processes.sing", (), 1.0).is_here()
