"""Tests of //cloud:ingest as a command: exit codes, messages, files on disk."""

import base64
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from base import canonical_json
from base.store.store import LocalStore
from base.testing import command
from cloud.ingest import admission, ingest_key, judge
from cloud.ingest.admission import Admission, Reason
from cloud.ingest.ingest import tabulate
from cloud.testing import printed_table
from cloud.testing.raw_robot import RawRobot, make_raw
from release.signing.private_keys import PrivateKey
from rlds.raw_layout import RawFolder

ROBOT = RawRobot(1)
LIMIT_BYTES = 1 << 24


def upload_truncated(raw: LocalStore) -> RawFolder:
    recorded = ROBOT.record(1)
    short = dataclasses.replace(recorded, episode=recorded.episode[:-100])
    return ROBOT.upload(raw, short)


def upload_bit_flipped(raw: LocalStore) -> RawFolder:
    recorded = ROBOT.record(1)
    flipped = bytearray(recorded.episode)
    flipped[len(flipped) // 2] ^= 1
    return ROBOT.upload(raw, dataclasses.replace(recorded, episode=bytes(flipped)))


def upload_oversized(raw: LocalStore) -> RawFolder:
    recorded = ROBOT.record(1)
    longer = dataclasses.replace(recorded, episode=recorded.episode + b"x")
    return ROBOT.upload(raw, longer)


def upload_with_other_sidecar(raw: LocalStore) -> RawFolder:
    one, other = ROBOT.record(1), ROBOT.record(2)
    mixed = dataclasses.replace(one, sidecar=other.sidecar)
    return ROBOT.upload(raw, mixed, folder=one.folder)


def upload_without_redaction_record(raw: LocalStore) -> RawFolder:
    folder = ROBOT.upload(raw, ROBOT.record(1))
    value = canonical_json.decode(raw.get(folder.sidecar, LIMIT_BYTES))
    assert isinstance(value, dict)
    del value["privacy"], value["signature"]
    signature = ROBOT.key.sign(canonical_json.encode(value))
    value["signature"] = base64.b64encode(signature).decode()
    raw.put(folder.sidecar, canonical_json.encode(value))
    return folder


BAD_UPLOADS = [
    (upload_truncated, "size_mismatch"),
    (upload_bit_flipped, "digest_mismatch"),
    (upload_oversized, "episode_oversized"),
    (upload_with_other_sidecar, "sidecar_of_another_episode"),
    (upload_without_redaction_record, "redaction_missing"),
]
raw = pytest.fixture(make_raw)


def ingest(raw: LocalStore, tmp_path: Path, *flags: str) -> command.Finished:
    """Runs the command as a user does."""
    enrolled = ROBOT.enrolment_file(tmp_path)
    arguments = (
        f"--raw={tmp_path / 'raw'}",
        f"--enrolled={enrolled}",
        f"--ingest_key={tmp_path / 'ingest.json'}",
        *flags,
    )
    return command.run("cloud.ingest.ingest", *arguments)


def uploads(raw: LocalStore) -> dict[str, bytes]:
    """Every object that a robot uploaded, by path."""
    return {
        path: raw.get(path, LIMIT_BYTES)
        for path in raw.list("rlds_v0/")
        if not path.endswith("admission.json")
    }


def verdict_on(raw: LocalStore, folder: RawFolder) -> admission.Admission:
    trusted = ingest_key.read_trusted(str(raw.root.with_name("ingest.public.json")))
    return admission.verify(raw.get(folder.admission, LIMIT_BYTES), folder, trusted)


@pytest.mark.parametrize(("upload", "reason"), BAD_UPLOADS)
def test_bad_upload_fails_the_run_with_one_line(
    upload: Callable[[LocalStore], RawFolder],
    reason: str,
    raw: LocalStore,
    tmp_path: Path,
) -> None:
    folder = upload(raw)
    good = ROBOT.upload(raw, ROBOT.record(3))
    before = uploads(raw)
    done = ingest(raw, tmp_path)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert f"{folder.path}: expected every episode to be admitted" in done.err
    assert f"1 of 2 quarantined, this one for {reason} (" in done.err
    assert uploads(raw) == before
    assert verdict_on(raw, folder).reason == reason
    assert verdict_on(raw, good).admitted


@pytest.mark.parametrize(
    "reason", [Reason.DUPLICATE, Reason.SIDECAR_OF_ANOTHER_EPISODE]
)
def test_table_shows_reasons_and_episodes_whole_on_a_narrow_terminal(
    reason: Reason,
) -> None:
    bad, lost = ROBOT.record(1).folder, ROBOT.record(2).folder
    detail = "a sentence that is longer than any column of a terminal " * 3
    verdict = Admission(
        "quarantined", reason, detail, bad.path, bad.episode_id, "", "", {}
    )
    judged = (
        judge.Judged(bad, verdict),
        judge.Judged(lost, None, unwritten="the disk is full"),
    )
    shown = [
        "quarantined",
        reason.value,
        bad.episode_id,
        "none",
        "verdict_not_written",
        lost.episode_id,
    ]
    printed_table.require_whole(shown, tabulate(judge.Summary(judged, ())))


@pytest.mark.parametrize("typo", ["absent", ""])
def test_folder_without_raw_episodes_fails_with_one_line(
    typo: str, tmp_path: Path
) -> None:
    enrolled = ROBOT.enrolment_file(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    folder = tmp_path / typo
    done = command.run(
        "cloud.ingest.ingest", f"--raw={folder.as_uri()}", f"--enrolled={enrolled}"
    )
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert f"{folder.as_uri()}: expected raw episodes below rlds_v0/" in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--raw=raw"], "ingest: missing --enrolled; see --help"),
        (["--enrolled=key"], "ingest: missing --raw; see --help"),
        (["--raw=raw", "--enrolled="], "ingest: --enrolled: expected a value, got"),
    ],
)
def test_missing_flag_is_named_in_the_message(arguments: list[str], line: str) -> None:
    done = command.run("cloud.ingest.ingest", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(line)


def test_bad_upload_does_not_stop_a_fleet(raw: LocalStore, tmp_path: Path) -> None:
    folder = upload_truncated(raw)
    before = uploads(raw)
    done = ingest(raw, tmp_path, "--nofail_on_quarantine")
    assert (done.code, done.err) == (0, "")
    assert "size_mismatch" in done.out
    assert uploads(raw) == before
    assert not verdict_on(raw, folder).admitted


def test_repaired_upload_makes_the_same_run_pass(
    raw: LocalStore, tmp_path: Path
) -> None:
    upload_truncated(raw)
    assert ingest(raw, tmp_path).code == 1
    folder = ROBOT.upload(raw, ROBOT.record(1))
    done = ingest(raw, tmp_path)
    assert (done.code, done.err) == (0, "")
    assert verdict_on(raw, folder).admitted


def test_key_for_other_things_than_verdicts_is_refused_before_anything_is_written(
    raw: LocalStore, tmp_path: Path
) -> None:
    ROBOT.upload(raw, ROBOT.record(1))
    key = tmp_path / "release.json"
    PrivateKey.generate(("provenance",)).write_new(key)
    done = ingest(raw, tmp_path, f"--ingest_key={key}")
    assert done.code == 1
    assert f"{key}: expected a key of role admission" in done.err
    assert not list(raw.root.rglob("admission.json"))
