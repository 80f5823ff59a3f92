"""Two uploads of one real robot, months apart, that nobody can join by its names.

The robot records, redacts and signs; the uploader sends; ingest admits both, by the one
file that enrolled the robot. No name, key or hash is the same in both.
"""

import dataclasses
import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import rich.console

from base.store.store import LocalStore
from cloud.ingest import enrolment, ingest_key, judge, raw_store
from cloud.testing.raw_robot import INGEST_KEY
from edge.episodes import robot_key, upload
from edge.episodes.episode_id import make_random_id
from edge.episodes.provenance import Provenance
from edge.episodes.robot_key import RobotKey
from edge.robots.clock import unix_ns_from_rfc3339
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC
from edge.testing.recordings import open_folders, step
from rlds import reader

ROBOT_ID = "arm-of-ada"
MONTHS = ("2026-02-27T09:41:12Z", "2026-05-03T18:02:44Z")
NOW = datetime.fromisoformat("2026-05-04T00:00:00Z")
# The robot's driver, in words of the list but for its task.
REAL = dataclasses.replace(SPEC, simulated=False, task="bring Ada her cup")
_NAMES = ("robot_hash", "keyid", "episode_id", "task", "sha256", "signature")


def record(folder: Path, key: RobotKey, time: str) -> None:
    """Records and shares one episode of the robot at this time."""
    folders = folder / "shared", folder / "private"
    told: list[str] = []
    with open_folders(
        folders,
        robot_id=ROBOT_ID,
        key=key,
        told=told,
        robot_time=time,
        machine_time=time,
        robot=REAL,
    ) as recording:
        begin_ns = unix_ns_from_rfc3339(time)
        name = make_random_id(begin_ns)
        recorder = recording.begin(REAL, name, begin_ns, Provenance("human"))
        for number in range(3):
            made = step(number, number == 2)
            seen = Observation(made.observation.state, begin_ns + number)
            recorder.append(dataclasses.replace(made, observation=seen))
        (closed,) = recorder.close(success=True)
        recording.share(closed)
    assert len(told) == 1  # that its task leaves as a hash


def read_uploads(store: LocalStore) -> Iterator[dict[str, Any]]:
    """All that a reader of the store is told of each upload, by its name."""
    for path in store.list(""):
        if path.endswith("sidecar.json"):
            said = json.loads(store.get(path, 1 << 20))
            raw = store.get(path.replace("sidecar.json", "episode.tfrecord"), 1 << 20)
            found = reader.read_episode_bytes(raw)
            times = found.steps["t_monotonic_ns"].tolist()
            yield said | dataclasses.asdict(found.metadata) | {"times": times}


def test_uploads_of_two_months_are_admitted_and_share_no_name(tmp_path: Path) -> None:
    key = robot_key.load_or_create(tmp_path / "robot.json")
    for time in MONTHS:
        record(tmp_path, key, time)
    (tmp_path / "raw").mkdir()
    store = LocalStore(tmp_path / "raw")
    assert upload.upload(tmp_path / "shared", store, NOW).sent == 2

    (tmp_path / "enrolled.json").write_bytes(key.enrolments(ROBOT_ID, NOW))
    enrolled = enrolment.read([tmp_path / "enrolled.json"])
    trusted = ingest_key.trust(INGEST_KEY)
    chosen = judge.Judge(store, enrolled, INGEST_KEY, trusted, 1 << 20, NOW)
    console = rich.console.Console(file=io.StringIO())
    found = judge.ingest(chosen, raw_store.read(store), 1, console)
    assert [verdict.status for verdict in found.verdicts] == ["admitted"] * 2

    first, second = read_uploads(store)
    for name in _NAMES:
        assert first[name] != second[name], name
    assert first["times"] == second["times"] == [0, 1, 2]
    everything = b"".join(store.get(path, 1 << 20) for path in store.list(""))
    for private in (
        key.keyid,
        key.robot_hash(ROBOT_ID),
        ROBOT_ID,
        "Ada",
        ":41:",
        "44Z",
    ):
        assert private.encode() not in everything, private
