"""The real command and the real client against a local bucket."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.digest import sha256_bytes
from base.store.gcs_store import GcsStore
from base.store.store import open_store
from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket
from edge.episodes import upload
from edge.testing import processes, simulated_episodes

STORE = f"gs://{local_bucket.NAME}/raw"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with local_bucket.serve() as bucket:
        yield bucket


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    simulated_episodes.make(tmp_path / "out", 2)
    return tmp_path / "out"


def check_refused(
    folder: Path, match: str, done: subprocess.CompletedProcess[str]
) -> None:
    """The command failed in one line and wrote no receipt."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("upload: gs://")
    assert match in line
    assert not list((folder / "sent").glob("*.sent.json"))


def test_command_sends_each_episode_and_sidecar_once(
    bucket: Bucket, folder: Path
) -> None:
    done = processes.run("edge.episodes.upload", f"--from={folder}", f"--to={STORE}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        "2 sent, 0 already in the store, 0 with a receipt, 0 kept without consent\n"
    )
    held = {name: data for name, (_, data) in bucket.objects.items()}
    assert len(held) == 4
    for path in folder.glob("*.tfrecord"):
        (target,) = (name for name in held if path.stem in name and "tfrecord" in name)
        assert target.startswith("raw/rlds_v0/robot_hash=")
        assert held[target] == path.read_bytes()
        sidecar = path.with_suffix(".sidecar.json").read_bytes()
        assert held[target.replace("episode.tfrecord", "sidecar.json")] == sidecar
        receipt = json.loads((folder / "sent" / f"{path.stem}.sent.json").read_bytes())
        assert receipt["sha256"] == sha256_bytes(path.read_bytes())
        assert receipt["store"] == STORE

    for path in (folder / "sent").glob("*.sent.json"):
        path.unlink()
    before = dict(bucket.objects)
    again = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", f"--to={STORE}"
    )
    assert "0 sent, 2 already in the store" in again.stdout
    assert bucket.objects == before


@pytest.fixture
def blind_store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> GcsStore:
    """A store that says of each object that it does not exist yet."""
    store = open_store(STORE)
    assert isinstance(store, GcsStore)
    monkeypatch.setattr(store, "generation", lambda path: 0)
    return store


def test_same_bytes_that_another_process_sent_meanwhile_count_as_held(
    bucket: Bucket, folder: Path, blind_store: GcsStore
) -> None:
    upload.upload(folder, open_store(STORE), NOW)
    before = dict(bucket.objects)
    for path in (folder / "sent").glob("*.sent.json"):
        path.unlink()
    assert upload.upload(folder, blind_store, NOW) == upload.Tally(held=2)
    assert bucket.objects == before


def test_other_bytes_that_another_process_sent_meanwhile_are_refused(
    bucket: Bucket, folder: Path, blind_store: GcsStore
) -> None:
    upload.upload(folder, open_store(STORE), NOW)
    for path in (folder / "sent").glob("*.sent.json"):
        path.unlink()
    for name in tuple(bucket.objects):
        bucket.put(name, b"somebody else's")
    before = dict(bucket.objects)
    tally = upload.upload(folder, blind_store, NOW)
    assert (tally.sent, tally.held, len(tally.refused)) == (0, 0, 2)
    assert "compare the two by hand" in tally.refused[0][1]
    assert bucket.objects == before
    assert not list((folder / "sent").glob("*.sent.json"))


def test_bucket_that_does_not_exist_is_refused_in_one_line(
    bucket: Bucket, folder: Path
) -> None:
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", "--to=gs://nosuch/raw"
    )
    check_refused(folder, "bucket does not exist.; check the bucket's name", done)
    assert bucket.objects == {}


def test_account_without_permission_is_refused_in_one_line(
    bucket: Bucket, folder: Path
) -> None:
    bucket.forbidden = True
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", f"--to={STORE}"
    )
    check_refused(folder, "roles/storage.objectCreator", done)


def test_missing_credentials_are_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={folder}", f"--to={STORE}"
    )
    check_refused(folder, "key file in GOOGLE_APPLICATION_CREDENTIALS", done)


def test_missing_network_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    # The command itself, but it gives up after 0.1 s instead of a minute.
    program = (
        "import runpy\n"
        "from base.store import gcs_store\n"
        "gcs_store._RETRY = gcs_store._RETRY.with_timeout(0.1)\n"
        "runpy.run_module('edge.episodes.upload', run_name='__main__', "
        "alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"--from={folder}", f"--to={STORE}"],
        env=processes.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    check_refused(folder, "check the network and run it again", done)
