"""What the programs do with a robot that is not simulated, driven as they drive it."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from base.testing import command
from edge.ota.state_folder import StateFolder
from edge.testing import fork, processes, real_arm, tiny_package
from edge.testing.moving_arm import read_port
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import reader, sidecar
from rlds.episode import Episode

STEPS = 20
ARM = "--robot=real-arm:desk"
PERIOD_NS = real_arm.SPEC.period_ns

# Each run is a fork, and the arm's program runs these.
command.import_what_it_imports("edge.record")
command.import_what_it_imports("edge.run")


def run(module: str, *arguments: str) -> CompletedProcess[str]:
    """Runs a program that knows the arm."""
    return processes.run_forked("edge.testing.real_arm", module, *arguments)


def record(folder: Path, *more: str, robot: str = ARM) -> CompletedProcess[str]:
    return run(
        "edge.record",
        robot,
        f"--output={folder / 'out'}",
        f"--max_steps={STEPS}",
        *more,
    )


def episodes(folder: Path) -> list[Episode]:
    return [reader.read_episode(path) for path in sorted(folder.glob("*.tfrecord"))]


def check_paced(found: list[Episode], begin: datetime) -> None:
    """Every step was due one period after the step before, by the machine's clock."""
    for episode in found:
        times_ns = episode.steps["t_monotonic_ns"]
        assert len(times_ns) == STEPS
        assert np.median(np.diff(times_ns)) == pytest.approx(PERIOD_NS, rel=0.2)
        assert times_ns[-1] - times_ns[0] > 0.9 * (STEPS - 1) * PERIOD_NS
        hour = datetime.fromisoformat(episode.metadata.start_time)
        assert 0 <= (begin - hour).total_seconds() < 2 * 3600


def test_real_robot_is_recorded_in_real_time_as_what_it_is(tmp_path: Path) -> None:
    begin = datetime.now(UTC)
    flags = ["--episodes=2", f"--key_file={tmp_path / 'key.json'}", "--consent"]
    summary = tmp_path / "summary.json"
    done = record(
        tmp_path, *flags, f"--summary_json={summary}", f"--enrol={tmp_path / 'enrol'}"
    )
    assert done.returncode == 0, done.stderr
    found = episodes(tmp_path / "out")
    assert len(found) == 2
    check_paced(found, begin)
    assert {episode.metadata.operator for episode in found} == {"human"}
    assert {episode.metadata.tags for episode in found} == {("demonstration",)}
    written = json.loads(summary.read_bytes())
    assert written["steps_per_s"] < real_arm.SPEC.control_hz
    assert written["tasks"]["reach-v3"]["success"] is None, "the arm cannot tell"
    assert "no success" not in done.stdout
    enrolled = json.loads((tmp_path / "enrol").read_bytes())["keys"]
    for path in (tmp_path / "out").glob("*.sidecar.json"):
        parsed = sidecar.parse(path.read_bytes())
        named = {"keyid": parsed.keyid, "robot_hash": parsed.robot_hash}
        assert any(named.items() <= one.items() for one in enrolled[1:])
        assert parsed.consent.at[:10] == begin.strftime("%Y-%m-%d")

    again = record(tmp_path, *flags)
    assert "2 recorded, 0 already there" in again.stdout, "a seed names no real episode"
    assert len(episodes(tmp_path / "out")) == 4


def test_package_drives_a_real_robot_in_real_time(tmp_path: Path) -> None:
    begin = datetime.now(UTC)
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    digest = publisher.release(0, now=begin, robot_model=real_arm.SPEC.robot_model)
    summary = tmp_path / "summary.json"
    done = run(
        "edge.run",
        ARM,
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        "--allow_development_keys",
        f"--state_dir={tmp_path / 'state'}",
        "--episodes=2",
        f"--max_steps={STEPS}",
        f"--record_dir={tmp_path / 'out'}",
        f"--key_file={tmp_path / 'key.json'}",
        f"--summary_json={summary}",
    )
    assert done.returncode == 0, done.stderr
    found = episodes(tmp_path / "out")
    assert len(found) == 2
    check_paced(found, begin)
    operators = {episode.metadata.operator for episode in found}
    assert operators == {f"policy:{digest[:12]}"}
    assert {episode.metadata.tags for episode in found} == {()}
    assert json.loads(summary.read_bytes())["seconds"] > 2 * (STEPS - 1) / 80.0


def test_arm_whose_demonstration_hangs_stands_still_and_what_was_done_is_recorded(
    tmp_path: Path,
) -> None:
    port, key = tmp_path / "port", f"--key_file={tmp_path / 'key.json'}"
    hung = record(tmp_path, key, robot=f"--robot=hung-arm:{port}")
    assert hung.returncode == -signal.SIGKILL
    assert "watchdog: the robot is held: its next action did not" in hung.stderr
    assert "watchdog: the process that drives it hangs and is killed" in hung.stderr
    commands = read_port(port)
    moves = [one for one in commands if not one.is_hold]
    assert len(moves) == 9
    assert commands[-1].is_hold
    assert commands[-1].process != moves[-1].process
    took_s = (commands[-1].time_ns - moves[-1].time_ns) / 1e9
    assert took_s < 0.3 + 0.25, "0.3 s after the step was due, on a busy machine"

    whole = record(tmp_path, key, robot=f"--robot=moving-arm:{port}")
    assert whole.returncode == 0, whole.stderr
    assert "recovered episode" in whole.stdout
    assert "jitter of steps   p50 " in whole.stdout
    assert read_port(port)[-1].is_hold
    short, long = sorted(episodes(tmp_path / "out"), key=lambda one: one.num_steps)
    assert (short.num_steps, long.num_steps) == (9, STEPS)
    assert short.metadata.tags == ("demonstration", "recovered", "stop_watchdog")
    assert short.steps["safety_violation"].tolist() == [False] * 8 + [True]
    assert not long.steps["safety_violation"].any()
    assert long.metadata.tags == ("demonstration",)
    left = [path.name for path in (tmp_path / "out.private").iterdir()]
    assert not [name for name in left if name == "hung"]


def test_arm_of_somebody_elses_class_is_recorded_and_held_as_any_other(
    tmp_path: Path,
) -> None:
    port, key = tmp_path / "port", f"--key_file={tmp_path / 'key.json'}"
    arm = f"--robot=edge.testing.moving_arm:MovingArm:{port}"
    hung = record(tmp_path, key, "--actor=hanging-hand", robot=arm)
    assert hung.returncode == -signal.SIGKILL
    assert "watchdog: the robot is held: its next action did not" in hung.stderr
    assert read_port(port)[-1].is_hold
    whole = record(tmp_path, key, "--actor=hand", robot=arm)
    assert whole.returncode == 0, whole.stderr
    short, long = sorted(episodes(tmp_path / "out"), key=lambda one: one.num_steps)
    assert (short.num_steps, long.num_steps) == (9, STEPS)
    assert short.metadata.tags == ("demonstration", "recovered", "stop_watchdog")
    assert long.metadata.tags == ("demonstration",), "it is not simulated"
    refused = record(tmp_path, key, "--actor=expert", robot=arm)
    assert refused.returncode == 2
    assert "a simulated robot for the scripted expert" in refused.stderr


def test_arm_that_leaves_its_workspace_is_held_and_its_episode_says_so(
    tmp_path: Path,
) -> None:
    port, rules = tmp_path / "port", tmp_path / "rules.json"
    box = {"channels": [0], "minimum": [-1.0], "maximum": [0.005]}
    rules.write_text(
        json.dumps({"schema_version": 1, "stop_rules": {"workspace": box}})
    )
    flags = [f"--key_file={tmp_path / 'key.json'}", f"--stop_rules={rules}"]
    done = record(tmp_path, *flags, robot=f"--robot=moving-arm:{port}")
    assert done.returncode == 0, done.stderr
    assert "stop rules        1 (workspace 1)" in done.stdout
    (episode,) = episodes(tmp_path / "out")
    assert episode.metadata.tags == ("demonstration", "stop_workspace")
    assert episode.metadata.success is False
    assert 2 < episode.num_steps < STEPS
    assert episode.steps["safety_violation"].sum() == 1
    position = episode.steps["observation/state"][:, 0]
    assert position[-1] > 0.005 >= position[-2]
    moves = [one for one in read_port(port) if not one.is_hold]
    assert len(moves) == episode.num_steps - 1
    assert read_port(port)[-1].is_hold

    rules.write_text(json.dumps({"schema_version": 1, "stop_rules": {}}))
    again = record(tmp_path / "b", *flags, robot=f"--robot=moving-arm:{port}")
    assert again.returncode == 1
    assert "rules.json: expected a rule of action_limit" in again.stderr
    assert not (tmp_path / "b").exists()
    assert len([one for one in read_port(port) if not one.is_hold]) == len(moves)


def test_arm_is_opened_once_however_often_its_channel_is_asked(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    publisher.release(0, now=datetime.now(UTC))
    running = fork.start(
        "edge.testing.real_arm",
        "edge.run",
        ARM,
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        "--allow_development_keys",
        f"--state_dir={tmp_path / 'state'}",
        "--episodes=0",
        "--update_period_s=0.2",
        f"--max_steps={STEPS}",
    )
    assert running.stdout is not None
    said = ""
    while said.count("release 1: kept") < 2:
        line = running.stdout.readline()
        assert line, said
        said += line
    running.terminate()
    rest, _ = running.communicate()
    assert running.returncode == 0, said + rest


def test_arm_drives_before_its_clock_is_set_and_records_after_that(
    tmp_path: Path,
) -> None:
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    publisher.release(0, now=datetime.now(UTC))
    flags = [
        ARM,
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        "--allow_development_keys",
        f"--state_dir={tmp_path / 'state'}",
        f"--max_steps={STEPS}",
    ]
    assert run("edge.run", *flags).returncode == 0
    state = StateFolder(tmp_path / "state")
    state.raise_newest_time(datetime(2090, 1, 1, tzinfo=UTC))
    out = tmp_path / "out"
    recording = [f"--record_dir={out}", f"--key_file={tmp_path / 'key.json'}"]
    refused = run("edge.run", *flags, *recording)
    assert refused.returncode == 1
    assert "expected 2089-12-31T00:00:00Z or later, which has" in refused.stderr
    running = fork.start(
        "edge.testing.real_arm",
        "edge.run",
        *flags,
        *recording,
        "--episodes=0",
        "--update_period_s=0.2",
    )
    assert running.stdout is not None
    said = ""
    while said.count("step latency") < 2:
        line = running.stdout.readline()
        assert line, said
        said += line
    assert said.count("; nothing is recorded until then") == 1
    assert not out.exists() and not (tmp_path / "out.private").exists()
    (state.root / "newest_time").unlink()  # as a person does who has set the clock
    while "recorded          1 episode" not in said:
        line = running.stdout.readline()
        assert line, said
        said += line
    running.terminate()
    rest, _ = running.communicate()
    assert running.returncode == 0, said + rest
    assert len(episodes(out)) >= 1


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([ARM], "expected --key_file=PATH"),
        ([ARM, "--key_file=key", "--pace=simulated"], "expected --pace=simulated with"),
        (
            [ARM, "--key_file=key", "--sim_start=2026-01-01T08:00:00Z"],
            "expected --sim_start with simulated robots only",
        ),
        (
            ["--robot=expert-arm:desk", "--key_file=key"],
            "--robot: expected a simulated robot for the scripted expert",
        ),
    ],
)
def test_what_is_for_simulated_robots_is_refused_before_a_real_one_moves(
    tmp_path: Path, flags: list[str], reason: str
) -> None:
    done = run("edge.record", *flags, f"--output={tmp_path / 'out'}")
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert not Path("key").exists()


@pytest.mark.parametrize("program", ["edge.record", "edge.run"])
def test_real_robot_whose_driver_has_a_simulated_clock_is_refused(
    tmp_path: Path, program: str
) -> None:
    robot = "--robot=hasty-arm:desk"
    flags = [f"--output={tmp_path / 'out'}", "--key_file=key"]
    if program == "edge.run":
        publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
        publisher.release(
            0, now=datetime.now(UTC), robot_model=real_arm.SPEC.robot_model
        )
        flags = [
            f"--channel={publisher.channel_uri}",
            f"--keyring={publisher.keyring()}",
            "--allow_development_keys",
            f"--state_dir={tmp_path / 'state'}",
        ]
    done = run(program, robot, *flags)
    assert done.returncode == 1, done.stderr
    assert "expected the machine's clock, since it is not simulated" in done.stderr
    assert not (tmp_path / "out").exists()


def test_real_and_simulated_robots_are_refused_in_one_command(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        f"--key_file={tmp_path / 'key.json'}",
        robot=f"{ARM},metaworld:reach-v3",
    )
    assert done.returncode == 2
    assert "expected --robot with simulated robots only, or with real" in done.stderr
    assert len(episodes(tmp_path / "out")) == 1, "the first robot's episode is whole"


def test_neither_an_expert_nor_an_unsigned_package_drives_a_real_robot(
    tmp_path: Path,
) -> None:
    tiny_package.write_package(tmp_path / "package")
    candidate = run("edge.run", ARM, f"--candidate={tmp_path / 'package'}")
    assert candidate.returncode == 1
    assert "a simulated robot for a package without signatures" in candidate.stderr
    expert = run("edge.run", ARM, "--policy=expert")
    assert expert.returncode == 2
    assert "a simulated robot for the scripted expert" in expert.stderr
