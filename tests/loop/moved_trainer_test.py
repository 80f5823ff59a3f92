"""A trainer that is killed on one machine and goes on on another."""

import json
import re
import shutil
from pathlib import Path

import pytest

from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket
from tests.loop import binaries, small_run


def test_another_machine_goes_on_where_the_bucket_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine is a home folder here: nothing of the first is left on the second.

    That the numbers are those of a run that nobody disturbs is tested in
    `cloud/job/run_backup_test.py`.
    """
    given = [
        *small_run.flags(tmp_path, binaries.copy_of_dataset(tmp_path)),
        "--store=gs://bucket/robots",
    ]
    with local_bucket.serve() as bucket:
        monkeypatch.setenv("HOME", str(tmp_path / "first"))
        small_run.kill_after(tmp_path, given, lambda: bool(kept(bucket)))
        newest = max(kept(bucket))
        shutil.rmtree(tmp_path / "first")
        monkeypatch.setenv("HOME", str(tmp_path / "second"))
        printed = small_run.kill_after(
            tmp_path, given, lambda: small_run.STEPS in kept(bucket)
        )
    assert f"at step {newest} from gs://bucket/robots" in printed
    (run,) = (tmp_path / "second" / ".cache/continuon/runs/wavecore").iterdir()
    told = [json.loads(x) for x in (run / "losses.jsonl").read_text().splitlines()[1:]]
    every = small_run.CHECKPOINT_STEPS
    expected = set(range(every, small_run.STEPS + 1, every))
    assert {point["step"] for point in told} == expected
    assert f"{run} continues" in printed


def kept(bucket: Bucket) -> set[int]:
    """Steps whose checkpoints are complete in the bucket."""
    place = r".*/wavecore/[^/]+/checkpoints/(\d+)/checkpoint_manifest\.json"
    found = (re.fullmatch(place, name) for name in list(bucket.objects))
    return {int(match[1]) for match in found if match}
