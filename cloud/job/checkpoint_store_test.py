"""Tests of checkpoints in a store, with a local bucket server and real Orbax."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from orbax.checkpoint._src.path import atomicity, temporary_paths

from base.store.store import Store, open_store
from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket
from cloud.errors import CheckpointError
from cloud.job import checkpoint_store

# The bucket's client warns if gRPC is installed, which it does not use here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

STATE = {"weights": np.arange(12.0).reshape(3, 4), "updates": np.asarray(4)}
PREFIX = "runs/one/checkpoints/4"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with local_bucket.serve() as served:
        yield served


@pytest.fixture(params=["gs", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with local_bucket.serve():
        yield open_store(
            "gs://bucket/robots"
            if request.param == "gs"
            else (tmp_path / "store").as_uri()
        )


@pytest.fixture
def disk(tmp_path: Path) -> Store:
    """The store that answers soonest, for what does not depend on the kind."""
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint that Orbax has written and closed."""
    folder = tmp_path_factory.mktemp("saved")
    with ocp.CheckpointManager(folder) as manager:
        manager.save(4, args=ocp.args.StandardSave(STATE))
    return folder


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, which the test may change."""
    return shutil.copytree(saved, tmp_path / "checkpoints") / "4"


def remove_markers(checkpoint: Path) -> None:
    """Older versions of Orbax write checkpoints without markers to a disk."""
    for marker in checkpoint.rglob(checkpoint_store.ORBAX_MARKER):
        marker.unlink()


def assert_orbax_restores(checkpoint: Path) -> None:
    with ocp.CheckpointManager(checkpoint.parent) as manager:
        assert manager.latest_step() == 4
        like = {name: np.zeros_like(value) for name, value in STATE.items()}
        restored = manager.restore(4, args=ocp.args.StandardRestore(like))
    for name, value in STATE.items():
        np.testing.assert_array_equal(restored[name], value)


def is_whole_for_orbax_in_a_bucket(checkpoint: Path) -> bool:
    """Applies Orbax's own rule for `gs://` to the same files."""
    rule = atomicity.CommitFileTemporaryPath
    finalized = temporary_paths.is_path_finalized(checkpoint, temporary_path_cls=rule)
    final: bool = asyncio.run(finalized)
    return final


def test_uploaded_checkpoint_is_fetched_and_restored(
    store: Store, checkpoint: Path, tmp_path: Path
) -> None:
    files = checkpoint_store.upload(checkpoint, store, PREFIX)
    fetched = tmp_path / "fetched" / "4"
    assert checkpoint_store.fetch(store, PREFIX, fetched) == files
    assert_orbax_restores(fetched)


def test_checkpoint_without_orbax_marker_is_whole_after_its_upload(
    bucket: Bucket, checkpoint: Path, tmp_path: Path
) -> None:
    remove_markers(checkpoint)
    assert not is_whole_for_orbax_in_a_bucket(checkpoint)
    opened = open_store("gs://bucket")
    checkpoint_store.upload(checkpoint, opened, PREFIX)
    assert f"{PREFIX}/commit_success.txt" in bucket.objects
    assert f"{PREFIX}/default/commit_success.txt" in bucket.objects
    fetched = tmp_path / "fetched" / "4"
    checkpoint_store.fetch(opened, PREFIX, fetched)
    assert is_whole_for_orbax_in_a_bucket(fetched)


def test_plain_copy_of_a_sealed_checkpoint_is_complete(
    bucket: Bucket, checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint_store.seal(checkpoint)
    bucket.put_tree(checkpoint, f"{PREFIX}/")
    fetched = tmp_path / "fetched" / "4"
    checkpoint_store.fetch(open_store("gs://bucket"), PREFIX, fetched)
    assert_orbax_restores(fetched)


def test_plain_copy_without_a_manifest_is_refused_and_can_be_adopted(
    bucket: Bucket, checkpoint: Path, tmp_path: Path
) -> None:
    remove_markers(checkpoint)
    bucket.put_tree(checkpoint, f"{PREFIX}/")
    opened, fetched = open_store("gs://bucket"), tmp_path / "fetched" / "4"
    with pytest.raises(CheckpointError, match="manifest of a complete checkpoint"):
        checkpoint_store.fetch(opened, PREFIX, fetched)
    checkpoint_store.adopt(opened, PREFIX)
    checkpoint_store.fetch(opened, PREFIX, fetched)
    assert_orbax_restores(fetched)
    assert is_whole_for_orbax_in_a_bucket(fetched)


def test_torn_copy_is_not_adopted(bucket: Bucket, checkpoint: Path) -> None:
    array = max(
        (checkpoint / "default" / "d").iterdir(), key=lambda p: p.stat().st_size
    )
    array.unlink()
    bucket.put_tree(checkpoint, f"{PREFIX}/")
    with pytest.raises(CheckpointError, match="Orbax can restore"):
        checkpoint_store.adopt(open_store("gs://bucket"), PREFIX)
    assert f"{PREFIX}/{checkpoint_store.MANIFEST}" not in bucket.objects


def test_read_error_of_the_disk_is_not_called_a_broken_copy(checkpoint: Path) -> None:
    """The first page of a process is not mapped, so reading it gives EIO."""
    metadata = next(checkpoint.rglob("_METADATA"))
    metadata.unlink()
    metadata.symlink_to("/proc/self/mem")
    with pytest.raises(CheckpointError, match=r"Input/output.*check the disk"):
        checkpoint_store._require_restorable(checkpoint, "gs://bucket/4")


@pytest.mark.parametrize("damage", ["missing", "short", "changed", "longer"])
def test_copy_with_one_bad_file_is_refused_by_name(
    bucket: Bucket, checkpoint: Path, tmp_path: Path, damage: str
) -> None:
    opened = open_store("gs://bucket")
    last = checkpoint_store.upload(checkpoint, opened, PREFIX)[-1]
    name = f"{PREFIX}/{last.path}"
    _, data = bucket.objects.pop(name)
    if damage != "missing":
        flipped = bytes([data[0] ^ 1]) + data[1:]
        kinds = {"short": data[:-1], "changed": flipped, "longer": data + b"x"}
        bucket.put(name, kinds[damage])
    fetched = tmp_path / "fetched" / "4"
    with pytest.raises(CheckpointError, match="incomplete") as e:
        checkpoint_store.fetch(opened, PREFIX, fetched)
    assert last.path in str(e.value)
    assert list(fetched.parent.iterdir()) == []


def test_interrupted_upload_is_incomplete_and_can_be_continued(
    bucket: Bucket, checkpoint: Path, tmp_path: Path
) -> None:
    opened = open_store("gs://bucket")
    checkpoint_store.upload(checkpoint, opened, PREFIX)
    del bucket.objects[f"{PREFIX}/{checkpoint_store.MANIFEST}"]
    del bucket.objects[f"{PREFIX}/default/_METADATA"]
    with pytest.raises(CheckpointError, match="got none"):
        checkpoint_store.fetch(opened, PREFIX, tmp_path / "early")
    written = bucket.clock
    checkpoint_store.upload(checkpoint, opened, PREFIX)
    assert bucket.clock == written + 2
    checkpoint_store.fetch(opened, PREFIX, tmp_path / "fetched" / "4")
    assert_orbax_restores(tmp_path / "fetched" / "4")


def test_another_checkpoint_at_the_same_prefix_is_refused(
    disk: Store, checkpoint: Path
) -> None:
    checkpoint_store.upload(checkpoint, disk, PREFIX)
    (checkpoint / "default" / "extra").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="never changes"):
        checkpoint_store.upload(checkpoint, disk, PREFIX)


def test_folder_that_is_not_a_checkpoint_is_not_uploaded(
    disk: Store, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="_CHECKPOINT_METADATA"):
        checkpoint_store.upload(tmp_path / "empty", disk, PREFIX)
    assert disk.list("") == ()


def test_fetch_does_not_write_to_an_existing_folder(
    disk: Store, checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint_store.upload(checkpoint, disk, PREFIX)
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    with pytest.raises(CheckpointError, match="expected a path that does not exist"):
        checkpoint_store.fetch(disk, PREFIX, copy)
