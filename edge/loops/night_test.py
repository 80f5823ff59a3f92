"""A round learns from memories, is judged, and counts or does not.

The learner runs inside the test here; `learner_process_test.py` runs the process.
"""

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from base.digest import sha256_bytes
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, Evaluation
from edge.errors import DeltaError, LearningError
from edge.loops import delta_store, night
from edge.loops.decide import LEARNER_BYTES
from edge.loops.delta_store import CURRENT, LAST_GOOD, DeltaStore
from edge.loops.learning_job import Judged, Progress, Report
from edge.loops.memories import LocalMemories
from edge.loops.night import EVALUATE, Receipt, Round, plan_round
from edge.loops.package_functions import PackageFunctions
from edge.testing import tiny_learning
from edge.testing.tiny_learning import CALLS, MEMORY_BYTES, ROBOT_ID, TASKS, Plan
from release.verification import IntactPackage, verify_integrity

NOW = "2026-03-04T09:41:12Z"


class Home:
    """One robot: its package, memories and deltas."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[str] = []
        self.memories = LocalMemories(
            root / "memories", ROBOT_ID, tell=self.told.append
        )
        self.store = DeltaStore(root / "deltas")
        self.run = root / "run"
        self.run.mkdir()
        self.number = 0

    def package(
        self, plan: Plan = tiny_learning.NORMAL, **options: Any
    ) -> IntactPackage:
        self.number += 1
        folder = self.root / f"package-{self.number}"
        tiny_learning.write_package(folder, plan, **options)
        return verify_integrity(folder)

    def show(self, package: IntactPackage, count: int, **options: Any) -> None:
        """Lets somebody show every task in turn."""
        for _ in range(count):
            self.number += 1
            task = TASKS[self.number % len(TASKS)]
            episode = tiny_learning.demonstrate(self.number, task, **options)
            tiny_learning.hand_over(self.root, episode)
        self.memories.take(package.manifest.robot)

    def plan(self, package: IntactPackage, **options: Any) -> Round:
        return plan_round(
            package, "slow", self.store, self.memories, self.run, **options
        )

    def finish(self, planned: Round) -> Receipt:
        """Learns and judges."""
        judged = learn(planned)[-1]
        assert isinstance(judged, Judged)
        return self.judge(planned, judged)

    def judge(self, planned: Round, judged: Judged) -> Receipt:
        return night.finish_round(
            planned, judged, self.store, created_at=NOW, wall_s=2.0, processor_s=3.0
        )

    def keep(self, vectors: dict[str, np.ndarray], base: str) -> str:
        """Keeps a delta of a package, and lets it count."""
        record = DeltaRecord(
            base_package=base,
            parent=None,
            loop="slow",
            consolidations=3,
            created_at=NOW,
            tensors_sha256=sha256_bytes(local_delta.encode_vectors(vectors)),
            episodes=(),
            evaluation=Evaluation(4, 0.25, 0.125, 0.97),
            wall_s=1.0,
            processor_s=1.0,
        )
        digest = self.store.keep(vectors, record)
        self.store.point(CURRENT, digest)
        return digest

    def aside(self, digest: str) -> Path:
        return self.root / "deltas" / delta_store.QUARANTINE / digest


_COMPILED: dict[tuple[str, str | None], PackageFunctions] = {}


def learn(planned: Round) -> list[Report]:
    """Runs a round here; equal packages of several tests are compiled once."""
    reports: list[Report] = []
    key = (planned.package.digest, planned.loop)
    functions = _COMPILED.setdefault(
        key, _COMPILED.get(key) or PackageFunctions(planned.package, planned.loop)
    )
    assert functions.run(planned.job, reports.append)
    return reports


def vectors(head: float) -> dict[str, np.ndarray]:
    return {
        "calibration": np.zeros(tiny_learning.STATE_SIZE, np.float32),
        "head": np.full(tiny_learning.ACTION_SIZE, head, np.float32),
        "skill_memory": np.zeros(tiny_learning.STATE_SIZE, np.float32),
    }


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_what_was_shown_is_learned_and_counts(home: Home) -> None:
    package = home.package()
    home.show(package, 16)
    planned = home.plan(package)
    assert len(planned.judges) == 4
    receipt = home.finish(planned)
    assert receipt.accepted
    assert receipt.evaluation.error_before == pytest.approx(0.3, abs=0.01)
    assert receipt.evaluation.error_after < 0.05
    found = home.store.read(CURRENT, package.manifest)
    assert found is not None
    assert found.digest == receipt.delta
    assert found.vectors["head"] == pytest.approx(0.3, abs=0.1)
    assert found.record.loop == "slow"
    assert found.record.parent is None
    assert found.record.consolidations == 1
    assert set(found.record.episodes) == {m.digest for m in planned.learned}
    assert not set(found.record.episodes) & {m.digest for m in planned.judges}
    assert home.store.named(LAST_GOOD) is None
    assert len(receipt.surprise) == 16


def test_what_a_night_found_is_in_its_line_and_beside_its_delta(home: Home) -> None:
    package = home.package(Plan(finds=True))
    home.show(package, 16)
    receipt = home.finish(home.plan(package))
    assert receipt.accepted
    assert (
        " episodes: found: arm 8 steps late, gain 0.82, sensor 2 off by +0.03; "
        "what was learned: mean error " in receipt.line
    )
    kept = home.store.read(CURRENT, package.manifest)
    assert kept is not None
    assert kept.record.found == receipt.found
    assert kept.record.found["latency_steps"] == 8
    assert kept.record.found["sensor_offset_2"] == 0.03


def test_record_of_a_delta_says_its_steps_and_the_surfaces_that_changed(
    home: Home,
) -> None:
    package = home.package()
    home.show(package, 16)
    home.finish(home.plan(package))
    kept = home.store.read(CURRENT, package.manifest)
    assert kept is not None
    assert kept.record.steps == CALLS + 2
    assert kept.record.surfaces == ("calibration", "head", "skill_memory")
    home.keep(vectors(0.2), "f" * 64)
    planned = night.plan_judging(package, home.store, home.memories, home.run)
    assert planned is not None
    assert home.finish(planned).accepted
    again = home.store.read(CURRENT, package.manifest)
    assert again is not None
    assert (again.record.steps, again.record.surfaces) == (0, ("head",))


def test_progress_says_every_call_and_the_loss_falls(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    reports = learn(home.plan(package))
    progress = [one for one in reports if isinstance(one, Progress)]
    assert progress[0].done == 1
    assert (progress[-1].done, progress[-1].total) == (CALLS + 2, CALLS + 2)


def test_next_round_begins_where_the_last_one_ended(home: Home) -> None:
    package = home.package()
    home.show(package, 16)
    first = home.finish(home.plan(package))
    planned = home.plan(package, rounds=1)
    assert planned.parent == first.delta
    assert (planned.job.consolidations, planned.job.seed) == (1, 1)
    before = learn(planned)[-1]
    assert isinstance(before, Judged)
    assert np.mean(before.before) == pytest.approx(
        first.evaluation.error_after, abs=1e-4
    )


def test_night_after_a_proven_delta_is_refused_where_one_on_trial_would_pass(
    home: Home,
) -> None:
    package = home.package()
    home.show(package, 16)
    first = home.finish(home.plan(package)).delta
    assert first is not None
    worse = Judged(before=(0.01,) * 4, after=(0.12,) * 4, surprise=())
    home.store.point(LAST_GOOD, first)
    proven = home.plan(package)
    output = proven.job.output
    output.write_bytes(local_delta.encode_vectors(vectors(0.1)))
    assert not home.judge(proven, worse).accepted
    assert home.store.named(CURRENT) == home.store.named(LAST_GOOD) == first
    home.store.point(CURRENT, home.keep(vectors(0.2), package.digest))
    on_trial = home.plan(package)
    assert home.judge(on_trial, worse).accepted
    assert home.store.named(LAST_GOOD) == first


def test_line_says_of_how_many_episodes_the_end_was_not_learned(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    assert "(of" not in home.finish(home.plan(package)).line
    # Of the last step only what came before it is learned.
    home.show(package, 8, steps=tiny_learning.STEPS + 1)
    assert home.plan(package).cut == 0
    home.show(package, 8, steps=tiny_learning.STEPS + 2)
    planned = home.plan(package)
    learned = [memory.steps > tiny_learning.STEPS + 1 for memory in planned.learned]
    assert planned.cut == sum(learned) > 0
    said = f" (of {planned.cut} the first {tiny_learning.STEPS} steps): "
    assert said in home.finish(planned).line


def test_delta_that_does_harm_is_refused_and_nothing_counts(home: Home) -> None:
    package = home.package(Plan(harmful=True))
    home.show(package, 16)
    receipt = home.finish(home.plan(package))
    assert not receipt.accepted
    assert receipt.delta is None
    assert home.store.named(CURRENT) is None
    assert receipt.line.startswith(
        "slow: delta refused after 2 s on 8 episodes: what was"
    )


def test_delta_beyond_its_bound_is_refused_whatever_the_judges_say(home: Home) -> None:
    package = home.package(Plan(unbounded=True))
    home.show(package, 8)
    planned = home.plan(package)
    learn(planned)
    good = Judged((0.3,) * len(planned.judges), (0.0,) * len(planned.judges), ())
    receipt = home.judge(planned, good)
    assert not receipt.accepted
    assert "head within its bound of 1" in receipt.reason
    assert home.store.named(CURRENT) is None


def test_learner_that_says_too_little_is_refused(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    planned = home.plan(package)
    receipt = home.judge(planned, Judged((0.3,), (0.0,), ()))
    assert not receipt.accepted
    assert receipt.reason == "the judges are not those of the round"


@pytest.mark.parametrize(
    ("plan", "options", "told"),
    [
        (Plan(without=("consolidate_step",)), {}, "a loop slow, got none"),
        (
            Plan(without=("evaluate",)),
            {},
            "a function `evaluate`, which judges deltas, got none",
        ),
        (Plan(), {"learning": None}, "a `learning` field in package.json, got none"),
        (
            Plan(memory_bytes=1 << 40),
            {},
            "at most 300 MB of memory for learning, got "
            f"{((1 << 40) + LEARNER_BYTES) // 10**6} MB",
        ),
    ],
)
def test_package_that_cannot_learn_here_is_one_line_before_anything_starts(
    home: Home, plan: Plan, options: dict[str, Any], told: str
) -> None:
    package = home.package(plan, **options)
    home.show(package, 8)
    with pytest.raises(LearningError) as caught:
        home.plan(package, available_bytes=300_000_000)
    assert told in str(caught.value)
    assert not list(home.run.iterdir())


def test_memory_that_is_just_enough_is_enough(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    needed = MEMORY_BYTES + LEARNER_BYTES
    home.plan(package, available_bytes=needed)
    with pytest.raises(LearningError, match="of memory for learning"):
        home.plan(package, available_bytes=needed - 1)


def test_robot_without_demonstrations_has_nothing_to_learn_from(home: Home) -> None:
    package = home.package()
    with pytest.raises(LearningError, match="an episode to learn from, got none"):
        home.plan(package)
    home.show(package, 8, operator="policy:cdcdcdcdcdcd", offset=0.0)
    with pytest.raises(LearningError, match="an episode to learn from, got none"):
        home.plan(package)


def test_torn_delta_is_begun_without(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    digest = home.keep(vectors(0.1), package.digest)
    (home.store.folder(digest) / local_delta.TENSORS).write_bytes(b"torn")
    planned = home.plan(package)
    assert planned.job.start is None
    assert planned.parent is None


def judge_again(home: Home, package: IntactPackage) -> Receipt | None:
    planned = night.plan_judging(package, home.store, home.memories, home.run)
    return None if planned is None else home.finish(planned)


def test_old_delta_that_still_helps_becomes_one_of_the_new_package(home: Home) -> None:
    package = home.package()
    home.show(package, 16)
    old = home.keep(vectors(0.3), "ab" * 32)
    assert night.find_foreign(home.store, package.manifest) == old
    with pytest.raises(DeltaError, match="a delta of package"):
        home.store.read(CURRENT, package.manifest)
    receipt = judge_again(home, package)
    assert receipt is not None
    assert receipt.accepted
    assert receipt.line.startswith(f"again: delta {str(receipt.delta)[:12]} accepted")
    found = home.store.read(CURRENT, package.manifest)
    assert found is not None
    assert found.record.parent == old
    assert found.record.consolidations == 3
    np.testing.assert_array_equal(found.vectors["head"], vectors(0.3)["head"])
    assert home.aside(old).is_dir()
    assert judge_again(home, package) is None


def test_old_delta_whose_calibration_no_recorded_action_shows_is_tried_in_use(
    home: Home,
) -> None:
    package = home.package()
    home.show(package, 16)
    # As what turns an arm back: far too small to change an action.
    said = {
        **vectors(0.0),
        "calibration": np.full_like(vectors(0)["calibration"], 1e-20),
    }
    old = home.keep(said, "ab" * 32)
    receipt = judge_again(home, package)
    assert receipt is not None
    assert receipt.accepted
    assert receipt.reason == "it changes no recorded action; its trial in use decides"
    found = home.store.read(CURRENT, package.manifest)
    assert found is not None
    assert found.record.parent == old
    np.testing.assert_array_equal(found.vectors["calibration"], said["calibration"])


@pytest.mark.parametrize("head", [-0.3, 0.0])
def test_old_delta_that_does_not_help_is_quarantined(home: Home, head: float) -> None:
    package = home.package()
    home.show(package, 16)
    old = home.keep(vectors(head), "ab" * 32)
    home.store.point(LAST_GOOD, old)
    receipt = judge_again(home, package)
    assert receipt is not None
    assert not receipt.accepted
    assert home.store.named(CURRENT) is None
    assert home.store.named(LAST_GOOD) is None
    assert home.aside(old).is_dir()


@pytest.mark.parametrize(
    "wrong",
    [
        {"head": np.zeros(2, np.float32)},
        {**vectors(0.1), "head": np.zeros(3, np.float32)},
        vectors(50.0),
        vectors(np.nan),
    ],
    ids=["few surfaces", "size", "bound", "NaN"],
)
def test_old_delta_that_cannot_fit_is_quarantined_without_a_trial(
    home: Home, wrong: dict[str, np.ndarray]
) -> None:
    package = home.package()
    old = home.keep(wrong, "ab" * 32)
    assert judge_again(home, package) is None
    assert home.store.named(CURRENT) is None
    assert home.aside(old).is_dir()


def test_old_delta_is_quarantined_by_a_package_that_cannot_judge(home: Home) -> None:
    package = home.package(learning=None)
    old = home.keep(vectors(0.3), "ab" * 32)
    with pytest.raises(LearningError, match="a `learning` field"):
        judge_again(home, package)
    assert home.store.named(CURRENT) is None
    assert home.aside(old).is_dir()


def test_fast_loop_is_refused_because_only_control_has_its_window(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    step = package.manifest.functions["consolidate_step"]
    spec = dataclasses.replace(step.inputs[0], name="window/states")
    functions = {
        **package.manifest.functions,
        "consolidate_step": dataclasses.replace(step, inputs=(*step.inputs, spec)),
    }
    manifest = dataclasses.replace(package.manifest, functions=functions)
    with pytest.raises(LearningError, match="a window of the last steps"):
        home.plan(dataclasses.replace(package, manifest=manifest))


ONES = np.ones(8, np.float32)


@pytest.mark.parametrize(
    ("ends", "returned", "error"),
    [
        (True, ({},), "results by their names, got a tuple"),
        (True, {"deltas": np.float32(1)}, "got an array () of float32"),
        (True, {"deltas": {"head": ONES * 1j}}, "got an array (8,) of complex64"),
        (True, {"deltas": {"more": ONES}}, "as `deltas`, got ['"),
        (False, [ONES], "results by their names, got a list"),
        (False, {"action_error": ONES}, "as next_observation_error, got none"),
        (False, {"action_error": np.float32(1)}, "got an array () of float32"),
        (False, {"action_error": ONES.reshape(8, 1)}, "got an array (8, 1) of float32"),
        (False, {"action_error": ONES[:1]}, "as action_error, got an array (1,)"),
        (False, {"action_error": ONES * 1j}, "got an array (8,) of complex64"),
        (False, {"action_error": ONES > 0}, "got an array (8,) of bool"),
    ],
)
def test_function_that_returns_another_shape_is_one_line_in_our_words(
    home: Home, ends: bool, returned: object, error: str
) -> None:
    package = home.package()
    home.show(package, 12)
    planned = home.plan(package)
    assert package.manifest.learning is not None
    last = package.manifest.learning.loops["slow"][-1].function
    functions = PackageFunctions(package, "slow")
    name = last if ends else EVALUATE
    functions._functions[name]._program = lambda **given: returned
    with pytest.raises(LearningError) as caught:
        functions.run(planned.job, lambda report: None)
    assert error in str(caught.value)


def test_error_of_a_loop_names_the_function_that_failed(home: Home) -> None:
    package = home.package()
    home.show(package, 8)
    planned = home.plan(package)
    assert package.manifest.learning is not None
    name = package.manifest.learning.loops["slow"][-1].function

    def fail(**given: object) -> NoReturn:
        raise RuntimeError("out of memory")

    functions = PackageFunctions(package, "slow")
    functions._functions[name]._program = fail
    with pytest.raises(LearningError, match="out of memory") as caught:
        functions.run(planned.job, lambda report: None)
    assert caught.value.source == name
