"""Runs the real command, kills it, fills its disk, and checks what is left."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from base.digest import sha256_bytes
from edge import simulated_or_real  # noqa: F401 - heavy, and each run is a fork
from edge.episodes import robot_key
from edge.robots import registry
from edge.testing import fork, processes
from rlds import reader, sidecar
from rlds.episode import Episode
from rlds.sidecar import Consent

REACH = "metaworld:reach-v3"

Recorded = tuple[Path, CompletedProcess[str]]
"""The folder of a recording and what the command printed."""


def record(
    output: Path, *more: str, robot: str = REACH, episodes: int = 2
) -> CompletedProcess[str]:
    return processes.run_forked(
        "edge.record",
        f"--robot={robot}",
        f"--episodes={episodes}",
        "--seed=7",
        f"--output={output}",
        *more,
    )


def read_episodes(folder: Path) -> dict[str, Episode]:
    return {path.stem: reader.read_episode(path) for path in folder.glob("*.tfrecord")}


def find_sidecars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sidecar.json"))


def read_error(done: CompletedProcess[str]) -> str:
    """The one line that a command which failed writes to stderr."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture(scope="module", autouse=True)
def simulator() -> None:
    """Loads once what takes a second: every run is a fork of this process."""
    registry.require_known(REACH)
    registry.open_expert(REACH)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Two tasks of two episodes each, with everything that redaction must remove."""
    folder = tmp_path_factory.mktemp("recorded")
    done = record(
        folder / "out",
        "--robot_id=kitchen-arm",
        "--sim_start=2026-03-04T09:41:12Z",
        "--location=52.516275,13.377704",
        "--tags=Ada Lovelace",
        "--actor_noise=0.1",
        "--consent",
        f"--enrol={folder / 'enrol.json'}",
        f"--summary_json={folder / 'summary.json'}",
        robot=f"{REACH},metaworld:drawer-close-v3",
    )
    assert done.returncode == 0, done.stderr
    return folder, done


NOISE = "--actor_noise=0.2"


@pytest.fixture(scope="module")
def recorded_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `out` holds one episode; tests change a copy of it."""
    folder = tmp_path_factory.mktemp("recorded_one")
    assert record(folder / "out", NOISE, episodes=1).returncode == 0
    return folder


def copy(folder: Path, to: Path) -> Path:
    """Copies a recording with its private folder; returns the copy of `out`."""
    return shutil.copytree(folder, to, dirs_exist_ok=True) / "out"


def test_each_task_has_its_episodes_and_is_in_the_summary(recorded: Recorded) -> None:
    folder, done = recorded
    episodes = read_episodes(folder / "out").values()
    tasks = sorted(episode.metadata.task for episode in episodes)
    assert tasks == ["drawer-close-v3"] * 2 + ["reach-v3"] * 2
    summary = json.loads((folder / "summary.json").read_bytes())
    assert summary["episodes"] == 4
    assert summary["steps"] == sum(len(e.steps["action"]) for e in episodes)
    assert summary["tasks"]["reach-v3"]["success"] == 1.0
    assert "4 recorded, 0 already there, 0 recovered" in done.stdout
    assert f"{REACH} 2/2 seed 8: success after" in done.stdout


def test_episode_holds_the_actor_and_every_step(recorded: Recorded) -> None:
    folder, _ = recorded
    for episode in read_episodes(folder / "out").values():
        steps = episode.steps
        assert episode.metadata.success
        assert episode.metadata.operator == "expert"
        assert steps["observation/state"].shape[1] == 39
        assert steps["is_last"].tolist()[-1]
        assert steps["is_terminal"].tolist()[-1]
        assert not steps["deadline_missed"].any()
        assert (steps["action"] != steps["proposed_action"]).any()
        assert abs(steps["action"]).max() <= 1.0


def test_shared_episodes_name_no_robot_person_or_location(
    recorded: Recorded,
) -> None:
    folder, _ = recorded
    for episode in read_episodes(folder / "out").values():
        metadata = episode.metadata
        key = robot_key.derive_simulated("kitchen-arm")
        assert metadata.robot_hash == key.robot_hash("kitchen-arm")
        assert metadata.start_time == "2026-03-04T09:00:00Z"
        assert metadata.location == "52.5,13.4"
        assert set(metadata.tags) == {"simulated", "demonstration"}
    shared = b"".join(processes.read_tree(folder / "out").values())
    for secret in (b"kitchen-arm", b"Lovelace", b"52.516", b"09:41"):
        assert secret not in shared


def test_each_episode_has_a_sidecar_signed_by_the_enrolled_key(
    recorded: Recorded,
) -> None:
    folder, _ = recorded
    enrolled = json.loads((folder / "enrol.json").read_bytes())
    public = robot_key.derive_simulated("kitchen-arm").signing.public_key()
    episodes = read_episodes(folder / "out")
    assert len(find_sidecars(folder / "out")) == len(episodes) == 4
    for path in find_sidecars(folder / "out"):
        checked = sidecar.verify(path.read_bytes(), {enrolled["keyid"]: public})
        raw = (folder / "out" / f"{checked.episode_id}.tfrecord").read_bytes()
        assert checked.robot_hash == enrolled["robot_hash"]
        assert checked.size_bytes == len(raw)
        assert checked.num_steps == len(episodes[checked.episode_id].steps["action"])
        assert checked.consent == Consent(True, "operator", "2026-03-04T09:00:00Z")


def test_private_folder_is_empty_afterwards_and_only_its_owner_can_enter_it(
    recorded: Recorded,
) -> None:
    folder, _ = recorded
    private = folder / "out.private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert list(private.iterdir()) == []


def test_episode_without_the_consent_flag_is_without_consent(
    recorded_one: Path,
) -> None:
    (path,) = find_sidecars(recorded_one / "out")
    consent = sidecar.parse(path.read_bytes()).consent
    assert consent == Consent(False, "operator", "2026-01-01T08:00:00Z")


def test_other_settings_give_other_episodes(recorded_one: Path, tmp_path: Path) -> None:
    out = copy(recorded_one, tmp_path)
    assert record(out, "--actor_noise=0.1", episodes=1).returncode == 0
    assert len(read_episodes(out)) == 2


def test_one_run_or_two_runs_record_the_same_bytes(
    recorded_one: Path, tmp_path: Path
) -> None:
    out, again = copy(recorded_one, tmp_path), tmp_path / "again"
    before = read_episodes(out)
    done = record(out, NOISE, episodes=2)
    assert "1 recorded, 1 already there" in done.stdout
    assert before.keys() < read_episodes(out).keys()
    assert record(again, NOISE, episodes=2).returncode == 0
    assert processes.read_tree(out) == processes.read_tree(again)


def test_key_file_is_made_and_gives_a_hash_that_cannot_be_derived_from_the_id(
    tmp_path: Path,
) -> None:
    key_file = tmp_path / "key.json"
    done = record(tmp_path / "a", f"--key_file={key_file}", episodes=1)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    (episode,) = read_episodes(tmp_path / "a").values()
    derived = robot_key.derive_simulated("sim-00").robot_hash("sim-00")
    assert episode.metadata.robot_hash != derived


def test_unknown_robot_is_refused_in_one_line_with_a_remedy(
    tmp_path: Path,
) -> None:
    done = record(tmp_path / "out", robot="metaworld:fly-v3")
    assert done.returncode == 2
    line = read_error(done)
    assert "'metaworld:fly-v3'" in line
    assert "--robot=metaworld: lists every task" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--sim_start=noon", "--sim_start: expected an RFC 3339"),
        ("--location=1 Main Street", "--location: expected latitude,longitude"),
        ("--location=152.5,13.4", "a number outside -90 to 90"),
    ],
)
def test_wrong_flag_value_is_refused_before_recording(
    tmp_path: Path, flag: str, reason: str
) -> None:
    done = record(tmp_path / "out", flag)
    assert done.returncode == 2
    assert reason in read_error(done)
    assert list(tmp_path.iterdir()) == []


def test_summary_that_cannot_be_written_is_refused_before_recording(
    tmp_path: Path,
) -> None:
    done = record(tmp_path / "out", f"--summary_json={tmp_path / 'none' / 'x.json'}")
    assert done.returncode == 1
    assert "check that the path is right" in read_error(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flag", ["--episodes=0", "--nonsense=1", "stray", "--pace=x", "--robot_id="]
)
def test_wrong_usage_exits_with_2(tmp_path: Path, flag: str) -> None:
    done = record(tmp_path / "out", flag)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_flags(tmp_path: Path) -> None:
    done = processes.run_forked("edge.record", "--help")
    assert done.returncode == 0
    for flag in ("--robot", "--episodes", "--seed", "--output", "--actor_noise"):
        assert flag in done.stdout


def test_private_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    private.chmod(0o755)
    done = record(tmp_path / "out", f"--private_dir={private}")
    assert done.returncode == 1
    assert "expected mode 0700" in read_error(done)
    assert list(private.iterdir()) == []


Killed = tuple[Path, list[str], str]
"""The folder of a recording, what the command printed, and the unfinished episode."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A recorder of the kitchen arm that was killed in its third episode."""
    folder = tmp_path_factory.mktemp("killed")
    out = folder / "out"
    running = fork.start(
        "edge.record",
        f"--robot={REACH}",
        "--episodes=50",
        "--seed=7",
        f"--output={out}",
        "--pace=realtime",
        "--robot_id=kitchen-arm",
    )
    assert running.stdout is not None
    said = [running.stdout.readline(), running.stdout.readline()]
    private = out.with_name(out.name + ".private")
    deadline_s = time.monotonic() + 60
    while not any(p.stat().st_size > 2000 for p in private.glob("*.journal")):
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    (journal,) = private.glob("*.journal")
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    running.stdout.close()
    return folder, said, journal.stem


def test_killed_recorder_loses_no_step_and_the_next_run_continues(
    killed: Killed, tmp_path: Path
) -> None:
    folder, said, unfinished = killed
    out = copy(folder, tmp_path)
    assert all("success after" in line for line in said)
    assert len(read_episodes(out)) == 2
    done = record(out, "--robot_id=kitchen-arm", episodes=3)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"recovered episode {unfinished} of an interrupted run" in done.stdout
    assert "1 recorded, 2 already there, 1 recovered" in done.stdout
    episodes = read_episodes(out)
    assert len(episodes) == len(find_sidecars(out)) == 4
    kept = episodes[unfinished]
    (again,) = (
        e
        for name, e in episodes.items()
        if name != unfinished
        and (
            e.steps["observation/state"][0] == kept.steps["observation/state"][0]
        ).all()
    )
    count = len(kept.steps["action"])
    assert "recovered" in kept.metadata.tags
    assert 5 < count <= len(again.steps["action"])
    assert kept.steps["is_last"].tolist() == [False] * (count - 1) + [True]
    assert (again.steps["action"][:count] == kept.steps["action"]).all()
    assert list((tmp_path / "out.private").iterdir()) == []


def test_episode_of_a_killed_recorder_keeps_its_robot_and_its_consent(
    killed: Killed, tmp_path: Path
) -> None:
    folder, _, unfinished = killed
    out, private = copy(folder, tmp_path), tmp_path / "out.private"
    # Another robot tells of it, leaves it, and records its own.
    other = record(out, "--robot_id=hall-arm", "--consent", episodes=1)
    assert other.returncode == 0, other.stderr
    assert f"{unfinished}.tfrecord stays private" in other.stdout
    assert "got one of robot 'kitchen-arm'" in other.stdout
    left = sorted(path.name for path in private.iterdir())
    assert left == [f"{unfinished}.terms.json", f"{unfinished}.tfrecord"]
    same = record(out, "--robot_id=kitchen-arm", "--consent", episodes=3)
    assert same.returncode == 0, same.stderr
    key = robot_key.derive_simulated("kitchen-arm")
    every = [sidecar.parse(path.read_bytes()) for path in find_sidecars(out)]
    parsed = [one for one in every if one.robot_hash == key.robot_hash("kitchen-arm")]
    assert {one.keyid for one in parsed} == {key.keyid}
    assert key.keyid not in {one.keyid for one in every if one not in parsed}
    consent = {one.episode_id: one.consent.granted for one in parsed}
    assert not consent[unfinished]
    # Two were whole before the kill, and one was recorded again with the flag.
    assert sorted(consent.values()) == [False, False, False, True]


def test_two_recorders_cannot_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = fork.start(
        "edge.record",
        f"--robot={REACH}",
        "--episodes=50",
        f"--output={out}",
        "--pace=realtime",
    )
    assert first.stdout is not None
    first.stdout.readline()
    done = record(out)
    first.kill()
    first.communicate()
    assert done.returncode == 1
    assert "another process that is writing" in read_error(done)


def test_bad_files_in_the_private_folder_keep_no_program_from_driving(
    recorded_one: Path, tmp_path: Path
) -> None:
    out, private = copy(recorded_one, tmp_path), tmp_path / "out.private"
    (episode,) = out.glob("*.tfrecord")
    runs = (
        ["edge.record", f"--output={out}", "--seed=900"],
        ["edge.run", f"--record_dir={out}", "--policy=expert", "--pace=simulated"],
    )
    for program, *flags in runs:
        cut = f"019b7892-1c00-7aaa-8000-00000000000{len(flags)}.tfrecord"
        (private / cut).write_bytes(episode.read_bytes()[:4000])
        (private / f"._{cut}").write_bytes(bytes(4096))
        (private / f"0{cut}").mkdir()
        os.mkfifo(private / f"1{cut}")
        os.mkfifo(private / f"1{cut}.journal")
        with (private / f"2{cut}").open("wb") as file:
            file.truncate(reader.LIMIT_BYTES + 1)
        bad = {path.name for path in private.iterdir() if ".damaged" not in path.name}
        done = processes.run_forked(program, f"--robot={REACH}", *flags)
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        assert len(bad) == 6
        assert all(f"{name}.damaged" in said or ".journal" in name for name in bad)
        assert {f"{name}.damaged" for name in bad} <= {
            x.name for x in private.iterdir()
        }
        assert processes.run_forked(program, f"--robot={REACH}", *flags).returncode == 0
    assert len(read_episodes(out)) == 3
    assert all(path.name.endswith(".damaged") for path in private.iterdir())


# Runs the same command on a small disk, and again once there is room. The disk is a
# small tmpfs if namespaces are allowed, otherwise a limit on the size of every file.
FULL_DISK = """
    cd "$DISK" && {limit} "$@" >"$KEEP/1.out" 2>"$KEEP/1.err"
    echo $? >"$KEEP/1.rc"; cp -r "$DISK" "$KEEP/1"
    {grow}; "$@" >"$KEEP/2.out" 2>"$KEEP/2.err"
    echo $? >"$KEEP/2.rc"; cp -r "$DISK" "$KEEP/2"
"""
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def run_on_a_full_disk(disk: Path, keep: Path, module: str, *arguments: str) -> None:
    disk.mkdir()
    keep.mkdir()
    probe = subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if probe.returncode == 0:
        enter = NAMESPACE
        before = 'mount -t tmpfs -o size=80k tmpfs "$DISK"'
        limit, grow = "", 'mount -o remount,size=64m "$DISK"'
    else:
        enter, before, limit, grow = [], ":", "prlimit --fsize=6000", ":"
    script = f"{before} && {FULL_DISK.format(limit=limit, grow=grow)}"
    subprocess.run(
        [*enter, "sh", "-c", script, "sh", *processes.command(module, *arguments)],
        check=True,
        env=processes.environment() | {"DISK": str(disk), "KEEP": str(keep)},
    )


def test_full_disk_is_reported_in_one_line_and_leaves_only_whole_shared_episodes(
    tmp_path: Path,
) -> None:
    keep = tmp_path / "keep"
    run_on_a_full_disk(
        tmp_path / "disk",
        keep,
        "edge.record",
        f"--robot={REACH}",
        "--episodes=6",
        "--seed=7",
        "--output=out",
    )
    error = (keep / "1.err").read_text().strip()
    assert (keep / "1.rc").read_text() == "1\n"
    assert len(error.splitlines()) == 1, error
    assert "No space left on device" in error or "File too large" in error
    said = (keep / "1.out").read_text()
    whole = read_episodes(keep / "1" / "out")
    assert len(whole) >= said.count("success after")
    assert len(whole) < 6
    assert not list((keep / "1" / "out").glob(".tmp-*"))
    assert (keep / "2.err").read_text() == ""
    assert (keep / "2.rc").read_text() == "0\n"
    after = read_episodes(keep / "2" / "out")
    whole_after = [e for e in after.values() if "recovered" not in e.metadata.tags]
    assert len(whole_after) >= 6
    for path in find_sidecars(keep / "2" / "out"):
        parsed = sidecar.parse(path.read_bytes())
        raw = (keep / "2" / "out" / f"{parsed.episode_id}.tfrecord").read_bytes()
        assert parsed.sha256 == sha256_bytes(raw)
