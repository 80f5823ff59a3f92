"""The learner as a process: it gives way, it can be stopped, and it never stays."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from base.testing import special_files
from edge.control.local_delta import TENSORS
from edge.errors import LearningError
from edge.loops import compiled_functions, local_learning, night
from edge.loops.learner_process import LOG, LearnerProcess
from edge.loops.learning_job import Progress, Report
from edge.loops.local_learning import COMPILED, PREPARE, LocalLearning
from edge.loops.night import Receipt
from edge.testing import process_tree, tiny_learning
from edge.testing.learning_home import NOW, LearningHome
from edge.testing.tiny_learning import Plan
from rlds import sealing, spool_key

SOON_S = 20.0
"""Far less than a call that never ends; //tests/benchmarks:learner measures stops."""
LARGE = Plan(large=True)


@pytest.fixture
def home(tmp_path: Path) -> LearningHome:
    return LearningHome(tmp_path)


def begin(home: LearningHome, plan: Plan = tiny_learning.NORMAL) -> LocalLearning:
    """A robot whose learner has just been started."""
    home.install(plan)
    home.show(8)
    learning = home.open(inside=False)
    learning.look()
    learning.begin("slow")
    return learning


def wait_for_progress(learning: LocalLearning) -> Progress:
    def look() -> bool:
        learning.poll(NOW, 0.1)
        return learning.progress is not None

    process_tree.wait_until(look)
    assert learning.progress is not None
    return learning.progress


def test_folder_or_pipe_in_the_place_of_a_learners_files_makes_way(
    home: LearningHome,
) -> None:
    home.install()
    home.show(8)
    learning = home.open(inside=False)
    learning.look()
    run = home.root / "run"
    (run / night.OUTPUT / "in it").mkdir(parents=True)
    special_files.make(run / LOG, "pipe")
    with special_files.at_once():
        learning.begin("slow")
    assert finish(learning).accepted


def test_round_in_a_process_ends_with_a_delta_and_no_process(
    home: LearningHome,
) -> None:
    learning = begin(home)
    (pid,) = learning.learner_pids
    receipt = finish(learning)
    assert receipt.accepted
    assert receipt.processor_s > 0.1
    assert not Path(f"/proc/{pid}").exists()
    assert (home.root / "run" / LOG).read_bytes() == b""


def test_learner_opens_memories_with_the_key_of_its_parent(home: LearningHome) -> None:
    spool_key.use(home.root / "spool.key", creates=True)
    try:
        home.install()
        home.show(8)
        for path in (home.root / "memories" / "new").iterdir():
            path.write_bytes(sealing.seal(path.read_bytes()))
        learning = home.open(inside=False)
        learning.look()
        learning.begin("slow")
        assert finish(learning).accepted
        kept = list((home.root / "memories").glob("*.tfrecord"))
        assert len(kept) == 8
        assert all(sealing.is_sealed(path.read_bytes()) for path in kept)
    finally:
        spool_key.use(None, creates=False)
    told = home.told[:]
    home.open().look()
    assert [one for one in home.told if one not in told] == [
        f"memories such as {min(path.name for path in kept)} are not used: expected "
        f"the device's key {_id(home)}, got none"
    ]
    assert sorted((home.root / "memories").glob("*.tfrecord")) == sorted(kept)


def _id(home: LearningHome) -> str:
    return spool_key.load_or_create(home.root / "spool.key").id.hex()


def test_learner_gives_way_and_stops_in_the_middle_of_an_endless_call(
    home: LearningHome,
) -> None:
    learning = begin(home, Plan(endless=True))
    assert wait_for_progress(learning).done == 1  # the next call never ends
    (pid,) = learning.learner_pids
    proc = Path(f"/proc/{pid}")
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert (proc / "oom_score_adj").read_text().strip() == "1000"
    time.sleep(0.3)
    begin_s = time.monotonic()
    learning.stop()
    assert time.monotonic() - begin_s < SOON_S
    assert not proc.exists()
    assert learning.store.named("delta") is None


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.0, 2.0])
def test_learner_stops_wherever_it_is(home: LearningHome, after_s: float) -> None:
    learning = begin(home)
    (pid,) = learning.learner_pids
    time.sleep(after_s / 2)
    begin_s = time.monotonic()
    learning.stop()
    assert time.monotonic() - begin_s < SOON_S
    assert not Path(f"/proc/{pid}").exists()
    assert learning.poll(NOW) is None


def test_killed_learner_is_one_error_that_says_so(home: LearningHome) -> None:
    learning = begin(home)
    (pid,) = learning.learner_pids
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Exception, match="it ended with code -9: it said nothing"):
        process_tree.wait_until(lambda: learning.poll(NOW, 0.5))
    assert learning.store.named("delta") is None


def test_learner_ends_with_its_parent(home: LearningHome) -> None:
    home.install(Plan(endless=True))
    home.show(8)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from pathlib import Path\n"
            "from edge.testing.learning_home import LearningHome\n"
            "learning = LearningHome(Path(sys.argv[1])).open(inside=False)\n"
            "learning.look()\n"
            "learning.begin('slow')\n"
            "print(*learning.learner_pids, flush=True)\n"
            "time.sleep(60)\n",
            str(home.root),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    process_tree.wait_until(lambda: not process_tree.is_alive(pid))


def test_lines_that_are_no_report_fail_the_round(
    home: LearningHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning = begin(home)
    planned = learning._running
    assert planned is not None
    learning.stop()
    monkeypatch.setattr(sys, "executable", "/bin/echo")
    assert planned.planned is not None
    chatty = LearnerProcess(planned.planned.job, home.root / "run")
    said: list[Report] = []

    def look() -> bool:
        said.extend(chatty.poll(0.5))
        return not chatty.running

    process_tree.wait_until(look)
    assert chatty.judged is None
    assert chatty.failure is not None
    assert "expected strict JSON" in chatty.failure


def list_compiled(home: LearningHome) -> list[Path]:
    folder = home.root / "memories" / COMPILED
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def jax_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of jax's own, for all that learners compile, however fast."""
    folder = tmp_path / "jax"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    return folder


def prepare(learning: LocalLearning) -> set[int]:
    """Prepares the package; returns the processes that did it."""
    learning.look()
    assert learning.needs_preparing()
    learning.begin(PREPARE)
    pids: set[int] = set()
    while learning.loop == PREPARE:
        pids.update(learning.learner_pids)
        learning.poll(NOW, 0.1)
    return pids


@pytest.mark.long
def test_prepared_package_is_compiled_before_a_round_and_learns_the_same_to_the_bit(
    home: LearningHome, jax_cache: Path
) -> None:
    home.install(LARGE)
    home.show(8)
    prepare(home.open(inside=False))
    for path in list_compiled(home):
        path.unlink()  # what jax takes from a cache of its own has no code to keep
    learning = home.open(inside=False)
    pids = prepare(learning)
    assert not jax_cache.exists()
    compiled = list_compiled(home)
    assert [path.name for path in compiled] == [
        "consolidate_begin",
        "consolidate_end",
        "consolidate_step",
        "evaluate",
    ]
    assert len(pids) == len(compiled)
    assert not learning.needs_preparing()
    before = [path.stat().st_mtime_ns for path in compiled]
    learning.begin("slow")
    assert pids.isdisjoint(learning.learner_pids)
    assert finish(learning).accepted
    assert [path.stat().st_mtime_ns for path in list_compiled(home)] == before
    assert read_learned(learning) == learn_elsewhere(home.root.with_name("other"))


@pytest.mark.long
def test_round_keeps_to_its_processors_and_compiling_to_all_of_them(
    home: LearningHome,
) -> None:
    home.install(Plan(large=True, endless=True))
    home.show(8)
    learning = home.open(inside=False, threads=1)
    learning.look()
    learning.begin(PREPARE)
    seen = 0
    while learning.loop == PREPARE:
        for pid in learning.learner_pids:
            with contextlib.suppress(ProcessLookupError):
                assert os.sched_getaffinity(pid) == os.sched_getaffinity(0)
                seen += 1
        learning.poll(NOW, 0.02)
    assert seen
    learning.begin("slow")
    assert wait_for_progress(learning).done == 1  # the next call never ends
    (pid,) = learning.learner_pids
    assert len(os.sched_getaffinity(pid)) == 1
    learning.stop()


def test_compiling_may_take_half_as_much_again_and_is_stopped_beyond(
    home: LearningHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.install(LARGE)
    home.show(8)
    learning = home.open(inside=False, memory_bytes=100e6)
    learning.look()
    took = 149e6
    monkeypatch.setattr(local_learning, "read_resident_bytes", lambda pids: took)
    learning.begin(PREPARE)
    for _ in range(3):
        assert learning.poll(NOW, 0.01) is None
    pids = learning.learner_pids
    assert learning.loop == PREPARE and pids
    took = 151e6
    with pytest.raises(LearningError) as caught:
        learning.poll(NOW)
    assert "compiling a function: expected at most 150 MB of memory, got 151" in str(
        caught.value
    )
    assert learning.loop is None
    assert not any(map(process_tree.is_alive, pids))
    assert list_compiled(home) == []


def read_learned(learning: LocalLearning) -> bytes:
    """The vectors of the delta that counts."""
    return (learning.store.folder(str(learning.delta)) / TENSORS).read_bytes()


def learn_elsewhere(folder: Path) -> bytes:
    """What the same round learns with functions that were compiled where they are."""
    other = LearningHome(folder)
    other.install(LARGE)
    other.show(8)
    learning = other.open()
    learning.look()
    learning.begin("slow")
    finish(learning)
    return read_learned(learning)


def test_compiled_functions_that_are_torn_are_compiled_again(
    home: LearningHome,
) -> None:
    learning = begin(home)
    finish(learning)
    compiled = list_compiled(home)
    whole = [path.read_bytes() for path in compiled]
    for number, (path, raw) in enumerate(zip(compiled, whole, strict=True)):
        path.write_bytes(raw[:100] if number % 2 else raw[:-1] + b"?")
    home.show(4)
    learning.look()
    learning.begin("slow")
    assert finish(learning).processor_s > 0.1
    assert [len(path.read_bytes()) for path in compiled] == list(map(len, whole))


def test_compiled_function_that_is_another_one_is_compiled_again(
    home: LearningHome,
) -> None:
    """It loads, and only its first call shows that it is no good."""
    learning = begin(home)
    finish(learning)
    whole = {path.name: path for path in list_compiled(home)}
    step, end = whole["consolidate_step"], whole["consolidate_end"]
    right = len(step.read_bytes())
    step.write_bytes(end.read_bytes())
    home.show(4)
    learning.look()
    learning.begin("slow")
    assert finish(learning).accepted
    assert len(step.read_bytes()) == right


def test_round_compiles_first_what_is_not_prepared_and_can_be_stopped_meanwhile(
    home: LearningHome,
) -> None:
    learning = begin(home, LARGE)
    (pid,) = learning.learner_pids
    process_tree.wait_until(lambda: learning.poll(NOW, 0.1) or list_compiled(home))
    learning.stop()
    assert not process_tree.is_alive(pid)
    left = list_compiled(home)
    assert len(left) < 4
    assert learning.needs_preparing()
    for path in left:
        assert compiled_functions.read(path.parent, path.name) is not None


def test_disk_without_room_for_a_function_fails_the_round_and_leaves_nothing(
    home: LearningHome,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    home.install(LARGE)
    home.show(8)
    learning = home.open(inside=False)
    learning.look()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        learning.begin("slow")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(LearningError, match=r"to write .* File too large"):
        process_tree.wait_until(lambda: learning.poll(NOW, 0.5))
    assert learning.loop is None
    assert learning.delta is None
    assert list_compiled(home) == []


def finish(learning: LocalLearning) -> Receipt:
    """Waits for the end of a round."""
    receipts: list[Receipt] = []

    def look() -> bool:
        receipt = learning.poll(NOW, 0.5)
        receipts.extend([] if receipt is None else [receipt])
        return bool(receipts)

    process_tree.wait_until(look)
    return receipts[0]
