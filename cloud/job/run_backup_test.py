"""A run continues from its copy in a bucket, unless it is another or finished run."""

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orbax.checkpoint as ocp
import pytest

from base.store.store import Store, open_store
from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket
from cloud.job import checkpoint_store, run_backup, run_folder
from cloud.job.run_folder import RunFolder
from cloud.testing import train_tiny
from cloud.train.fit import Progress

# The bucket's client warns if gRPC is installed, which it does not use here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

FAMILY = "wavecore"
SETTINGS: dict[str, object] = {"updates": 4}
IDENTITY = run_folder.compute_identity(SETTINGS)
STARTED = "20260101T000000"
BUCKET = "gs://bucket/robots"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with local_bucket.serve() as served:
        yield served


@pytest.fixture
def store(bucket: Bucket) -> Store:
    return open_store(BUCKET)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of updates 2 and 10, written by Orbax; tests copy them."""
    folder = tmp_path_factory.mktemp("saved")
    with ocp.CheckpointManager(folder) as manager:
        for update in (2, 10):
            state = {"weights": np.arange(12.0), "updates": np.asarray(update)}
            manager.save(update, args=ocp.args.StandardSave(state))
    return folder


def make_run(folder: Path, saved: Path) -> RunFolder:
    made = run_folder.open_run(folder / "lost" / FAMILY, SETTINGS, STARTED, None)
    (made.path / "losses.jsonl").write_text("losses")
    shutil.copytree(saved, made.checkpoints, dirs_exist_ok=True)
    (made.checkpoints / "identity.txt").write_text("those data")
    return made


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> RunFolder:
    """A run that has the checkpoints of updates 2 and 10 on its machine."""
    return make_run(tmp_path, saved)


class Uploaded(NamedTuple):
    """A run whose checkpoints have been uploaded.

    Attributes:
        prefix: of its copy in the store.
        checkpoints: what its machine then has.
        objects: what the bucket then holds.
    """

    prefix: str
    checkpoints: Path
    objects: dict[str, bytes]


@pytest.fixture(scope="module")
def uploaded(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Uploaded:
    run = make_run(tmp_path_factory.mktemp("uploaded"), saved)
    prefix = f"{FAMILY}/{run.run_id}"
    with local_bucket.serve() as bucket:
        for update in (2, 10):
            checkpoint = run.checkpoints / str(update)
            run_backup.upload_checkpoint(open_store(BUCKET), prefix, checkpoint)
    objects = {name: data for name, (_, data) in bucket.objects.items()}
    return Uploaded(prefix, run.checkpoints, objects)


@pytest.fixture
def prefix(uploaded: Uploaded, run: RunFolder, bucket: Bucket) -> str:
    """The run's copy in the store, with both checkpoints."""
    shutil.copytree(uploaded.checkpoints, run.checkpoints, dirs_exist_ok=True)
    for name, data in uploaded.objects.items():
        bucket.put(name, data)
    return uploaded.prefix


def fetch(
    store: Store, folder: Path, identity: str = IDENTITY
) -> tuple[list[Path], list[str]]:
    """Downloads; returns the checkpoints that the machine then has, and the notes."""
    notes: list[str] = []
    run_backup.fetch(store, FAMILY, folder, identity, notes.append)
    return sorted(folder.glob("*/checkpoints/[0-9]*")), notes


def test_new_machine_continues_from_the_newest_checkpoint(
    store: Store, prefix: str, run: RunFolder, tmp_path: Path
) -> None:
    found, notes = fetch(store, tmp_path / "new")
    assert [path.name for path in found] == ["10"]
    assert notes == [f"fetched   {run.run_id} at update 10 from {store.uri}"]
    again = run_folder.open_run(tmp_path / "new", SETTINGS, "20260202T000000", None)
    assert again.continued and again.run_id == run.run_id
    assert again.started == run.started
    assert (again.path / "losses.jsonl").read_text() == "losses"
    assert (again.checkpoints / "identity.txt").read_text() == "those data"
    for path in found[0].rglob("*"):
        if path.is_file():
            same = run.checkpoints / "10" / path.relative_to(found[0])
            assert path.read_bytes() == same.read_bytes()


def test_training_continued_elsewhere_ends_with_the_bytes_of_an_uninterrupted_run(
    store: Store, tmp_path: Path
) -> None:
    class LostError(Exception):
        pass

    def lose(progress: Progress) -> None:
        if progress.update == 3:
            raise LostError

    whole = train_tiny.train(tmp_path / "whole", 4)
    lost = run_folder.open_run(tmp_path / "lost", SETTINGS, STARTED, None)
    keep = functools.partial(
        run_backup.upload_checkpoint, store, f"{FAMILY}/{lost.run_id}"
    )
    with pytest.raises(LostError):
        train_tiny.train(lost.checkpoints, 4, lose, on_checkpoint=keep)
    shutil.rmtree(lost.path)
    (checkpoint,), _ = fetch(store, tmp_path / "new")
    result = train_tiny.train(checkpoint.parent, 4, on_checkpoint=keep)
    assert result.resumed_from == 2
    assert train_tiny.weights(result) == train_tiny.weights(whole)
    (checkpoint,), _ = fetch(store, tmp_path / "third")
    assert checkpoint.name == "4"


def test_torn_checkpoint_is_skipped_for_the_one_before(
    bucket: Bucket, store: Store, prefix: str, tmp_path: Path
) -> None:
    torn = f"robots/{prefix}/checkpoints/10/"
    name = max(name for name in bucket.objects if name.startswith(f"{torn}default/"))
    bucket.put(name, b"torn")
    found, notes = fetch(store, tmp_path / "new")
    assert [path.name for path in found] == ["2"]
    assert "skipped" in notes[0] and "incomplete" in notes[0]


def test_checkpoint_with_an_interrupted_upload_is_skipped(
    bucket: Bucket, store: Store, prefix: str, tmp_path: Path
) -> None:
    for name in list(bucket.objects):
        if "/checkpoints/10/" in name and not name.endswith("/_CHECKPOINT_METADATA"):
            del bucket.objects[name]
    found, notes = fetch(store, tmp_path / "new")
    assert [path.name for path in found] == ["2"]
    assert "skipped" in notes[0]


def test_plain_copy_of_a_runs_folder_is_used(
    bucket: Bucket, store: Store, run: RunFolder, tmp_path: Path
) -> None:
    """Another tool copies no manifest, and here no marks of Orbax."""
    for marker in run.path.rglob(checkpoint_store.ORBAX_MARKER):
        marker.unlink()
    bucket.put_tree(run.path, f"robots/{FAMILY}/{run.run_id}/")
    found, _ = fetch(store, tmp_path / "new")
    assert [path.name for path in found] == ["10"]
    manifest = f"{FAMILY}/{run.run_id}/checkpoints/10/{checkpoint_store.MANIFEST}"
    assert f"robots/{manifest}" in bucket.objects


def test_killed_download_is_repeated(
    store: Store, prefix: str, run: RunFolder, tmp_path: Path
) -> None:
    fetch(store, tmp_path / "new")
    (tmp_path / "new" / run.run_id / "run.json").unlink()
    found, notes = fetch(store, tmp_path / "new")
    assert [path.name for path in found] == ["10"] and len(notes) == 1
    assert run_folder.open_run(tmp_path / "new", SETTINGS, STARTED, None).continued


def test_machine_that_is_as_far_downloads_nothing(
    bucket: Bucket, store: Store, prefix: str, run: RunFolder
) -> None:
    before = bucket.sent_bytes
    _, notes = fetch(store, run.path.parent)
    assert notes == [] and bucket.sent_bytes - before < 10_000


def test_machine_that_has_an_earlier_checkpoint_downloads_the_further_one(
    store: Store, prefix: str, run: RunFolder
) -> None:
    """Another machine has gone on with the run since."""
    shutil.rmtree(run.checkpoints / "10")
    found, notes = fetch(store, run.path.parent)
    assert [path.name for path in found] == ["10", "2"]
    assert notes == [f"fetched   {run.run_id} at update 10 from {store.uri}"]


def test_of_two_unfinished_runs_the_furthest_is_downloaded(
    store: Store, prefix: str, run: RunFolder, tmp_path: Path
) -> None:
    newer = run_folder.open_run(tmp_path / "other", SETTINGS, "20260301T000000", None)
    shutil.copytree(run.checkpoints / "2", newer.checkpoints / "2")
    run_backup.upload_checkpoint(
        store, f"{FAMILY}/{newer.run_id}", newer.checkpoints / "2"
    )
    found, notes = fetch(store, tmp_path / "new")
    assert [path.parent.parent.name for path in found] == [run.run_id]
    assert len(notes) == 1 and "at update 10" in notes[0]


def test_run_with_other_settings_or_a_finished_one_is_not_downloaded(
    store: Store, prefix: str, run: RunFolder, tmp_path: Path
) -> None:
    assert fetch(store, tmp_path / "new", "0" * 64) == ([], [])
    run.finish({})
    run_backup.upload_end(store, prefix, run.path)
    assert fetch(store, tmp_path / "new") == ([], [])
    assert not (tmp_path / "new").exists()


def test_complete_checkpoint_in_the_store_is_kept(
    bucket: Bucket, store: Store, prefix: str, run: RunFolder
) -> None:
    before = {n: v for n, v in bucket.objects.items() if "/checkpoints/10/" in n}
    (run.checkpoints / "10" / "default" / "of_another_machine").write_bytes(b"x")
    run_backup.upload_checkpoint(store, prefix, run.checkpoints / "10")
    assert before.items() <= bucket.objects.items()


def test_results_are_uploaded_and_finished_json_last(
    bucket: Bucket, store: Store, prefix: str, run: RunFolder
) -> None:
    run.report.write_text("report")
    (run.logs / "evaluation").write_text("log")
    run.finish({})
    run_backup.upload_results(store, prefix, run.path)
    names = {n.removeprefix(f"robots/{prefix}/") for n in bucket.objects}
    assert "report.html" in names and "checkpoints/10/_CHECKPOINT_METADATA" in names
    assert not {"finished.json", ".lock", "logs/evaluation"} & names
    run_backup.upload_end(store, prefix, run.path)
    assert f"robots/{prefix}/finished.json" in bucket.objects
