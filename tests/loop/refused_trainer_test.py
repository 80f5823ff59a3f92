"""What a trainer does not start with, through the real binary."""

from pathlib import Path

from tests.loop import binaries
from tests.loop.small_run import flags, runs


def test_changed_shard_is_refused_before_training(tmp_path: Path) -> None:
    dataset = binaries.copy_of_dataset(tmp_path)
    shard = min(dataset.rglob("shard-*"))
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    line = binaries.refuse("cloud/job/train", *flags(tmp_path, dataset))
    assert shard.name in line
    assert runs(tmp_path) == []
    too_large = ["--batch_size=1000000", "--accumulation_steps=1"]
    line = binaries.refuse("cloud/job/train", *flags(tmp_path, dataset), *too_large)
    assert "GB of memory" in line, "memory is asked about before shards are read"


def test_absent_dataset_is_one_line(tmp_path: Path) -> None:
    line = binaries.refuse("cloud/job/train", *flags(tmp_path, tmp_path / "absent"))
    assert "absent" in line
    assert runs(tmp_path) == []


def test_full_disk_is_refused_before_training(tmp_path: Path) -> None:
    line = binaries.refuse(
        "cloud/job/train",
        *flags(tmp_path, tmp_path / "absent"),
        "--required_disk_mb=1000000000",
    )
    assert "free disk" in line
    assert runs(tmp_path) == []


def test_value_out_of_range_is_wrong_usage(tmp_path: Path) -> None:
    done = binaries.attempt(
        "cloud/job/train", *flags(tmp_path, tmp_path), "--minimum_success=2"
    )
    assert done.returncode == 2
    assert "minimum_success" in done.stderr
    assert runs(tmp_path) == []
