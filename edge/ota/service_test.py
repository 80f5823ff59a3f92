"""A package is installed and tried, and stays or gives way, each with a receipt."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.ota import service, trial, update
from edge.ota.decide import Origin
from edge.ota.state_folder import StateFolder
from edge.robots.robot import Observation
from edge.testing import tampering, tiny_package
from edge.testing.tiny_package import Publisher
from edge.testing.tried_robot import TRIAL_EPISODES, TriedRobot, has_trial
from edge.testing.updated_robot import snapshot
from release.channel import Rollout
from release.testing.tiny_release import publish
from rlds import example_codec, tfrecord
from rlds.episode import Episode

DAY = timedelta(days=1)


@pytest.fixture
def robot(tmp_path: Path) -> TriedRobot:
    """A robot with one committed package."""
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    robot.install(0)
    robot.commit()
    return robot


def test_package_is_on_trial_until_its_episodes_are_over(robot: TriedRobot) -> None:
    first = robot.active()
    robot.drive(30)
    second = robot.install(1)
    found = trial.read(robot.state.root)
    assert found is not None
    assert (found.digest, found.before, found.end) == (second, first, None)
    assert found.counts_before.episodes == 30 + TRIAL_EPISODES
    robot.drive(TRIAL_EPISODES - 1)
    assert not robot.updater.is_decided()
    assert robot.settle().lines == ()
    assert has_trial(robot)
    robot.drive(1)
    assert robot.updater.is_decided()
    (line,) = robot.settle().lines
    assert line.endswith("is committed: 5 episodes went as well as before")
    assert not has_trial(robot)
    assert not robot.updater.is_decided()
    assert (robot.active(), robot.pointer().previous) == (second, first)
    assert robot.outcomes() == [
        ("installed", first[:6]),
        ("committed", first[:6]),
        ("installed", second[:6]),
        ("committed", second[:6]),
    ]
    installed, committed = robot.read_receipts()[2:]
    assert installed.package_before == committed.package_before == first
    assert (installed.origin, installed.channel) == ("channel", "nightly")
    assert installed.counts["new_step_p99_s"] > 0
    assert {"new_canary_error", "active_canary_error"} <= set(installed.counts)
    assert committed.counts["episodes"] == TRIAL_EPISODES
    assert committed.counts["before_episodes"] == 30 + TRIAL_EPISODES


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "stop rules": ({"stop_rules": 1}, "3 of 3 episodes ended by a stop rule, 0 of"),
    "late steps": ({"missed_deadlines": 4}, "5.0% of its steps were late, 0.0% before"),
    "failures": ({"success": False}, "3 of 3 episodes failed, 0 of 35 before"),
}


@pytest.mark.parametrize("bad", BAD)
def test_package_that_drives_badly_gives_way_by_itself(
    robot: TriedRobot, bad: str
) -> None:
    changes, reason = BAD[bad]
    first = robot.active()
    robot.drive(30)
    second = robot.install(1)
    robot.drive(3, **changes)
    (line,) = robot.settle().lines
    assert f"package {second[:12]}, release 2, fell back: {reason}" in line
    assert robot.open().package.digest == first
    pointer = robot.pointer()
    assert (pointer.digest, pointer.fell_back_from) == (first, second)
    assert not has_trial(robot)
    fell = robot.read_receipts()[-1]
    assert (fell.outcome, fell.package_digest, fell.package_before) == (
        "fell_back",
        second,
        first,
    )
    assert fell.reason.startswith(reason)
    assert robot.poll().lines[-1].endswith("which cannot drive: kept")
    assert robot.active() == first
    assert len(robot.read_receipts()) == 4
    third = robot.install(2)
    assert robot.pointer().previous == first
    robot.commit()
    assert robot.outcomes()[-1] == ("committed", third[:6])


def test_package_whose_every_episode_is_stopped_by_a_person_gives_way(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    robot.drive(30)
    second = robot.install(1)
    robot.be_stopped(TRIAL_EPISODES - 1)
    assert not robot.updater.is_decided()
    robot.be_stopped(1)
    assert robot.updater.is_decided()
    (line,) = robot.settle().lines
    assert "fell back: people stopped 5 of 5 episodes, 0 of 35 before" in line
    assert (robot.active(), robot.pointer().fell_back_from) == (first, second)
    assert not has_trial(robot)
    assert robot.read_receipts()[-1].counts["by_people"] == TRIAL_EPISODES


def test_package_whose_process_crashes_again_and_again_gives_way(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    robot.drive(30)
    second = robot.install(1)
    robot.die(4, episodes_first=1)
    assert robot.updater.is_decided()
    assert (
        "fell back: 3 crashes in 7 episodes, 0 in 35 before" in robot.settle().lines[0]
    )
    assert (robot.active(), robot.pointer().fell_back_from) == (first, second)


def test_package_that_dies_at_each_start_gives_way_without_a_channel(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    second = robot.install(1)
    robot.die(4)
    assert robot.updater.is_decided()
    (line,) = robot.settle().lines
    assert line.endswith("fell back: 3 starts in a row that died before one did")
    assert (robot.active(), robot.pointer().fell_back_from) == (first, second)
    assert robot.outcomes()[-1] == ("fell_back", second[:6])


def test_committed_package_that_dies_at_each_start_gives_way_as_well(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    second = robot.install(1)
    robot.commit()
    robot.die(4)
    assert robot.updater.is_decided()
    (line,) = robot.settle().lines
    assert "fell back: 3 starts in a row" in line
    assert robot.active() == first
    assert robot.outcomes()[2:] == [
        ("installed", second[:6]),
        ("committed", second[:6]),
        ("fell_back", second[:6]),
    ]
    assert robot.settle().lines == ()


def test_start_that_fell_back_without_the_updater_gets_its_receipt(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    second = robot.install(1)
    robot.die(4)
    assert robot.open().package.digest == first  # control writes the pointer
    assert robot.updater.is_decided()
    (line,) = robot.settle().lines
    assert "fell back: 3 starts in a row" in line
    assert not has_trial(robot)
    assert robot.outcomes()[-1] == ("fell_back", second[:6])
    assert robot.settle().lines == ()


def test_package_that_is_damaged_on_the_disk_gets_the_receipt_of_its_fall(
    robot: TriedRobot,
) -> None:
    second = robot.install(1)
    robot.commit()
    (robot.state.package_folder(second) / "safety.json").unlink()
    robot.open()
    (line,) = robot.settle().lines
    assert line.endswith("fell back: it did not open")
    fell = robot.read_receipts()[-1]
    assert (fell.outcome, fell.package_digest) == ("fell_back", second)
    assert robot.settle().lines == ()


def test_first_package_has_nothing_to_fall_back_to_and_drives_on(
    tmp_path: Path,
) -> None:
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    first = robot.install(0)
    robot.drive(4, stop_rules=1)
    (line,) = robot.settle().lines
    assert "does badly: 4 of 4 episodes ended by a stop rule; " in line
    assert line.endswith("; there is none before it, so it drives on")
    assert not robot.updater.is_decided()
    assert (robot.active(), has_trial(robot)) == (first, True)
    second = robot.install(1)
    assert robot.pointer().previous == first
    robot.commit()
    assert robot.outcomes()[-1] == ("committed", second[:6])


def test_release_that_comes_during_a_trial_ends_it_and_keeps_the_committed_package(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    robot.drive(30)
    second = robot.install(1)
    robot.drive(2, stop_rules=1)
    third = robot.install(2)
    found = trial.read(robot.state.root)
    assert found is not None
    assert (found.digest, found.before) == (third, first)
    assert found.counts_before.episodes == 35
    assert robot.pointer().previous == first
    robot.drive(3, stop_rules=1)
    robot.settle()
    assert robot.active() == first
    assert [one for one in robot.outcomes() if one[1] == second[:6]] == [
        ("installed", second[:6])
    ]


def test_long_trial_of_a_first_package_names_none_before_it(tmp_path: Path) -> None:
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    robot.install(0)
    robot.now += service.LONG_TRIAL
    (line,) = robot.settle().lines
    assert line.endswith("with 0 of 5 episodes of its trial; it drives on")


def test_trial_without_episodes_goes_on_and_is_told_of(robot: TriedRobot) -> None:
    second = robot.install(1)
    robot.drive(2)
    robot.now += service.LONG_TRIAL
    (line,) = robot.settle().lines
    assert "is on trial since 2026-02-03T08:00:0" in line
    assert "with 2 of 5 episodes of its trial; it drives on" in line
    assert line.endswith(", and the package before it stays")
    assert (robot.active(), has_trial(robot)) == (second, True)
    robot.drive(3)
    robot.settle()
    assert robot.outcomes()[-1] == ("committed", second[:6])


def test_restart_of_the_updater_goes_on_watching(robot: TriedRobot) -> None:
    """Nothing is in memory: another updater over the same home decides the trial."""
    robot.drive(30)
    second = robot.install(1)
    robot.drive(2, stop_rules=1)
    robot.settle()
    again = TriedRobot(robot.home, robot.publisher)
    again.now = robot.now
    again.drive(1, stop_rules=1)
    again.settle()
    assert again.pointer().fell_back_from == second


def test_package_worse_than_the_active_one_on_own_episodes_is_refused(
    robot: TriedRobot,
) -> None:
    """The robot's own episodes are what the active package did in them."""
    policy = robot.open().driver.policy_for("drawn:reach-v3", tiny_package.SPEC)
    drawn = tiny_package.episode(seed=9)
    policy.reset(drawn.metadata.task)
    actions = np.stack(
        [
            policy.propose(Observation(state, 0))
            for state in drawn.steps["observation/state"]
        ]
    )
    steps = {**drawn.steps, "action": np.clip(actions, -1, 1).astype(np.float32)}
    own = Episode(spec=drawn.spec, metadata=drawn.metadata, steps=steps)
    new = robot.home / "memories" / "new"
    new.mkdir(parents=True)
    (new / "it.tfrecord").write_bytes(tfrecord.frame(example_codec.encode(own)))
    first = robot.active()
    refused = robot.publisher.release(1, now=robot.now)
    before = snapshot(robot.state.root, without="refused")
    done = robot.poll()
    assert done.failed
    assert "an error on this robot's own episodes of at most 0.25" in done.lines[-1]
    assert snapshot(robot.state.root, without="refused") == before
    last = robot.read_receipts()[-1]
    assert (last.outcome, last.package_digest) == ("refused", refused)
    assert last.reason.startswith("WorseThanActiveError: expected an error on this")
    assert robot.poll().failed
    assert robot.outcomes()[2:] == [("refused", refused[:6])]
    assert robot.open().package.digest == first


CHANNELS = {
    "empty": "got 0",
    "absent": "nightly.dsse.json",
    "expired": "expiry after",
    "of another name": "channel nightly, which this state folder follows",
    "not there at all": "store",
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_channel_that_is_no_use_is_one_line_and_the_robot_drives_on(
    robot: TriedRobot, channel: str
) -> None:
    first, uri = robot.active(), robot.publisher.channel_uri
    robot.publisher.release(1, now=robot.now)
    envelope = tampering.envelope(robot.publisher)
    good = envelope.read_bytes()
    match channel:
        case "empty":
            envelope.write_bytes(b"")
        case "absent":
            envelope.unlink()
        case "expired":
            robot.now += 8 * DAY
        case "of another name":
            rename_channel(robot, "beta")
            uri = uri.replace("nightly", "beta")
        case "not there at all":
            uri = "file:///nonexistent/store/channels/nightly.json"
    before = snapshot(robot.state.root)
    for _ in range(3):
        done = robot.poll(uri)
        assert done.failed
        (line,) = done.lines
        assert "\n" not in line
        assert snapshot(robot.state.root) == before
    assert len([one for one in robot.outcomes() if one[0] == "refused"]) <= 1
    assert robot.open().package.digest == first
    envelope.write_bytes(good)
    robot.now -= 8 * DAY if channel == "expired" else timedelta(0)
    assert not robot.poll().failed
    assert robot.active() != first


def rename_channel(robot: TriedRobot, name: str) -> None:
    """Publishes the same release on another channel."""
    publisher = robot.publisher
    folder = publisher.folder / "package-1"
    publish.publish(
        publisher.store,
        name,
        folder,
        [publisher.key],
        publisher.trusted,
        robot.now,
        robot.now + 7 * DAY,
        Rollout(100, name),
        "0.0.1",
        None,
    )


def test_refused_release_has_one_receipt_however_often_it_is_offered(
    robot: TriedRobot,
) -> None:
    bad = robot.publisher.release(1, now=robot.now, action_error=9.0)
    for _ in range(3):
        assert robot.poll().failed
    assert robot.outcomes()[2:] == [("refused", bad[:6])]
    tampering.remove_signatures(robot.publisher)
    for _ in range(3):
        assert robot.poll().failed
    assert robot.outcomes()[2:] == [("refused", bad[:6]), ("refused", "")]
    assert robot.read_receipts()[-1].reason.startswith("UnsignedError: expected ")


def test_receipt_that_could_not_be_written_is_written_by_the_next_round(
    robot: TriedRobot,
) -> None:
    second = robot.install(1)
    robot.drive(TRIAL_EPISODES)
    folder = robot.receipts.folder
    folder.rename(folder.with_name("away"))
    folder.symlink_to(folder.with_name("disk"))  # which is not there
    done = robot.settle()
    assert done.failed
    assert has_trial(robot)
    folder.unlink()
    folder.with_name("away").rename(folder)
    assert not robot.settle().failed
    assert robot.outcomes()[-1] == ("committed", second[:6])
    assert not has_trial(robot)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"{}", b"9" * 99999])
def test_damaged_record_is_set_aside_and_the_package_drives_on(
    robot: TriedRobot, raw: bytes
) -> None:
    second = robot.install(1)
    (robot.state.root / trial.FILE).write_bytes(raw)
    assert not robot.settle().failed
    assert robot.active() == second
    aside = robot.state.root / f"{trial.FILE}.damaged"
    assert aside.read_bytes() == raw
    robot.install(2)
    robot.commit()


def test_update_by_another_program_leaves_no_trial_behind(robot: TriedRobot) -> None:
    robot.install(1)
    third = robot.publisher.release(2, now=robot.now)
    updater = robot.updater
    update.update(
        StateFolder(robot.state.root),
        robot.publisher.channel_uri,
        updater.keys,
        updater.robot,
        updater.robots,
        robot.now,
    )
    assert robot.active() == third
    assert robot.updater.is_decided()
    assert robot.settle().lines == ()
    assert not has_trial(robot)


def test_round_while_another_update_runs_says_so(robot: TriedRobot) -> None:
    with robot.state.lock():
        done = robot.poll()
        assert done.failed
        assert "no other update in this folder" in done.lines[-1]
        assert not robot.updater.is_decided()
        assert robot.open().package.digest == robot.active()
    assert not robot.poll().failed


def test_pointer_of_a_channel_reads_in_an_older_runtime(robot: TriedRobot) -> None:
    robot.install(1)
    pointer = json.loads((robot.state.root / "current").read_bytes())
    assert set(pointer) == {
        "schema_version",
        "channel",
        "digest",
        "previous",
        "release_counter",
    }
    assert robot.pointer().origin is Origin.CHANNEL
