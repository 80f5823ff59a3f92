"""Runs the real command against a local store, kills it, and breaks its input."""

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from base import canonical_json
from base.digest import sha256_bytes
from base.store.store import LocalStore
from base.testing import special_files
from edge.episodes import robot_key, upload
from edge.testing import fork, processes, simulated_episodes
from rlds import example_codec, reader, sidecar, tfrecord
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety
from rlds.spec import TRANSFORM_VERSION
from rlds.testing import private_values
from rlds.testing.private_values import DOORS, Door

KEY = robot_key.derive_simulated(simulated_episodes.ROBOT_ID)
HASH = KEY.robot_hash(simulated_episodes.ROBOT_ID)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BESIDE = 60
"""Episodes that are recorded beside the uploader."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three episodes beside what the robot keeps of them."""
    made = tmp_path_factory.mktemp("recorded")
    simulated_episodes.make(made / "out", 3)
    return made


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "out"


def store_at(path: Path) -> LocalStore:
    path.mkdir(exist_ok=True)
    return LocalStore(path)


def episode_path(name: str) -> str:
    return f"rlds_v0/robot_hash={HASH}/date=2026-01-01/episode_id={name}"


def names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.tfrecord"))


def check_one_refused(folder: Path, store: LocalStore, name: str, reason: str) -> None:
    """The command sends the others, names this one with its reason, and fails."""
    others = len(names_in(folder)) - (folder / f"{name}.tfrecord").exists()
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", f"--to={store.uri}"
    )
    assert done.returncode == 1, done.stdout
    assert f"{others} sent, " in done.stdout
    assert done.stdout.endswith(", 1 refused\n")
    (refused,) = (line for line in done.stdout.splitlines() if "refused " in line[:8])
    assert refused.startswith(f"refused {name}.sidecar.json: ")
    assert reason in refused
    (line,) = done.stderr.splitlines()
    assert f"{name}.sidecar.json: expected" in line
    assert "1 refused, this one because of" in line
    assert not any(name in path for path in store.list(""))
    assert len(store.list("")) == 2 * others
    assert len(list((folder / "sent").glob("*.sent.json"))) == others


def test_command_copies_each_episode_and_its_sidecar_to_the_store(
    folder: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", f"--to={store.uri}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "3 sent, 0 already in the store, 0 with a receipt, 0 kept without consent\n"
    )
    for name in names_in(folder):
        target = tmp_path / "store" / episode_path(name)
        raw = (folder / f"{name}.tfrecord").read_bytes()
        assert (target / "episode.tfrecord").read_bytes() == raw
        sidecar = (folder / f"{name}.sidecar.json").read_bytes()
        assert (target / "sidecar.json").read_bytes() == sidecar
        receipt = json.loads((folder / "sent" / f"{name}.sent.json").read_bytes())
        assert receipt["sha256"] == sha256_bytes(raw)
        assert receipt["store"] == store.uri
    again = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", f"--to={tmp_path / 'store'}"
    )
    assert "0 sent, 0 already in the store, 3 with a receipt" in again.stdout


def test_place_that_is_no_store_is_wrong_usage(folder: Path) -> None:
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", "--to=https://host/raw"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "upload: --to: expected a folder, a file:///… or a gs://… URI, got "
        "https://host/raw; name a folder or a bucket\n"
    )


def test_folder_without_recordings_is_reported(tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={tmp_path}", f"--to={store.uri}"
    )
    assert done.returncode == 0, done.stderr
    nothing, total = done.stdout.splitlines()
    assert nothing.startswith(
        f"no recorded episodes in {tmp_path}: looked for *.sidecar"
    )
    assert total.startswith("0 sent")


def test_episode_with_a_lost_receipt_is_not_sent_again(
    folder: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    upload.upload(folder, store, NOW)
    for path in (folder / "sent").glob("*.sent.json"):
        path.unlink()
    assert upload.upload(folder, store, NOW) == upload.Tally(held=3)


def test_receipt_of_another_store_does_not_count(folder: Path, tmp_path: Path) -> None:
    upload.upload(folder, store_at(tmp_path / "one"), NOW)
    assert upload.upload(folder, store_at(tmp_path / "two"), NOW) == upload.Tally(
        sent=3
    )


def test_episode_without_consent_is_not_sent(tmp_path: Path) -> None:
    simulated_episodes.make(tmp_path / "out", 2, consent=False)
    store = store_at(tmp_path / "store")
    assert upload.upload(tmp_path / "out", store, NOW) == upload.Tally(private=2)
    assert store.list("") == ()
    assert not list((tmp_path / "out" / "sent").glob("*.sent.json"))


def test_episode_that_changed_after_signing_is_not_sent(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / f"{names_in(folder)[1]}.tfrecord"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    store = store_at(tmp_path / "store")
    check_one_refused(folder, store, path.stem, "expected sha256 ")


@pytest.mark.parametrize("size_bytes", [0, 10])
def test_truncated_or_missing_episode_is_not_sent(
    folder: Path, tmp_path: Path, size_bytes: int
) -> None:
    path = folder / f"{names_in(folder)[0]}.tfrecord"
    raw = path.read_bytes()[:size_bytes]
    path.unlink()
    if raw:
        path.write_bytes(raw)
    store = store_at(tmp_path / "store")
    reason = f"got {size_bytes};" if size_bytes else "No such file"
    check_one_refused(folder, store, path.stem, reason)


def sign_again(folder: Path, name: str, **changes: Any) -> None:
    """Has the robot sign a sidecar with `changes` to its values."""
    path = folder / f"{name}.sidecar.json"
    changed = dataclasses.replace(sidecar.parse(path.read_bytes()), **changes)
    path.write_bytes(sidecar.sign(changed, KEY.signing))


def replace_episode(folder: Path, name: str, **changes: Any) -> None:
    """Has the robot sign another episode under a name, as a defect would."""
    path = folder / f"{name}.tfrecord"
    found = reader.read_episode(path)
    changed = dataclasses.replace(
        found, metadata=dataclasses.replace(found.metadata, **changes)
    )
    raw = tfrecord.frame(example_codec.encode(changed))
    path.write_bytes(raw)
    sign_again(folder, name, sha256=sha256_bytes(raw), size_bytes=len(raw))


def name_another_robot(folder: Path, name: str) -> None:
    """Has the robot sign an episode in the name of another one."""
    replace_episode(folder, name, robot_hash="ab" * 32)
    sign_again(folder, name, robot_hash="ab" * 32)


def date_episode(folder: Path, name: str, date: str) -> None:
    """Has the robot record and sign an episode of another day."""
    replace_episode(folder, name, start_time=f"{date}T08:00:00Z")
    sign_again(folder, name, date=date)


def rewrite(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the JSON of a sidecar and leaves its signature."""
    path = folder / f"{name}.sidecar.json"
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(canonical_json.encode(value))


BARE = RedactionRecord(TRANSFORM_VERSION, {}, (), 0, True)
DENIED = Consent(False, "operator", "2026-01-01T08:00:00Z")
GRANTED = Consent(True, "operator", "2026-01-01T08:00:00Z")
Damage = Callable[[Path, str], object]


def replace_by(path: Path, kind: str) -> None:
    path.unlink()
    special_files.make(path, kind)


BAD_EPISODES: list[tuple[Damage, str]] = [
    (lambda f, n: (f / f"{n}.sidecar.json").write_bytes(b""), "strict JSON"),
    (lambda f, n: (f / f"{n}.sidecar.json").write_bytes(b"[" * 10**3), "64 levels"),
    (lambda f, n: (f / f"{n}.sidecar.json").write_bytes(b" " * 2**21), "bytes"),
    (lambda f, n: rewrite(f, n, lambda v: v.pop("signature")), "a signature, got none"),
    (lambda f, n: rewrite(f, n, lambda v: v.update(num_steps=7)), "does not match"),
    (lambda f, n: rewrite(f, n, lambda v: v.update(keyid="ab" * 32)), "public key"),
    (lambda f, n: rewrite(f, n, lambda v: v.pop("privacy")), "redaction record"),
    (lambda f, n: sign_again(f, n, privacy=BARE), "cover every sensitive field"),
    (
        lambda f, n: sign_again(
            f, n, privacy=dataclasses.replace(BARE, attested=False)
        ),
        "cover every sensitive field",
    ),
    (lambda f, n: sign_again(f, n, safety=Safety(3, True)), "got 0"),
    (lambda f, n: sign_again(f, n, consent=Consent(True, "Ada", "")), "consent.by"),
    (lambda f, n: replace_episode(f, n, location="52.516275,13.377704"), "location"),
    (
        lambda f, n: replace_episode(f, n, start_time="2026-01-01T08:41:12Z"),
        "start_time",
    ),
    (
        lambda f, n: date_episode(f, n, "1970-01-01"),
        "date from 2026-01-01 on, got 1970",
    ),
    (lambda f, n: date_episode(f, n, "2099-01-01"), "got 2099-01-01; set the robot's"),
    (
        lambda f, n: sign_again(
            f, n, consent=Consent(True, "operator", "2099-01-01T00:00:00Z")
        ),
        "consent.at up to ",
    ),
    (lambda f, n: replace_episode(f, n, tags=("Ada Lovelace",)), "tags"),
    (name_another_robot, "robot of its key, got one of another"),
    (lambda f, n: replace_episode(f, n, task="reach\n"), "task"),
    (lambda f, n: replace_by(f / f"{n}.sidecar.json", "pipe"), "named pipe"),
    (lambda f, n: replace_by(f / f"{n}.sidecar.json", "link loop"), "symbolic links"),
    (lambda f, n: replace_by(f / f"{n}.tfrecord", "pipe"), "named pipe"),
    (lambda f, n: shutil.rmtree(f / "keys"), "the robot's public key"),
]


@pytest.mark.parametrize("number", range(len(BAD_EPISODES)))
def test_episode_that_must_not_leave_as_it_is_is_named_and_the_others_are_sent(
    folder: Path, tmp_path: Path, number: int
) -> None:
    damage, reason = BAD_EPISODES[number]
    name = names_in(folder)[1]
    if number == len(BAD_EPISODES) - 1:  # the key of all: only this one is left
        for path in folder.glob("*.sidecar.json"):
            if name not in path.name:
                path.unlink()
                path.with_name(path.name.replace("sidecar.json", "tfrecord")).unlink()
    damage(folder, name)
    check_one_refused(folder, store_at(tmp_path / "store"), name, reason)


@pytest.mark.parametrize("consent", [DENIED, GRANTED])
def test_escalation_without_a_violation_in_the_steps_is_refused(
    folder: Path, tmp_path: Path, consent: Consent
) -> None:
    name = names_in(folder)[0]
    sign_again(folder, name, consent=consent, safety=Safety(0, escalated=True))
    store = store_at(tmp_path / "store")
    tally = upload.upload(folder, store, NOW)
    assert (tally.sent, len(tally.refused)) == (2, 1)
    assert not any(name in path for path in store.list(""))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_private_value_is_not_sent_through_any_door(
    folder: Path, tmp_path: Path, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    name = names_in(folder)[0]
    paths = [folder / f"{name}{suffix}" for suffix in (".tfrecord", ".sidecar.json")]
    found = reader.read_episode(paths[0])
    stated = sidecar.parse(paths[1].read_bytes())
    framed, said = private_values.smuggle(door, found, stated)
    paths[0].write_bytes(framed)
    paths[1].write_bytes(sidecar.sign(said, KEY.signing))
    store = store_at(tmp_path / "store")
    tally = upload.upload(folder, store, NOW)
    assert (tally.sent, [path for path, _ in tally.refused]) == (2, paths[1:])
    assert len(store.list("")) == 4
    assert not door.secret or door.secret not in capsys.readouterr().out


def test_drawn_pictures_of_a_simulated_robot_are_sent(
    folder: Path, tmp_path: Path
) -> None:
    name = names_in(folder)[0]
    paths = [folder / f"{name}{suffix}" for suffix in (".tfrecord", ".sidecar.json")]
    framed, said = private_values.smuggle(
        private_values.DRAWN,
        reader.read_episode(paths[0]),
        sidecar.parse(paths[1].read_bytes()),
    )
    paths[0].write_bytes(framed)
    paths[1].write_bytes(sidecar.sign(said, KEY.signing))
    tally = upload.upload(folder, store_at(tmp_path / "store"), NOW)
    assert (tally.sent, tally.refused) == (3, [])


def test_word_that_the_robots_record_does_not_state_is_not_sent(
    folder: Path, tmp_path: Path
) -> None:
    (name, *_) = names_in(folder)
    replace_episode(folder, name, task="frob the cup")
    check_one_refused(folder, store_at(tmp_path / "store"), name, "episode field task")
    robot_key.write_public(folder, KEY, simulated_episodes.ROBOT_ID, {"frob"})
    tally = upload.upload(folder, store_at(tmp_path / "store"), NOW)
    assert (tally.sent, tally.receipted, tally.refused) == (1, 2, [])


def test_store_that_holds_other_bytes_is_refused_and_left_unchanged(
    folder: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    path = f"{episode_path(names_in(folder)[0])}/episode.tfrecord"
    store.put(path, b"somebody else's")
    tally = upload.upload(folder, store, NOW)
    assert (tally.sent, len(tally.refused)) == (2, 1)
    assert "the local episode stays unsent" in tally.refused[0][1]
    assert store.get(path, 100) == b"somebody else's"
    assert len(list((folder / "sent").glob("*.sent.json"))) == 2


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_one_odd_name_in_the_store_keeps_no_other_episode_back(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    store = store_at(tmp_path / "store")
    target = tmp_path / "store" / episode_path(names_in(folder)[0])
    target.mkdir(parents=True)
    special_files.make(target / "episode.tfrecord", kind)
    with special_files.at_once():
        tally = upload.upload(folder, store, NOW)
    assert (tally.sent, len(tally.refused)) == (2, 1)
    assert len(list((folder / "sent").glob("*.sent.json"))) == 2


def test_killed_upload_continues_where_it_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    names = simulated_episodes.make(folder, 30)
    store = store_at(tmp_path / "store")
    running = fork.start(
        "edge.episodes.upload", f"--from={folder}", f"--to={store.uri}"
    )
    assert running.stdout is not None
    for _ in range(3):
        assert running.stdout.readline().startswith("sent ")
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    receipts = {
        path.name.split(".")[0] for path in (folder / "sent").glob("*.sent.json")
    }
    for name in receipts:
        raw = (folder / f"{name}.tfrecord").read_bytes()
        assert store.get(f"{episode_path(name)}/episode.tfrecord", 10**6) == raw
    tally = upload.upload(folder, store, NOW)
    assert tally.receipted == len(receipts) >= 3
    assert tally.sent + tally.held + tally.receipted == 30
    assert store.list("") == tuple(
        f"{episode_path(name)}/{file}"
        for name in sorted(names)
        for file in ("episode.tfrecord", "sidecar.json")
    )


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--from=/nowhere", "--to=file:///tmp"], 1, "expected a folder of recorded"),
        (["--from=.", "--to=ftp://x/y"], 2, "expected a folder, a file:///"),
        (["--from=."], 2, "--to"),
        (["--from=.", "--to=file:///tmp", "stray"], 2, "'stray'"),
    ],
)
def test_wrong_usage_is_refused_in_one_line(
    arguments: list[str], code: int, reason: str
) -> None:
    done = processes.run_forked("edge.episodes.upload", *arguments)
    assert done.returncode == code
    assert reason in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_uploader_beside_a_recording_robot_stops_neither_and_loses_nothing(
    tmp_path: Path,
) -> None:
    folder, store = tmp_path / "out", store_at(tmp_path / "store")
    folder.mkdir()
    recording = fork.start("edge.testing.simulated_episodes", str(folder), str(BESIDE))
    assert recording.stdout is not None
    names, runs = [recording.stdout.readline().strip()], 0
    while recording.poll() is None or not runs:
        assert upload.upload(folder, store, NOW).refused == []
        runs += 1
    names += recording.stdout.read().split()
    recording.stdout.close()
    assert recording.returncode == 0, names[-1]
    last = upload.upload(folder, store, NOW)
    assert len(set(names)) == BESIDE
    assert last == upload.Tally(sent=last.sent, receipted=BESIDE - last.sent)
    assert last.receipted >= 1
    for name in names:
        raw = (
            tmp_path / "store" / episode_path(name) / "episode.tfrecord"
        ).read_bytes()
        assert raw == (folder / f"{name}.tfrecord").read_bytes()


def test_episode_that_the_recorder_removes_meanwhile_is_counted_and_not_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = names_in(folder)[1]
    parse = sidecar.parse

    def remove_then_parse(raw: bytes) -> sidecar.Sidecar:
        found = parse(raw)
        if found.episode_id == name:
            (folder / f"{name}.sidecar.json").unlink()
            (folder / f"{name}.tfrecord").unlink()
        return found

    monkeypatch.setattr(sidecar, "parse", remove_then_parse)
    tally = upload.upload(folder, store_at(tmp_path / "store"), NOW)
    assert tally == upload.Tally(sent=2, removed=1)
