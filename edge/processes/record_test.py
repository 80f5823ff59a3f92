"""What the recorder hands over to the learner, whatever lies in that folder."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from base.testing import special_files
from edge.processes import record
from edge.processes.process import Process


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_name_that_leads_to_no_file_keeps_no_episode_from_the_learner(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    me = cast(Process, SimpleNamespace(say=told.append))
    new = tmp_path / "new"
    new.mkdir()
    special_files.make(new / "odd", kind)
    special_files.make(new / "odd.tfrecord", kind)
    monkeypatch.setattr(record, "NEW_LIMIT_BYTES", 20)
    for number in range(3):
        raw = tmp_path / f"{number}.tfrecord"
        raw.write_bytes(bytes(10))
        os.utime(raw, ns=(number, number))
        record.hand_over(new, me, raw)
    assert told == []
    assert sorted(p.name for p in new.glob("[0-9]*")) == ["1.tfrecord", "2.tfrecord"]
    assert os.path.lexists(new / "odd")
    assert os.path.lexists(new / "odd.tfrecord")
