"""Tests of //edge:label and //edge:trim as an operator uses them."""

import dataclasses
from pathlib import Path

import pytest

from base import file_lock
from base.testing import command
from edge.episodes import robot_key
from edge.episodes.episode_id import make_random_id
from edge.episodes.provenance import Provenance
from edge.episodes.robot_key import RobotKey
from edge.processes.home import Home
from edge.processes.mailbox import make_run_folder
from edge.robots.clock import unix_ns_from_rfc3339
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC
from edge.testing import recordings, simulated_episodes
from edge.testing.processes import read_tree
from rlds import consent_record, reader, sealing, sidecar, spool_key
from rlds.episode import Episode

LABEL, TRIM = "edge.processes.label", "edge.processes.trim"
ROBOT = f"--robot_id={simulated_episodes.ROBOT_ID}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shared episodes of a simulated robot."""
    made = tmp_path / "out"
    simulated_episodes.make(made, 2)
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.tfrecord"))


def read(folder: Path, name: str) -> Episode:
    return reader.read_episode(folder / f"{name}.tfrecord")


def test_episodes_are_listed_and_nothing_is_changed(folder: Path) -> None:
    before = read_tree(folder)
    done = command.run(LABEL, f"--from={folder}", ROBOT)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [*names(folder), "2 episodes"]
    assert lines[0].endswith("  success")
    assert read_tree(folder) == before


def test_part_of_a_name_says_which_episode_is_labelled(folder: Path) -> None:
    first, second = names(folder)
    done = command.run(
        LABEL, f"--from={folder}", ROBOT, f"--episode={second[-6:]}", "--says=failure"
    )
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{second}: no success, success before; 1 file\n"
    assert read(folder, second).metadata.success is False
    assert read(folder, first).metadata.success is True
    listed = command.run(LABEL, f"--from={folder}", ROBOT).out
    assert "no success, labelled" in listed


def test_episode_left_out_loses_its_consent_and_is_not_sent(
    folder: Path, tmp_path: Path
) -> None:
    first, second = names(folder)
    done = command.run(
        LABEL, f"--from={folder}", ROBOT, f"--episode={first}", "--says=leave_out"
    )
    assert (done.code, done.err) == (0, "")
    stated = sidecar.parse((folder / f"{first}.sidecar.json").read_bytes())
    assert not stated.consent.granted
    sent = command.run(
        "edge.episodes.upload", f"--from={folder}", f"--to={tmp_path / 'store'}"
    )
    assert (sent.code, sent.err) == (0, "")
    assert "1 sent, " in sent.out and "1 kept without consent" in sent.out
    refused = command.run(
        LABEL, f"--from={folder}", ROBOT, f"--episode={second}", "--says=failure"
    )
    assert refused.code == 1
    assert "expected an episode that is not uploaded yet" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert read(folder, second).metadata.success is True


def test_consent_stays_with_an_episode_that_its_operator_labels(
    folder: Path, tmp_path: Path
) -> None:
    first, second = names(folder)
    for name in (first, second):
        raw = (folder / f"{name}.sidecar.json").read_bytes()
        stated = sidecar.parse(raw)
        key = robot_key.derive_simulated(simulated_episodes.ROBOT_ID)
        granted = consent_record.ConsentRecord(
            episode_id=name,
            robot_hash=stated.robot_hash,
            date=stated.date,
            sha256=stated.sha256,
            counter=1,
            decision=consent_record.Decision.GRANTED,
            at="2026-03-01T08:00:00Z",
        )
        path = folder / f"{name}.consent.json"
        path.write_bytes(consent_record.sign(granted, key.signing))
    for name, says in ((first, "failure"), (second, "leave_out")):
        done = command.run(
            LABEL, f"--from={folder}", ROBOT, f"--episode={name}", f"--says={says}"
        )
        assert (done.code, done.err) == (0, "")
    sent = command.run(
        "edge.episodes.upload", f"--from={folder}", f"--to={tmp_path / 'store'}"
    )
    assert (sent.code, sent.err) == (0, "")
    assert "1 sent, " in sent.out and "1 kept without consent" in sent.out
    (path,) = (tmp_path / "store").rglob("consent-*.json")
    assert path.name == "consent-2.json"
    assert f"episode_id={first}" in str(path)


def test_trimmed_episode_has_the_steps_that_were_named(folder: Path) -> None:
    name = names(folder)[0]
    count = read(folder, name).num_steps
    done = command.run(
        TRIM, f"--from={folder}", ROBOT, f"--episode={name}", "--first=3", "--last=7"
    )
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{name}: 5 of {count} steps stay, success; 1 file\n"
    trimmed = read(folder, name)
    assert trimmed.num_steps == 5
    assert "trimmed_by_operator" in trimmed.metadata.tags


@pytest.mark.parametrize(
    ("program", "arguments", "code", "text"),
    [
        (LABEL, [], 2, "expected either --from or --home"),
        (LABEL, ["--from={}", "--home={}"], 2, "expected either --from or --home"),
        (LABEL, ["--home={}", "--private_dir=a"], 2, "--private_dir with --from only"),
        (LABEL, ["--from={}", "--says=success"], 2, "expected --episode with --says"),
        (LABEL, ["--from={}", "--says=good"], 2, "--says: expected one of success"),
        (LABEL, ["--from={}x"], 1, "x: expected a folder of recorded episodes"),
        (
            LABEL,
            ["--from={}", "--episode=019b,", "--says=success"],
            2,
            "--episode: expected a part of the name of one episode, got '019b', which "
            "is in 2 of them",
        ),
        (TRIM, ["--from={}"], 2, "missing --episode"),
        (TRIM, ["--from={}", "--episode=zz"], 2, "'zz', which is in none of them"),
        (
            TRIM,
            ["--from={}", "--episode=0000000001", "--last=1000"],
            2,
            "--last: expected steps from 1 to ",
        ),
        (
            TRIM,
            ["--from={}", "--episode=0000000001", "--first=5", "--last=2"],
            2,
            "the first not behind the last, got 5 to 2",
        ),
        (TRIM, ["--from={}", "--episode=a", "--first=0"], 2, "--first: expected a wh"),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(
    folder: Path, program: str, arguments: list[str], code: int, text: str
) -> None:
    before = read_tree(folder)
    done = command.run(program, *(one.format(folder) for one in arguments))
    assert text in done.err
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert read_tree(folder) == before


def test_key_that_did_not_sign_is_refused_and_none_is_made(folder: Path) -> None:
    before = read_tree(folder.parent)
    name = names(folder)[0]
    for flags in ([], [f"--key_file={folder.parent / 'robot.key'}"]):
        done = command.run(
            LABEL, f"--from={folder}", f"--episode={name}", "--says=failure", *flags
        )
        assert (done.code, len(done.err.splitlines())) == (2 - len(flags), 1)
        assert "key" in done.err
    assert read_tree(folder.parent) == before


def record_in(month: str, folder: Path, key: RobotKey) -> None:
    """Records three steps of a real robot in this month; its clock begins elsewhere."""
    time = f"{month}-27T09:41:12Z"
    begin_ns = unix_ns_from_rfc3339(time)
    robot = dataclasses.replace(SPEC, simulated=False)
    with recordings.open_folders(
        (folder, folder.with_name("out.private")),
        robot_id="arm-of-ada",
        key=key,
        robot_time=time,
        machine_time=time,
        robot=robot,
    ) as recording:
        name = make_random_id(begin_ns)
        recorder = recording.begin(robot, name, begin_ns, Provenance("human"))
        for number in range(3):
            made = recordings.step(number, number == 2)
            seen = Observation(made.observation.state, begin_ns + number)
            recorder.append(dataclasses.replace(made, observation=seen))
        recording.share(recorder.close(success=True)[0])


def test_real_robots_episodes_of_earlier_months_are_signed_with_the_key_of_each(
    tmp_path: Path,
) -> None:
    folder, key_file = tmp_path / "out", tmp_path / "robot.key"
    key = robot_key.load_or_create(key_file)
    months = ("2026-02", "2026-05")
    for month in months:
        record_in(month, folder, key)
    flags = [f"--from={folder}", f"--key_file={key_file}"]
    for name, month in zip(names(folder), months, strict=True):
        own = [*flags, f"--episode={name}"]
        done = command.run(LABEL, *own, "--says=failure")
        assert (done.code, done.err) == (0, "")
        done = command.run(TRIM, *own, "--first=2")
        assert (done.code, done.err) == (0, "")
        stated = sidecar.parse((folder / f"{name}.sidecar.json").read_bytes())
        assert stated.keyid == key.of_month(month).keyid != key.keyid
        assert stated.robot_hash == read(folder, name).metadata.robot_hash
        assert stated.num_steps == 2
    sent = command.run(
        "edge.episodes.upload", f"--from={folder}", f"--to={tmp_path / 'store'}"
    )
    assert (sent.code, sent.err) == (0, "")
    assert "2 sent, " in sent.out
    key_file.unlink()
    robot_key.load_or_create(key_file)
    done = command.run(LABEL, *flags, f"--episode={name}", "--says=success")
    assert done.code == 1


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A robot's folder: an episode that is shared, and raw among the memories."""
    made = Home(tmp_path / "home")
    made.root.mkdir()
    made.private.mkdir(mode=0o700)
    shared = made.root / "made"
    (name,) = simulated_episodes.make(shared, 1)
    shared.rename(made.shared)
    raw = (made.shared / f"{name}.tfrecord").read_bytes()
    made.new_memories.mkdir(parents=True)
    (made.new_memories / f"{name}.tfrecord").write_bytes(raw)
    return made


def test_sealed_memory_is_labelled_with_its_key_and_stays_sealed(home: Home) -> None:
    key = home.root / "spool.key"
    sealing.use(spool_key.load_or_create(key))
    (path,) = home.new_memories.iterdir()
    path.write_bytes(sealing.seal(path.read_bytes()))
    sealing.use(None)
    flags = [f"--home={home.root}", ROBOT, f"--episode={path.stem}", "--says=failure"]
    done = command.run(LABEL, *flags, f"--spool_key={key}")
    assert (done.code, done.err) == (0, "")
    raw = path.read_bytes()
    assert sealing.is_sealed(raw)
    sealing.use(spool_key.load_or_create(key))
    assert reader.read_episode_bytes(raw).metadata.success is False
    sealing.use(None)


def test_copies_of_a_robots_home_are_labelled_and_trimmed_alike(home: Home) -> None:
    (name,) = names(home.shared)
    common = [f"--home={home.root}", ROBOT, f"--episode={name}"]
    done = command.run(LABEL, *common, "--says=unknown")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("2 files\n")
    done = command.run(TRIM, *common, "--first=2", "--last=6")
    assert (done.code, done.err) == (0, "")
    shared, memory = read(home.shared, name), read(home.new_memories, name)
    assert shared.num_steps == memory.num_steps == 5
    assert shared.metadata.success is memory.metadata.success is None
    done = command.run(LABEL, *common, "--says=leave_out")
    assert (done.code, done.err) == (0, "")
    assert names(home.new_memories) == []
    assert names(home.shared) == [name]


@pytest.mark.parametrize("process", ["record", "learn"])
def test_robot_that_runs_is_refused(home: Home, process: str) -> None:
    before = read_tree(home.shared)
    (name,) = names(home.shared)
    path = make_run_folder(home.root) / f"{process}.lock"
    with file_lock.hold(path):
        done = command.run(
            LABEL, f"--home={home.root}", f"--episode={name}", "--says=failure"
        )
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert f"a robot whose {process} process does not run" in done.err
    assert read_tree(home.shared) == before
