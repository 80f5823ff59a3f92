"""A package that was refused is not fetched again until what matters has changed."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from edge.ota import errors, refusals
from edge.ota.decide import Move, Offer
from edge.ota.refusals import PAUSE, Refusals
from edge.runtime_version import RUNTIME_VERSION
from edge.testing.tiny_package import NOW, ROBOTS, SPEC
from edge.testing.updated_robot import UpdatedRobot, snapshot
from release.errors import ExpiredError, NotBlessedError, RollbackError
from release.testing.tiny_release import PrivateKey
from release.trusted_keys import TrustedKeys

TAR = "a" * 64
OFFER = Offer("b" * 64, 7, "nightly", "0.1.0", 100, "salt")
SECOND = timedelta(seconds=1)


@pytest.fixture
def robot(tmp_path: Path) -> UpdatedRobot:
    """A robot that has refused its second release."""
    robot = UpdatedRobot(tmp_path)
    robot.publisher.release(1, action_error=9.0)
    with pytest.raises(errors.CanaryError):
        robot.update()
    return robot


def refuse(root: Path, error: Exception, tar: str = TAR) -> None:
    kept = Refusals(root, "c" * 64, NOW)
    with pytest.raises(type(error)), kept.note(tar, OFFER):
        raise error


def test_refused_package_is_not_fetched_under_another_counter_and_its_successor_is(
    robot: UpdatedRobot,
) -> None:
    robot.refuse_again("canary action error of 9")
    robot.replace_record(release_counter=3)
    robot.refuse_again("canary action error of 9")
    mended = robot.publisher.release(2, channel_counter=4)
    assert robot.update().package.digest == mended


def test_operator_reads_why_in_one_line_and_how_to_try_again(
    robot: UpdatedRobot,
) -> None:
    with pytest.raises(errors.RefusedBeforeError) as caught:
        robot.update()
    text = str(caught.value)
    assert "\n" not in text
    assert "of channel nightly: expected a package that this robot has not refused" in (
        text
    )
    assert "canary action error of 9 within 0.0001, got 0." in text
    where = robot.state.root / "refused"
    assert text.endswith(f"to try this one now, remove {where}")
    (robot.state.root / "refused").unlink()
    with pytest.raises(errors.CanaryError):
        robot.update()


@pytest.mark.parametrize("change", ["runtime", "keys", "development keys", "robots"])
def test_package_is_tried_again_when_what_the_refusal_depends_on_has_changed(
    change: str,
) -> None:
    key, other = PrivateKey.generate(), PrivateKey.generate()
    keys = TrustedKeys.from_keys(key.trusted, allow_development=False)
    digest = refusals.digest_conditions
    changed = {
        "runtime": lambda: digest("9.0.0", keys, ROBOTS),
        "keys": lambda: digest(
            RUNTIME_VERSION,
            TrustedKeys.from_keys(other.trusted, allow_development=False),
            ROBOTS,
        ),
        "development keys": lambda: digest(
            RUNTIME_VERSION,
            TrustedKeys.from_keys(key.trusted, allow_development=True),
            ROBOTS,
        ),
        "robots": lambda: digest(RUNTIME_VERSION, keys, {**ROBOTS, "another": SPEC}),
    }
    before = digest(RUNTIME_VERSION, keys, ROBOTS)
    assert digest(RUNTIME_VERSION, keys, ROBOTS) == before
    assert changed[change]() != before


def test_refusal_under_other_conditions_does_not_hold(tmp_path: Path) -> None:
    refuse(tmp_path, NotBlessedError("p", "a", "b"))
    Refusals(tmp_path, "d" * 64, NOW).require_new(TAR, OFFER)
    Refusals(tmp_path, "c" * 64, NOW).require_new("e" * 64, OFFER)
    with pytest.raises(errors.RefusedBeforeError):
        Refusals(tmp_path, "c" * 64, NOW + 999 * PAUSE).require_new(TAR, OFFER)


@pytest.mark.parametrize(
    "error",
    [ExpiredError("p", "a", "b"), errors.TrialCutShortError("p", "a", "b")],
)
def test_package_that_was_refused_for_a_passing_reason_is_tried_a_day_later(
    tmp_path: Path, error: Exception
) -> None:
    refuse(tmp_path, error)
    for now in (NOW, NOW + PAUSE - SECOND):
        with pytest.raises(errors.RefusedBeforeError, match="after 2026-02-04T08:00:0"):
            Refusals(tmp_path, "c" * 64, now).require_new(TAR, OFFER)
    # The last is a clock that was a month ahead when it was refused.
    for now in (NOW + PAUSE, NOW - 30 * PAUSE):
        Refusals(tmp_path, "c" * 64, now).require_new(TAR, OFFER)


def test_package_that_was_refused_for_its_counter_is_tried_under_another(
    tmp_path: Path,
) -> None:
    refuse(tmp_path, RollbackError("p", "a", "b"))
    kept = Refusals(tmp_path, "c" * 64, NOW)
    with pytest.raises(errors.RefusedBeforeError):
        kept.require_new(TAR, OFFER)
    kept.require_new(TAR, Offer("b" * 64, 8, "nightly", "0.1.0", 100, "salt"))


def test_no_more_refusals_are_kept_than_their_bound(tmp_path: Path) -> None:
    for number in range(3 * refusals.MOST):
        refuse(tmp_path, NotBlessedError("p", "a", "b" * 999), tar=f"{number:064x}")
    raw = (tmp_path / "refused").read_bytes()
    assert len(json.loads(raw)["refused"]) == refusals.MOST
    assert len(raw) < 16 * 1024
    last = f"{3 * refusals.MOST - 1:064x}"
    with pytest.raises(errors.RefusedBeforeError):
        Refusals(tmp_path, "c" * 64, NOW).require_new(last, OFFER)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"schema_version":9}', None])
def test_damaged_note_of_refusals_stops_no_update(
    robot: UpdatedRobot, raw: bytes | None
) -> None:
    path = robot.state.root / "refused"
    path.unlink() if raw is None else path.write_bytes(raw)
    with pytest.raises(errors.CanaryError):
        robot.update()
    robot.refuse_again("canary action error of 9")


@pytest.mark.parametrize("failure", ["fewer bytes", "other bytes", "no store"])
def test_failure_of_the_store_is_no_refusal(tmp_path: Path, failure: str) -> None:
    robot = UpdatedRobot(tmp_path)
    digest = robot.publisher.release(1)
    before = snapshot(robot.state.root)
    path = robot.publisher.root / robot.record().package["pi5-cpu"].path
    raw = path.read_bytes()
    if failure == "no store":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] if failure == "fewer bytes" else raw[:-1] + b"x")
    for _ in range(2):
        with pytest.raises(Exception, match="expected"):
            robot.update()
        assert snapshot(robot.state.root) == before
    path.write_bytes(raw)
    active = robot.update()
    assert (active.move, active.package.digest) == (Move.INSTALL, digest)


def test_refusal_that_cannot_be_kept_is_raised_all_the_same(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    refuse(absent, NotBlessedError("p", "a", "b"))
    Refusals(absent, "c" * 64, NOW).require_new(TAR, OFFER)
