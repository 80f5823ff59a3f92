"""Runs the robot's program as its users do and checks exit code, output and files."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.testing import processes, tampering, tiny_package
from edge.testing.tiny_package import Publisher
from release import package
from release.channel import Rollout
from release.run_summary import Progress
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, reader, tfrecord

STEPS = 12


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge.run", *arguments],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def check_refused(code: int, match: str, *arguments: str) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert match in line
    assert done.stdout == ""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    path = tmp_path / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=STEPS, noise=0.1)
    path.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    return path


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    publisher.release(0, now=datetime.now(UTC))
    return publisher


def channel_flags(publisher: Publisher, episode: Path, tmp_path: Path) -> list[str]:
    return [
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        f"--state_dir={tmp_path / 'state'}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
    ]


def test_run_activates_the_offered_package_and_writes_a_summary(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    summary = tmp_path / "summary.json"
    flags = channel_flags(publisher, episode, tmp_path)
    done = run(
        *flags, "--allow_development_keys", "--episodes=2", f"--summary_json={summary}"
    )
    assert done.returncode == 0, done.stderr
    assert "release 1: install" in done.stderr
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
    match = f"{publisher.root.as_uri()}/elsewhere/nightly.json: expected <store URI>"
    check_refused(1, match, *flags, "--allow_development_keys")


def offer_unsigned(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    tampering.remove_signatures(publisher)


def offer_wrongly_signed(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    tampering.replace_record(publisher, key=PrivateKey.generate(development=True))


def offer_expired(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    tampering.replace_record(publisher, expires=datetime.now(UTC) - timedelta(hours=1))


def offer_wrong_target(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    folder = publisher.folder / "jetson"
    digest = tiny_package.write_package(folder, 2, target="jetson-cuda")
    tiny_package.sign_package(folder, digest, publisher.key)
    tampering.replace_tar(publisher, package.pack_tar(folder), digest)


def offer_unblessed(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    folder = publisher.folder / "package-2"
    (folder / package.BLESSING).unlink()
    tampering.replace_tar(publisher, package.pack_tar(folder))


def offer_blessed_by_another_key(publisher: Publisher, _: bytes) -> None:
    digest = publisher.release(2, now=datetime.now(UTC))
    folder = publisher.folder / "package-2"
    trusted = (folder / package.PROVENANCE).read_bytes()
    other = PrivateKey.generate(development=True)
    tiny_package.sign_package(folder, digest, other)
    (folder / package.PROVENANCE).write_bytes(trusted)
    tampering.replace_tar(publisher, package.pack_tar(folder))


def offer_older(publisher: Publisher, first: bytes) -> None:
    tampering.envelope(publisher).write_bytes(first)


def offer_path_traversal(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    raw = tampering.tar_entry("../../escaped") + bytes(2 * tampering.BLOCK_BYTES)
    tampering.replace_tar(publisher, raw)


@pytest.mark.parametrize(
    ("offer", "match"),
    [
        (offer_unsigned, "signature"),
        (offer_wrongly_signed, "key"),
        (offer_expired, "expiry"),
        (offer_wrong_target, "pi5-cpu"),
        (offer_unblessed, "blessing.intoto.jsonl, got none"),
        (
            offer_blessed_by_another_key,
            "blessing.intoto.jsonl: expected a signature by",
        ),
        (offer_older, "above 2"),
        (offer_path_traversal, "../../escaped"),
    ],
)
def test_refused_release_leaves_the_active_package_and_no_other_file(
    tmp_path: Path,
    publisher: Publisher,
    episode: Path,
    offer: Callable[[Publisher, bytes], None],
    match: str,
) -> None:
    first = tampering.envelope(publisher).read_bytes()
    publisher.release(1, now=datetime.now(UTC))
    flags = channel_flags(publisher, episode, tmp_path)
    assert run(*flags, "--allow_development_keys").returncode == 0
    offer(publisher, first)
    before = processes.read_tree(tmp_path)
    folders = {path for path in tmp_path.rglob("*") if path.is_dir()}
    check_refused(1, match, *flags, "--allow_development_keys")
    assert "state/current" in before
    after = processes.read_tree(tmp_path)
    after.pop("state/refused", None)
    assert after == before
    assert {path for path in tmp_path.rglob("*") if path.is_dir()} == folders
    flags[0] = "--offline"
    assert run(*flags, "--allow_development_keys").returncode == 0


def test_unreachable_store_stops_a_run_but_not_with_offline_if_update_fails(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    unit = [*flags, "--offline_if_update_fails"]
    publisher.root.rename(tmp_path / "away")
    check_refused(1, "expected an object, got none; check the path", *unit)
    (tmp_path / "away").rename(publisher.root)
    assert run(*flags).returncode == 0
    publisher.root.rename(tmp_path / "away")
    check_refused(1, "; --offline instead of --channel runs what is installed", *flags)
    done = run(*unit)
    assert done.returncode == 0, done.stderr
    why, what, package = done.stderr.splitlines()
    assert "nightly.dsse.json: expected an object, got none" in why
    assert what == "run: the update failed; running what is installed"
    assert "release 1: keep" in package
    assert "step latency" in done.stdout


def test_robot_runs_when_its_channel_has_expired_but_not_with_a_damaged_package(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    unit = [*flags, "--offline_if_update_fails"]
    assert run(*flags).returncode == 0
    offer_expired(publisher, b"")
    done = run(*unit)
    assert done.returncode == 0, done.stderr
    assert "expiry" in done.stderr.splitlines()[0]
    (weights,) = (tmp_path / "state").rglob("weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    check_refused(1, "expiry", *unit)


def test_release_whose_rollout_excludes_this_robot_is_reported(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    assert run(*flags).returncode == 0
    publisher.release(1, now=datetime.now(UTC), rollout=Rollout(0, "salt"))
    done = run(*flags, "--robot_id=arm-1")
    assert done.returncode == 0, done.stderr
    waits, keep = done.stderr.splitlines()
    assert keep.endswith("release 1: keep")
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
    expected = f"run: package {good[:12]} of channel nightly, release 3: install"
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


def test_development_key_without_its_flag_activates_nothing(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = channel_flags(publisher, episode, tmp_path)
    check_refused(1, "development key", *flags)
    assert not (tmp_path / "state" / "current").exists()
    assert list((tmp_path / "state" / "packages").iterdir()) == []


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
        f"1 episodes in {tmp_path / 'out'}, 2 were there already\n"
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


UNIT = Path(__file__).parent / "bundle" / "continuon.service"


def unit_flags(state_dir: Path) -> list[str]:
    """The flags that the systemd unit starts a robot with, before the operator's."""
    lines = UNIT.read_text().splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    program, *given = start.removeprefix("ExecStart=").split()
    assert program.endswith("/continuon-run")
    assert given.pop() == "$CONTINUON_FLAGS"
    return [flag.replace("/var/lib/continuon", str(state_dir)) for flag in given]


def read_until(running: subprocess.Popen[str], text: str) -> str:
    """Reads what a program prints up to the first line that holds `text`."""
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_unit_drives_and_updates_until_a_signal_ends_it_after_a_whole_episode(
    tmp_path: Path, publisher: Publisher, episode: Path, number: signal.Signals
) -> None:
    out, private = tmp_path / "out", tmp_path / "out.private"
    running = processes.start(
        "edge.run",
        *unit_flags(tmp_path / "state"),
        *channel_flags(publisher, episode, tmp_path)[:2],
        "--allow_development_keys",
        f"--robot=replay:{episode}",
        f"--record_dir={out}",
        "--update_period_s=0.4",
    )
    said = read_until(running, "recorded ")
    publisher.release(1, now=datetime.now(UTC))
    said += read_until(running, "release 2: install")
    said += read_until(running, "recorded ")
    deadline_s = time.monotonic() + 20
    while not any(path.stat().st_size > 1500 for path in private.glob("*.journal")):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    running.send_signal(number)
    rest, _ = running.communicate()
    assert running.returncode == 0, said + rest
    assert list(private.iterdir()) == []
    recorded = [reader.read_episode(path) for path in out.glob("*.tfrecord")]
    assert len(recorded) > 3
    assert len(recorded) == len(list(out.glob("*.sidecar.json")))
    assert len({one.metadata.operator for one in recorded}) == 2
    last = max(recorded, key=lambda one: one.steps["t_monotonic_ns"][-1])
    assert last.steps["is_last"][-1]
    assert not last.steps["is_terminal"][-1]
    assert last.metadata.success is None


def test_robot_that_asks_its_channel_after_every_episode_drives(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    running = processes.start(
        "edge.run",
        *channel_flags(publisher, episode, tmp_path),
        "--allow_development_keys",
        "--episodes=0",
        "--update_period_s=0",
    )
    said = read_until(running, "release 1: keep")
    assert "release 1: install" in said
    running.send_signal(signal.SIGTERM)
    rest, _ = running.communicate(timeout=20)
    assert running.returncode == 0, said + rest
    assert "step latency" in said + rest


def test_unit_is_started_again_whatever_ended_it() -> None:
    lines = UNIT.read_text().splitlines()
    assert "Restart=always" in lines
    assert "RestartPreventExitStatus=2" in lines


def test_signal_ends_a_robot_that_waits_for_its_channel(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    """The bucket takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bucket = f"http://127.0.0.1:{silent.getsockname()[1]}"
        flags = channel_flags(publisher, episode, tmp_path)
        running = subprocess.Popen(
            processes.command(
                "edge.run",
                "--episodes=0",
                "--channel=gs://robots/channels/nightly.json",
                *flags[1:4],
            ),
            env={**processes.environment(), "STORAGE_EMULATOR_HOST": bucket},
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(20)
        connection, _ = silent.accept()
        with connection:
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=20)
    assert running.returncode == 0, said
    assert said == ""


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


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ([], "exactly one of"),
        (["--offline", "--policy=expert"], "exactly one of"),
        (["--offline"], "--keyring"),
        (["--policy=expert", "--pace=fast"], "pace"),
        (["--policy=expert", "--episodes=-1"], "episodes"),
        (
            ["--policy=expert", "--episodes=0", "--summary_json=x"],
            "expected --episodes above 0 with --summary_json",
        ),
        (
            [
                "--policy=expert",
                "--episodes=0",
                "--robot=metaworld:reach-v3,metaworld:push-v3",
            ],
            "expected one robot with --episodes=0",
        ),
        (["--policy=expert", "--robot_id="], "--robot_id: expected a value"),
        (["--policy=expert", "--step=int8"], "--candidate only"),
        (["--policy=expert", "extra"], "extra"),
        (["--policy=expert", "--sim_start=yesterday"], "--sim_start: expected an RFC"),
        (["--policy=expert", "--robot=metaworld:fly-v3"], "--robot: expected"),
    ],
)
def test_wrong_usage_exits_with_2(flags: list[str], match: str) -> None:
    check_refused(2, match, "--robot=metaworld:reach-v3", *flags)


@pytest.mark.parametrize("program", ["run", "record"])
def test_help_says_how_a_robot_with_a_comma_in_its_name_is_given(
    tmp_path: Path, program: str
) -> None:
    shown = " ".join(processes.run(f"edge.{program}", "--help").stdout.split())
    found = re.search(r"quote a name that has one: (--robot='\"\S*,\S*\"')", shown)
    assert found is not None
    example = subprocess.run(
        ["bash", "-c", f"printf %s {found[1]}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    name = example.removeprefix('--robot="').removesuffix('"')
    if program == "record":
        done = processes.run(f"edge.{program}", example, f"--output={tmp_path / 'o'}")
        assert done.returncode == 2
        assert f"got '{name}'" in done.stderr
        return
    recorded = tiny_package.episode(seed=5, steps=STEPS)
    path = tmp_path / name.removeprefix("replay:")
    path.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    tiny_package.write_package(tmp_path / "package")
    done = subprocess.run(
        processes.command("edge.run", "--candidate=package", example),
        env=processes.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_missing_robot_is_wrong_usage() -> None:
    check_refused(2, "run: missing --robot; see --help", "--policy=expert")
    check_refused(2, "run: --robot: expected a value", "--policy=expert", "--robot=")


def test_missing_keyring_and_missing_package_are_named(
    tmp_path: Path, episode: Path
) -> None:
    robot = f"--robot=replay:{episode}"
    check_refused(1, "absent", robot, "--offline", f"--keyring={tmp_path / 'absent'}")
    absent = f"--candidate={tmp_path / 'absent'}"
    check_refused(1, "expected the folder of a package, got none", robot, absent)
    remedy = "name the package's folder, such as export/pi5-cpu"
    check_refused(1, remedy, robot, f"--candidate={tmp_path}")
    tiny_package.write_package(tmp_path / "package")
    candidate = f"--candidate={tmp_path / 'package'}"
    absent = f"--robot=replay:{tmp_path / 'absent'}"
    check_refused(
        1, "No such file or directory; check that the path", absent, candidate
    )
    keyring = Publisher(tmp_path).keyring()
    state = f"--state_dir={tmp_path / 'empty'}"
    check_refused(
        1, "run once with --channel", robot, "--offline", state, f"--keyring={keyring}"
    )
