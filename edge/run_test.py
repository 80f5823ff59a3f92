"""Runs the robot's program as its users do and checks exit code, output and files."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge.testing import program_runs, sensed_episode, tiny_package
from edge.testing.program_runs import STEPS, channel_flags, check_refused, run
from edge.testing.tiny_package import Publisher
from release.channel import Rollout
from release.run_summary import Progress


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return program_runs.write_episode(tmp_path)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return program_runs.publish_first(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_run_activates_the_offered_package_and_writes_a_summary(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    summary = tmp_path / "summary.json"
    flags = channel_flags(publisher, episode, tmp_path)
    done = run(
        *flags, "--allow_development_keys", "--episodes=2", f"--summary_json={summary}"
    )
    assert done.returncode == 0, done.stderr
    assert "release 1: installed" in done.stderr
    assert "step latency" in done.stdout
    found = json.loads(summary.read_bytes())
    pointer = json.loads((tmp_path / "state" / "current").read_bytes())
    assert found["package_digest"] == pointer["digest"]
    assert found["tasks"]["reach-v3"]["episodes"] == 2
    assert found["tasks"]["reach-v3"]["success"] is None
    assert found["steps"] == 2 * STEPS
    assert 0 < found["step_latency_us"]["p50"] <= found["step_latency_us"]["p99"]

    progress = tmp_path / "progress.jsonl"
    progress.write_bytes(b"of an earlier run\n")
    flags[0] = "--offline"
    again = run(
        *flags,
        "--allow_development_keys",
        "--episodes=2",
        f"--progress_json={progress}",
    )
    assert again.returncode == 0, again.stderr
    assert progress.read_bytes() == Progress(1, 2).encode() + Progress(2, 2).encode()


def test_channel_may_be_a_path_relative_to_the_callers_folder(
    tmp_path: Path,
    publisher: Publisher,
    episode: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(publisher.root))
    flags = channel_flags(publisher, episode, tmp_path)
    flags[0] = f"--channel=channels/{tiny_package.CHANNEL}.json"
    done = run(*flags, "--allow_development_keys")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "state" / "current").exists()
    flags[0] = "--channel=elsewhere/nightly.json"
    match = "--channel: expected STORE/channels/NAME.json"
    check_refused(2, match, *flags, "--allow_development_keys")


def test_release_whose_rollout_excludes_this_robot_is_reported(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    assert run(*flags).returncode == 0
    publisher.release(1, now=datetime.now(UTC), rollout=Rollout(0, "salt"))
    done = run(*flags, "--robot_id=arm-1")
    assert done.returncode == 0, done.stderr
    waits, keep = done.stderr.splitlines()
    assert keep.endswith("release 1: kept")
    assert waits == (
        "run: release 2 is out for 0 % of robots, and arm-1 is not yet among them"
    )


def test_fleet_goes_back_through_a_new_release_of_the_good_package(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    publisher.release(1, now=datetime.now(UTC))
    assert run(*flags).returncode == 0
    good = publisher.release(0, now=datetime.now(UTC))
    done = run(*flags)
    assert done.returncode == 0, done.stderr
    expected = f"run: package {good[:12]} of channel nightly, release 3: installed"
    assert done.stderr.splitlines() == [expected]


def test_output_that_cannot_be_written_is_refused_before_the_first_episode(
    tmp_path: Path, episode: Path
) -> None:
    tiny_package.write_package(tmp_path / "package")
    flags = [f"--candidate={tmp_path / 'package'}", f"--robot=replay:{episode}"]
    before = sorted(tmp_path.rglob("*"))
    for flag in ("--summary_json", "--progress_json", "--actions_json"):
        output = f"{flag}={tmp_path / 'none' / 'x.json'}"
        check_refused(1, "check that the path is right", *flags, output)
    assert sorted(tmp_path.rglob("*")) == before


def test_candidate_run_records_redacted_episodes_and_skips_them_when_repeated(
    tmp_path: Path, episode: Path
) -> None:
    digest = tiny_package.write_package(tmp_path / "package")
    flags = [
        f"--candidate={tmp_path / 'package'}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
        "--episodes=2",
        "--robot_id=robot-of-a-test",
        f"--record_dir={tmp_path / 'out'}",
    ]
    done = run(*flags)
    assert done.returncode == 0, done.stderr
    kept = f"recorded          2 episodes in {tmp_path / 'out'}"
    assert done.stdout.splitlines()[-1] == (
        f"{kept}; without --consent //edge:upload leaves them there"
    )
    first = contents(tmp_path / "out")
    assert sum(name.endswith(".sidecar.json") for name in first) == 2
    for name, raw in first.items():
        assert b"robot-of-a-test" not in raw
        if name.endswith(".sidecar.json"):
            assert json.loads(raw)["package_digest"] == digest
            assert not json.loads(raw)["consent"]["granted"]
    again = run(*flags)
    assert again.stdout.endswith(
        f"0 episodes in {tmp_path / 'out'}, 2 were there already\n"
    )
    assert contents(tmp_path / "out") == first
    more = run(*flags, "--episodes=3", "--consent")
    assert more.stdout.endswith(
        f"1 episode in {tmp_path / 'out'}, 2 were there already\n"
    )


def test_package_that_sees_and_hears_drives_a_recorded_episode(tmp_path: Path) -> None:
    seen = sensed_episode.write(tmp_path, STEPS)
    senses = sensed_episode.SENSES
    tiny_package.write_package(tmp_path / "package", senses=senses)
    actions = tmp_path / "actions.json"
    done = run(
        f"--candidate={tmp_path / 'package'}",
        f"--robot=replay:{seen}",
        "--pace=simulated",
        f"--actions_json={actions}",
    )
    assert done.returncode == 0, done.stderr
    expected = sensed_episode.compute_actions(STEPS)
    (found,) = json.loads(actions.read_bytes())["episodes"]
    np.testing.assert_allclose(found["actions"], expected, atol=1e-4)
    assert "camera" not in done.stderr, "none is gone"
    assert "microphone" not in done.stderr


def test_package_that_sees_is_told_which_camera_a_recorded_episode_lacks(
    tmp_path: Path, episode: Path
) -> None:
    senses = sensed_episode.SENSES
    tiny_package.write_package(tmp_path / "package", senses=senses)
    check_refused(
        1,
        f"cameras front, wrist, got none of replay:{episode}",
        f"--candidate={tmp_path / 'package'}",
        f"--robot=replay:{episode}",
    )


def test_changed_candidate_is_refused(tmp_path: Path, episode: Path) -> None:
    tiny_package.write_package(tmp_path / "package")
    (tmp_path / "package" / "safety.json").write_text("{}")
    check_refused(
        1,
        "safety.json",
        f"--candidate={tmp_path / 'package'}",
        f"--robot=replay:{episode}",
    )


def test_realtime_pace_keeps_the_control_rate(tmp_path: Path, episode: Path) -> None:
    tiny_package.write_package(tmp_path / "package")
    summary = tmp_path / "summary.json"
    done = run(
        f"--candidate={tmp_path / 'package'}",
        f"--robot=replay:{episode}",
        "--episodes=5",
        "--pace=realtime",
        f"--summary_json={summary}",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(summary.read_bytes())
    assert found["seconds"] >= 5 * (STEPS - 1) / 80.0
