"""Nights that are meant to break a robot leave it whole and drivable.

A night is drawn from a seed: torn files, sensors that stand still, show enormous
numbers or NaN, demonstrations that contradict each other, another robot's episodes,
clocks that jump; some are killed before a change that they make to the disk, or find
it full. The packages are a good one and those of `HOSTILE`. One night is also killed
before every single change. After each of them the package has every byte that it had,
the pointers name whole deltas within their bounds or none, and the robot drives.

A learner that takes more memory than it said is a process of its own, and so in
`edge/processes/bad_input_test.py`.
"""

import contextlib
import functools
import os
import resource
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.digest import sha256_bytes
from base.errors import ContinuonError
from edge.control import local_delta
from edge.control.local_delta import LocalDelta
from edge.control.policy_source import make_package_driver
from edge.errors import LearningError
from edge.loops.delta_store import CURRENT, LAST_GOOD
from edge.loops.learning_job import Job, Judged, Report
from edge.loops.local_learning import LocalLearning, Settings
from edge.ota.decide import Origin
from edge.robots.robot import Observation
from edge.testing import power_cuts, tiny_learning
from edge.testing.learning_home import NOW, LearningHome
from edge.testing.tiny_learning import ROBOT_ID, TASKS, Plan
from release.verification import verify_integrity
from rlds import example_codec, tfrecord

CLOCKS = ("1999-12-31T23:59:59Z", NOW, "2026-03-04T09:41:11Z", "2199-01-01T00:00:00Z")
HUGE = 1e30
QUOTA_BYTES = 30_000
AVAILABLE_BYTES = 400_000_000
GOOD = Plan(calls=5)
HOSTILE = (
    Plan(calls=5, harmful=True),
    Plan(calls=5, unbounded=True),
    Plan(calls=5, not_finite=True),
    Plan(calls=5, memory_bytes=AVAILABLE_BYTES),  # and its program takes more
)
NEVER_COUNT = HOSTILE[1:]
"""Packages of which no delta may ever count, whatever the night was."""
CUT, FULL = 1, 2
"""What becomes of some nights, of 16."""
_MOST_CALLS = 50  # about as many as a night makes
_LIMITS_BYTES = (0, 200, 1000, 3000)


def read_tree(folder: Path) -> str:
    """One digest of every file below a folder."""
    found = [
        f"{path.relative_to(folder)} {sha256_bytes(path.read_bytes())}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return sha256_bytes("\n".join(found).encode())


def read_whole(learning: LocalLearning, pointer: str) -> LocalDelta | None:
    """The delta that a pointer names; None for one of the package before.

    One that is torn, or out of its bounds, raises: no night here tears any.
    """
    assert learning.package is not None
    digest = learning.store.named(pointer)
    if digest is None:
        return None
    folder = learning.store.folder(digest)
    record = local_delta.parse((folder / local_delta.RECORD).read_bytes(), folder)
    if record.base_package != learning.package.digest:
        content = (folder / local_delta.TENSORS).read_bytes()
        assert sha256_bytes(content) == record.tensors_sha256
        return None
    return learning.store.read(pointer, learning.package.manifest)


def require_drivable(home: LearningHome, learning: LocalLearning) -> str | None:
    """Checks what control reads before an episode; returns its delta."""
    assert learning.package is not None
    package = verify_integrity(learning.package.folder)
    delta = read_whole(learning, CURRENT)
    for one in (delta, read_whole(learning, LAST_GOOD)):
        for vector in ({} if one is None else one.vectors).values():
            assert np.isfinite(vector).all()
    driver = make_package_driver(package, delta=delta)
    policy = driver.policy_for("tiny", tiny_learning.SPEC)
    policy.reset(TASKS[0])
    state = np.ones(tiny_learning.STATE_SIZE, np.float32)
    assert np.isfinite(policy.propose(Observation(state, 0))).all()
    return None if delta is None else delta.digest


def draw_episode(random: np.random.Generator, number: int, package: str) -> bytes:
    """The file of one odd episode."""
    task = str(random.choice(TASKS))
    made = tiny_learning.demonstrate(
        number,
        task,
        offset=float(random.choice([0.3, -0.3, 0.3, HUGE, 0.0])),
        noise=float(random.choice([0.0, 0.0, 1.0])),
        steps=int(random.choice([1, 2, 12, 12, 40])),
        operator=str(random.choice(["expert", "human", f"policy:{package[:12]}"])),
        package_digest=package,
        delta_digest=str(random.choice(["", "ab" * 32])),
        success=[True, True, False, None][random.integers(4)],
        start_time=str(random.choice(CLOCKS)),
        robot_hash=str(random.choice([ROBOT_ID] * 9 + ["arm-2"])),
    )
    steps: dict[str, Any] = {name: np.array(v) for name, v in made.steps.items()}
    state = steps["observation/state"]
    match random.integers(6):
        case 0:
            state[:] = 0.0  # a sensor that says nothing
        case 1:
            state[:, 0] = HUGE
        case 2:
            state[len(state) // 2 :] = np.nan  # never made by a recorder
        case 3:
            steps["safety_violation"][:] = True
    raw = tfrecord.frame(example_codec.encode_parts(made.spec, made.metadata, steps))
    if random.integers(12) == 0:
        raw = raw[: random.integers(len(raw))]
    return bytes(raw)


def live_a_night(
    home: LearningHome, learning: LocalLearning, seed: int
) -> LocalLearning:
    """Hands over a few odd episodes, and learns from them whatever comes of it.

    Returns:
        What learns from now on: after a cut or on a full disk it was started again.
    """
    random = np.random.default_rng(seed)
    folder = home.root / "memories/new"
    folder.mkdir(parents=True, exist_ok=True)
    assert learning.package is not None
    for index in range(random.integers(1, 6)):
        number = 10 * seed + index
        path = folder / f"{number:08d}.tfrecord"
        path.write_bytes(draw_episode(random, number, learning.package.digest))
        when_ns = int(random.integers(0, 4_000_000_000)) * 10**9
        os.utime(path, ns=(when_ns, when_ns))
    fate = random.integers(16)
    if fate in (CUT, FULL):
        end_badly(home, learning.look, fate == CUT, random)
        learning = open_again(home)
    learning.look()
    loop = str(random.choice(["slow", "medium"]))
    with contextlib.suppress(LearningError):
        learning.begin(loop, AVAILABLE_BYTES)
        assert learning.package is not None
        assert learning.package.manifest.learning is not None
        assert learning.package.manifest.learning.memory_bytes < AVAILABLE_BYTES
        when = str(random.choice(CLOCKS))
        if fate in (CUT, FULL) and learning._running is not None:
            learning._running.learner.poll(0.0)  # a fork cannot use this one's jax
            end = functools.partial(learning.poll, when)
            end_badly(home, end, fate == CUT, random)
            learning = open_again(home)
        else:
            learning.poll(when)
    return learning


def open_again(home: LearningHome) -> LocalLearning:
    """The robot was off."""
    learning = home.open(quota_bytes=QUOTA_BYTES)
    learning.look()
    return learning


def end_badly(
    home: LearningHome,
    work: Callable[[], object],
    cut: bool,
    random: np.random.Generator,
) -> None:
    """Lets a night's work be killed before one of its changes, or find a full disk."""

    def survive() -> None:
        with contextlib.suppress(ContinuonError, OSError):
            work()

    if cut:
        power_cuts.kill_before_call(
            int(random.integers(_MOST_CALLS)), home.root, survive
        )
    else:
        limit_bytes = int(random.choice(_LIMITS_BYTES))
        run_on_full_disk(limit_bytes, survive)


def run_on_full_disk(limit_bytes: int, work: Callable[[], object]) -> None:
    """Runs `work` in a child that may write no file beyond a size."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        with contextlib.suppress(ContinuonError, OSError):
            work()

    assert os.WEXITSTATUS(power_cuts.run_in_child(limit)) == 0


def live_nights(home: LearningHome, nights: int, plans: Sequence[Plan]) -> None:
    for plan in plans:
        home.install(plan, origin=Origin.SEED)  # medium may change it, too
        learning = open_again(home)
        assert learning.package is not None
        before = read_tree(learning.package.folder)
        for seed in range(nights):
            if seed % 10 == 9:
                learning = open_again(home)
            learning = live_a_night(home, learning, seed)
            driven = require_drivable(home, learning)
            assert driven is None or plan not in NEVER_COUNT
        home.show(1)  # a cut may have kept the oldest ones from being removed
        learning.look()
        assert learning.package is not None
        assert read_tree(learning.package.folder) == before
        kept = [*(home.root / "memories").glob("0*")]
        assert sum(path.stat().st_size for path in kept) <= QUOTA_BYTES


@pytest.fixture
def home(tmp_path: Path) -> LearningHome:
    return LearningHome(tmp_path)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.parametrize("plan", [GOOD, *NEVER_COUNT])
def test_odd_nights_leave_a_whole_and_drivable_robot(
    home: LearningHome, plan: Plan
) -> None:
    live_nights(home, 8, [plan])


NIGHTS = int(os.environ.get("ODD_NIGHTS", "1500"))
"""Some three minutes of them; ten thousand, by `--test_env=ODD_NIGHTS=10000
--test_timeout=3600`, take 35 minutes."""


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.filterwarnings("ignore:os.fork")
def test_many_odd_nights_leave_a_whole_and_drivable_robot(home: LearningHome) -> None:
    plans = (GOOD, *HOSTILE)
    live_nights(home, -(-NIGHTS // len(plans)), plans)


def test_numbers_that_are_not_finite_never_become_a_memory(home: LearningHome) -> None:
    home.install()
    made = tiny_learning.demonstrate(1)
    steps = {name: np.array(v) for name, v in made.steps.items()}
    steps["observation/state"][3] = np.nan
    folder = home.root / "memories/new"
    folder.mkdir(parents=True)
    raw = tfrecord.frame(example_codec.encode_parts(made.spec, made.metadata, steps))
    (folder / "odd.tfrecord").write_bytes(raw)
    learning = home.open()
    learning.look()
    assert learning.memories.read() == ()
    assert len(home.told) == 1
    assert "expected finite numbers" in home.told[0]


class Repeated:
    """A learner that says what a real one said before, without jax.

    A fork cannot use the jax of its parent.
    """

    def __init__(self, output: bytes, judged: Judged) -> None:
        self._output, self._found = output, judged
        self.judged: Judged | None = None
        self.failure: str | None = None
        self.running = True
        self.pid = os.getpid()

    def start(self, job: Job, run_folder: Path) -> "Repeated":
        del run_folder
        job.output.write_bytes(self._output)
        return self

    def poll(self, timeout_s: float) -> list[Report]:
        del timeout_s
        self.running, self.judged = False, self._found
        return []

    def stop(self) -> float:
        self.running = False
        return 0.0


class Cut:
    """A robot as it is before a night, and that night, which can be repeated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = LearningHome(folder / "before")
        home.install()
        home.show(16)
        first = home.open()
        first.look()
        first.begin("slow")
        receipt = first.poll(NOW)
        assert receipt is not None
        assert receipt.accepted
        self.old = _read_current(first)
        home.show(4)
        learner = self._learn_once(folder)
        self._learner = learner
        self.told = home.told

    def _learn_once(self, folder: Path) -> Repeated:
        """What the night comes to, by a real learner on a copy."""
        home = LearningHome(folder / "copy")
        shutil.copytree(folder / "before", home.root)
        learning = home.open()
        learning.look()
        learning.begin("slow")
        running = learning._running
        assert running is not None
        receipt = learning.poll(NOW)
        assert receipt is not None
        assert receipt.accepted
        assert running.learner.judged is not None
        self.new = _read_current(learning)
        assert self.new != self.old
        raw = (home.root / "run/learned.safetensors").read_bytes()
        return Repeated(raw, running.learner.judged)

    def copy(self, name: str) -> LearningHome:
        home = LearningHome(self.folder / name)
        shutil.copytree(self.folder / "before", home.root)
        return home

    def open(self, home: LearningHome) -> LocalLearning:
        again = Repeated(self._learner._output, self._learner._found)
        settings = Settings(ROBOT_ID)
        return LocalLearning(home.root, settings, home.told.append, again.start)

    def run(self, home: LearningHome) -> None:
        learning = self.open(home)
        learning.look()
        learning.begin("slow")
        learning.poll(NOW)

    def check(self, home: LearningHome) -> None:
        """The old delta or the new one counts; the next night reaches the new one."""
        learning = self.open(home)
        learning.look()
        require_drivable(home, learning)
        assert _read_current(learning) in (self.old, self.new)
        assert len(learning.memories.read()) == 20
        if _read_current(learning) == self.old:
            learning.begin("slow")
            assert learning.poll(NOW) is not None
            assert _read_current(learning) == self.new
        self.open(home).look()
        left = [p.name for p in home.root.rglob(".tmp-*")]
        assert left == []
        assert home.told == []


def _read_current(learning: LocalLearning) -> str:
    """Digest of the vectors that count; the delta's own one has the time in it."""
    assert learning.package is not None
    found = learning.store.read(CURRENT, learning.package.manifest)
    assert found is not None
    return found.record.tensors_sha256


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    return Cut(tmp_path_factory.mktemp("cut"))


def kill_nights(cut: Cut, stride: int) -> int:
    """Kills a night before every `stride`-th change; returns how many there are."""
    number = 0
    while True:
        home = cut.copy(f"cut-{number}")
        reached = power_cuts.kill_before_call(
            number, home.root, functools.partial(cut.run, home)
        )
        cut.check(home)
        shutil.rmtree(home.root)
        if not reached:
            return number
        number += stride


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.filterwarnings("ignore:os.fork")
def test_killed_night_leaves_the_old_or_the_new_delta(cut: Cut) -> None:
    assert kill_nights(cut, 11) > 20


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.filterwarnings("ignore:os.fork")
def test_night_killed_at_any_change_leaves_the_old_or_the_new_delta(cut: Cut) -> None:
    assert kill_nights(cut, 1) > 20


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.parametrize("limit_bytes", [0, 200, 3000])
def test_night_on_a_full_disk_leaves_the_old_or_the_new_delta(
    cut: Cut, limit_bytes: int
) -> None:
    home = cut.copy(f"full-{limit_bytes}")

    run_on_full_disk(limit_bytes, functools.partial(cut.run, home))
    cut.check(home)
