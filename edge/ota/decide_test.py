from pathlib import Path

import pytest

from edge.errors import ClockError
from edge.ota import decide, errors
from edge.ota.decide import Installed, Move, Offer, RobotRuntime
from edge.robots import machine_name
from release.errors import RollbackError

OLD = "a" * 64
NEW = "b" * 64
ROBOT = RobotRuntime("sim-00", "0.3.0")
INSTALLED = Installed(OLD, release_counter=5, channel="nightly", previous=None)


def offer(
    digest: str,
    counter: int,
    *,
    channel: str = "nightly",
    minimum_runtime: str = "0.1.0",
    rollout_percent: int = 100,
) -> Offer:
    return Offer(digest, counter, channel, minimum_runtime, rollout_percent, "salt")


@pytest.mark.parametrize(
    ("installed", "intact", "offered", "move"),
    [
        (None, False, offer(NEW, 1), Move.INSTALL),
        (INSTALLED, True, offer(OLD, 5), Move.KEEP),
        (INSTALLED, False, offer(OLD, 5), Move.INSTALL),
        (INSTALLED, True, offer(OLD, 6), Move.ADOPT_COUNTER),
        (INSTALLED, False, offer(OLD, 6), Move.INSTALL),
        (INSTALLED, True, offer(NEW, 6), Move.INSTALL),
        (INSTALLED, True, offer(NEW, 6, rollout_percent=0), Move.KEEP),
    ],
)
def test_offer_is_kept_adopted_or_installed(
    installed: Installed | None, intact: bool, offered: Offer, move: Move
) -> None:
    assert decide.decide(installed, intact, offered, ROBOT, True) is move


FELL_BACK = Installed(OLD, 6, "nightly", None, fell_back_from=NEW)


@pytest.mark.parametrize(
    ("opens", "offered", "move"),
    [
        (True, offer(NEW, 6), Move.KEEP),
        (False, offer(NEW, 6), Move.INSTALL),
        (True, offer(NEW, 7), Move.INSTALL),
        (True, offer(OLD, 7), Move.ADOPT_COUNTER),
    ],
)
def test_release_that_did_not_open_is_not_installed_again_under_its_counter(
    opens: bool, offered: Offer, move: Move
) -> None:
    assert decide.decide(FELL_BACK, opens, offered, ROBOT, True) is move


def test_package_before_is_not_accepted_under_the_counter_of_the_bad_release() -> None:
    with pytest.raises(RollbackError, match=f"6 with package {NEW[:12]}"):
        decide.decide(FELL_BACK, True, offer(OLD, 6), ROBOT, True)


@pytest.mark.parametrize(
    ("opens", "offered", "move"),
    [
        (True, offer(NEW, 6), Move.KEEP),
        (True, offer(OLD, 6), Move.KEEP),
        (True, offer(OLD, 5), Move.KEEP),
        (False, offer(OLD, 5), Move.INSTALL),
    ],
)
def test_wrong_clock_lets_nothing_new_in(
    opens: bool, offered: Offer, move: Move
) -> None:
    assert decide.decide(INSTALLED, opens, offered, ROBOT, False) is move


@pytest.mark.parametrize("installed", [None, INSTALLED])
def test_wrong_clock_without_a_package_to_keep_is_an_error(
    installed: Installed | None,
) -> None:
    with pytest.raises(ClockError, match="set the clock"):
        decide.decide(installed, False, offer(NEW, 6), ROBOT, False)


@pytest.mark.parametrize("offered", [offer(NEW, 4), offer(OLD, 4), offer(NEW, 5)])
def test_lower_or_conflicting_counter_raises_rollback_error(offered: Offer) -> None:
    with pytest.raises(RollbackError, match="release counter above 5"):
        decide.decide(INSTALLED, True, offered, ROBOT, True)


def test_offer_of_another_channel_is_refused() -> None:
    with pytest.raises(
        errors.ChannelSwitchError, match="give this one a folder of its own"
    ):
        decide.decide(INSTALLED, True, offer(NEW, 6, channel="stable"), ROBOT, True)


def test_offer_of_the_rollback_channel_is_refused_with_the_way_to_go_back() -> None:
    with pytest.raises(errors.ChannelSwitchError, match="package again on nightly"):
        decide.decide(INSTALLED, True, offer(OLD, 6, channel="rollback"), ROBOT, True)


def test_runtime_versions_are_compared_as_numbers_not_as_text() -> None:
    robot = RobotRuntime("sim-00", "0.9.0")
    newer = offer(NEW, 6, minimum_runtime="0.10.0")
    with pytest.raises(errors.RuntimeTooOldError, match=r"0\.10\.0 or newer"):
        decide.decide(INSTALLED, True, newer, robot, True)


def test_robot_outside_the_rollout_and_without_a_package_is_refused() -> None:
    with pytest.raises(errors.NotInRolloutError, match="0 percent"):
        decide.decide(None, False, offer(NEW, 6, rollout_percent=0), ROBOT, True)


def test_rollout_reaches_its_share_of_robots_and_keeps_them_as_it_grows() -> None:
    names = [f"robot-{k}" for k in range(2000)]
    reached = [
        {n for n in names if decide.takes_part(offer(NEW, 6, rollout_percent=p), n)}
        for p in (0, 25, 60, 100)
    ]
    assert [len(one) / len(names) for one in reached] == pytest.approx(
        [0, 0.25, 0.6, 1], abs=0.04
    )
    assert reached[0] <= reached[1] <= reached[2] <= reached[3]


def test_new_pointer_names_the_package_before() -> None:
    first = decide.advance_pointer(None, False, offer(OLD, 5))
    second = decide.advance_pointer(first, True, offer(NEW, 6))
    third = decide.advance_pointer(second, True, offer(NEW, 7))
    assert (first.previous, second.previous, third.previous) == (None, OLD, OLD)
    assert third.release_counter == 7


def test_new_pointer_never_names_a_package_that_does_not_open_as_the_one_before() -> (
    None
):
    bad = Installed(NEW, 6, "nightly", previous=OLD)
    good = "c" * 64
    assert decide.advance_pointer(bad, False, offer(good, 7)).previous == OLD
    assert decide.advance_pointer(bad, False, offer(OLD, 7)).previous is None
    first = Installed(NEW, 6, "nightly", previous=None)
    assert decide.advance_pointer(first, False, offer(good, 7)).previous is None


def test_falling_back_keeps_the_counter_and_remembers_the_bad_package() -> None:
    fallen = decide.fall_back(Installed(NEW, 6, "nightly", previous=OLD))
    assert fallen == FELL_BACK
    assert decide.fall_back(FELL_BACK) is None
    cured = decide.advance_pointer(FELL_BACK, True, offer("c" * 64, 7))
    assert cured == Installed("c" * 64, 7, "nightly", previous=OLD)


def test_all_but_the_active_and_the_previous_package_are_unused() -> None:
    active = Installed(NEW, 6, "nightly", OLD)
    names = [NEW, OLD, "c" * 64, ".tmp-x"]
    assert decide.find_unused(names, active) == (".tmp-x", "c" * 64)
    assert decide.find_unused(names, None) == (".tmp-x",)


def test_lost_pointer_is_stood_in_for_and_learns_its_channel_and_counter() -> None:
    found = decide.recover([NEW, OLD], release_counter=4)
    assert found == Installed(NEW, 4, decide.UNKNOWN_CHANNEL, OLD)
    same = decide.follow(found, offer(NEW, 6))
    assert same == Installed(NEW, 6, "nightly", OLD)
    other = decide.follow(found, offer("c" * 64, 6))
    assert other == Installed(NEW, 4, "nightly", OLD)
    assert decide.decide(other, True, offer("c" * 64, 6), ROBOT, True) is Move.INSTALL
    for older in (offer(OLD, 3), offer(OLD, 4)):
        with pytest.raises(RollbackError):
            decide.decide(decide.follow(found, older), True, older, ROBOT, True)
    assert decide.follow(INSTALLED, offer(OLD, 9, channel="beta")) is INSTALLED
    assert decide.follow(None, offer(OLD, 9)) is None


@pytest.mark.parametrize("salt", ["salt", "2026-11", ""])
def test_rollout_of_a_tenth_reaches_a_tenth_of_robots_that_were_given_no_name(
    tmp_path: Path, salt: str
) -> None:
    machine_id = tmp_path / "machine-id"
    names = set()
    for number in range(1, 201):
        # Even if their ids are numbered: the names are hashes.
        machine_id.write_text(f"{number:032x}\n")
        names.add(machine_name.derive_name(machine_id))
    assert len(names) == 200
    offered = Offer(NEW, 6, "nightly", "0.1.0", rollout_percent=10, rollout_salt=salt)
    assert 10 <= sum(decide.takes_part(offered, name) for name in names) <= 30
