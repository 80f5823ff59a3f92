"""Robot, uploader and ingest agree on which days an episode may be of."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.store.store import LocalStore
from cloud.testing.raw_robot import RawRobot, Recorded, ingest
from edge.episodes import upload
from edge.episodes.provenance import Provenance
from edge.robots.clock import unix_ns_from_rfc3339
from edge.robots.simulated_point import SPEC
from edge.testing.recordings import NAME, open_folders
from rlds import sidecar
from rlds.errors import DateError

ROBOT = RawRobot(1)
NOW = "2026-03-01T12:00:00Z"
DAYS = {
    "1970-01-01": False,
    "2025-12-31": False,
    "2026-01-01": True,
    "2026-02-28": True,
    "2026-03-01": True,
    "2026-03-02": True,
    "2026-03-03": False,
    "2099-01-01": False,
}


def begins_on_the_robot(folder: Path, day: str) -> bool:
    start_unix_ns = unix_ns_from_rfc3339(f"{day}T08:00:00Z")
    both = (folder / "out", folder / "private")
    with open_folders(both, machine_time=NOW) as recording:
        try:
            recording.begin(SPEC, NAME, start_unix_ns, Provenance(actor="expert"))
        except DateError:
            return False
    return True


def is_sent(folder: Path, recorded: Recorded) -> bool:
    (folder / "keys").mkdir(parents=True)
    (folder / "store").mkdir()
    signed = sidecar.sign(recorded.sidecar, ROBOT.key)
    name, keyid = recorded.sidecar.episode_id, sidecar.parse(signed).keyid
    ROBOT.enrolment_file(folder).rename(folder / "keys" / f"{keyid}.json")
    (folder / f"{name}.tfrecord").write_bytes(recorded.episode)
    (folder / f"{name}.sidecar.json").write_bytes(signed)
    store = LocalStore(folder / "store")
    tally = upload.upload(folder, store, datetime.fromisoformat(NOW).astimezone(UTC))
    assert (tally.sent, len(store.list(""))) in ((0, 0), (1, 2))
    assert tally.sent + len(tally.refused) == 1
    return bool(tally.sent)


def is_admitted(folder: Path, recorded: Recorded) -> bool:
    folder.mkdir()
    raw = LocalStore(folder)
    ROBOT.upload(raw, recorded)
    (verdict,) = ingest(raw, ROBOT, judged_at=datetime.fromisoformat(NOW)).verdicts
    return verdict.admitted


@pytest.mark.parametrize("day", DAYS)
def test_all_three_take_a_day_or_none_does(tmp_path: Path, day: str) -> None:
    recorded = ROBOT.record(1, date=day)
    answers = (
        begins_on_the_robot(tmp_path / "robot", day),
        is_sent(tmp_path / "uploader", recorded),
        is_admitted(tmp_path / "raw", recorded),
    )
    assert answers == (DAYS[day],) * 3
