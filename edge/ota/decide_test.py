import dataclasses

import pytest

from edge.ota import decide, errors
from edge.ota.decide import Device, Installed, Move, Offer
from release.errors import RollbackError

OLD = "a" * 64
NEW = "b" * 64
DEVICE = Device("sim-00", "0.3.0")
INSTALLED = Installed(OLD, release_counter=5, channel="nightly", previous=None)


def offer(digest: str, counter: int, **changes: int | str) -> Offer:
    whole = Offer(digest, counter, "nightly", "0.1.0", 100, "salt")
    return dataclasses.replace(whole, **changes)


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
def test_each_offer_has_one_move(
    installed: Installed | None, intact: bool, offered: Offer, move: Move
) -> None:
    assert decide.decide(installed, intact, offered, DEVICE) is move


@pytest.mark.parametrize("offered", [offer(NEW, 4), offer(OLD, 4), offer(NEW, 5)])
def test_lower_or_conflicting_counter_is_a_rollback(offered: Offer) -> None:
    with pytest.raises(RollbackError, match="release counter above 5"):
        decide.decide(INSTALLED, True, offered, DEVICE)


def test_another_channel_needs_another_state_folder() -> None:
    with pytest.raises(errors.ChannelSwitchError, match="--state_dir"):
        decide.decide(INSTALLED, True, offer(NEW, 6, channel="stable"), DEVICE)


def test_rollback_channel_is_not_how_a_device_goes_back() -> None:
    with pytest.raises(errors.ChannelSwitchError, match="package on nightly anew"):
        decide.decide(INSTALLED, True, offer(OLD, 6, channel="rollback"), DEVICE)


def test_package_for_a_newer_runtime_is_refused_by_number_not_by_text() -> None:
    device = Device("sim-00", "0.9.0")
    newer = offer(NEW, 6, minimum_runtime="0.10.0")
    with pytest.raises(errors.RuntimeTooOldError, match=r"0\.10\.0 or newer"):
        decide.decide(INSTALLED, True, newer, device)


def test_device_without_a_package_outside_the_rollout_is_told_so() -> None:
    with pytest.raises(errors.NotInRolloutError, match="0 percent"):
        decide.decide(None, False, offer(NEW, 6, rollout_percent=0), DEVICE)


def test_rollout_reaches_its_share_of_devices_and_keeps_them_as_it_grows() -> None:
    names = [f"robot-{k}" for k in range(2000)]
    reached = [
        {n for n in names if decide.takes_part(offer(NEW, 6, rollout_percent=p), n)}
        for p in (0, 25, 60, 100)
    ]
    assert [len(one) / len(names) for one in reached] == pytest.approx(
        [0, 0.25, 0.6, 1], abs=0.04
    )
    assert reached[0] <= reached[1] <= reached[2] <= reached[3]


def test_pointer_after_activation_remembers_the_package_before() -> None:
    first = decide.after(None, offer(OLD, 5))
    second = decide.after(first, offer(NEW, 6))
    third = decide.after(second, offer(NEW, 7))
    assert (first.previous, second.previous, third.previous) == (None, OLD, OLD)
    assert third.release_counter == 7


def test_everything_but_active_and_previous_is_superfluous() -> None:
    active = Installed(NEW, 6, "nightly", OLD)
    names = [NEW, OLD, "c" * 64, ".tmp-x"]
    assert decide.superfluous(names, active) == (".tmp-x", "c" * 64)
    assert decide.superfluous(names, None) == tuple(sorted(names))
