"""A robot that records, signs and uploads, for tests of the cloud.

Every upload is made by the real writer and has a real signature. A test makes it wrong
by changing the sidecar's fields, the episode's fields, or the bytes.
"""

import base64
import dataclasses
import datetime
import hashlib
import io
import json
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.console
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from base.store.store import LocalStore
from cloud.ingest import admission, ingest_key, judge, raw_store
from cloud.ingest.admission import Admission, Reason
from cloud.ingest.enrolment import Enrolment
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ADMISSION_ROLE
from rlds import raw_layout
from rlds import sidecar as sidecar_format
from rlds.episode import EpisodeMetadata
from rlds.raw_layout import RawFolder
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import FIELDS, SCHEMA_VERSION, TRANSFORM_VERSION, EpisodeSpec
from rlds.testing.episodes import JPEG
from rlds.writer import EpisodeWriter

SPEC = EpisodeSpec(state_size=3, action_size=2)
COVERED = tuple(sorted(field.name for field in FIELDS if field.sensitive))
INGEST_KEY = PrivateKey(
    Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"ingest").digest()),
    (ADMISSION_ROLE,),
    development=True,
)
TRUSTED = ingest_key.trust(INGEST_KEY)
# Beginning of each episode's id: 2026-01-01T08:00:00Z in milliseconds.
_ID_TIME = "019b7892-1c00"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """An episode and its sidecar, as a robot would upload them."""

    episode: bytes
    sidecar: Sidecar

    @property
    def folder(self) -> RawFolder:
        """The episode's folder below the raw root."""
        return raw_layout.locate(self.sidecar)


@dataclasses.dataclass(frozen=True)
class RawRobot:
    """One robot; its number decides its key and its hash."""

    number: int

    @property
    def key(self) -> Ed25519PrivateKey:
        """The robot's signing key."""
        seed = hashlib.sha256(f"key of {self.number}".encode()).digest()
        return Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def hash(self) -> str:
        """The robot's hash in its episodes."""
        return hashlib.sha256(f"robot {self.number}".encode()).hexdigest()

    def record(
        self,
        number: int,
        steps: int = 5,
        date: str = "2026-01-31",
        spec: EpisodeSpec = SPEC,
        violations: int = 0,
        image: bytes = JPEG,
        period_ns: int = 12_500_000,
        **metadata: object,
    ) -> Recorded:
        """Records the episode `number`; `metadata` replaces fields of the episode.

        In the first `violations` steps a stop rule fires. With a camera, every step
        has the same `image`. Between two steps `period_ns` pass.
        """
        own: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "episode_id": f"{_ID_TIME}-7000-8{self.number:03x}-{number:012x}",
            "robot_hash": self.hash,
            "robot_model": "test",
            "environment_id": "bench",
            "package_digest": "",
            "delta_digest": "",
            "channel": "",
            "software_version": "0.1.0",
            "start_time": f"{date}T08:00:00Z",
            "location": "",
            "tags": ("simulated",),
            "task": "reach-v3",
            "success": None,
            "operator": "expert",
        } | metadata
        values = np.random.default_rng([self.number, number])
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            writer = EpisodeWriter(folder, spec, EpisodeMetadata(**own))
            for index in range(steps):
                step = _step(values, spec, index, steps)
                step["safety_violation"] = index < violations
                step["t_monotonic_ns"] = index * period_ns
                if spec.image:
                    step["observation/image"] = image
                writer.append(step)
            closed = writer.close(success=True)
            raw = closed.path.read_bytes()
        return Recorded(raw, _sidecar(raw, steps, own, date, violations))

    def upload(
        self,
        raw: LocalStore,
        recorded: Recorded,
        folder: RawFolder | None = None,
        key: Ed25519PrivateKey | None = None,
        **changes: object,
    ) -> RawFolder:
        """Signs the sidecar, with `changes` in its fields, and uploads both files."""
        folder = folder or recorded.folder
        fields: dict[str, Any] = dict(changes)
        sidecar = dataclasses.replace(recorded.sidecar, **fields)
        raw.put(folder.episode, recorded.episode)
        raw.put(folder.sidecar, sidecar_format.sign(sidecar, key or self.key))
        return folder

    def enrolment_file(self, folder: pathlib.Path) -> pathlib.Path:
        """Writes the file that enrols this robot and returns its path."""
        public = self.key.public_key()
        path = folder / f"robot-{self.number}.json"
        value = {
            "keyid": sidecar_format.compute_keyid(public),
            "public": base64.b64encode(public.public_bytes_raw()).decode(),
            "robot_hash": self.hash,
        }
        path.write_text(json.dumps(value))
        return path


def make_raw(tmp_path: pathlib.Path) -> LocalStore:
    """Makes the empty folder of raw episodes; `raw = pytest.fixture(make_raw)`."""
    root = tmp_path / "raw"
    root.mkdir()
    return LocalStore(root)


def enrol(*robots: RawRobot) -> Enrolment:
    """Returns the enrolment of these robots."""
    keys = {
        sidecar_format.compute_keyid(robot.key.public_key()): robot.key.public_key()
        for robot in robots
    }
    hashes = {
        sidecar_format.compute_keyid(robot.key.public_key()): robot.hash
        for robot in robots
    }
    return Enrolment(keys, hashes)


def ingest(
    raw: LocalStore,
    *robots: RawRobot,
    size_limit_bytes: int = 1 << 20,
    readers: int = 2,
    judged_at: datetime.datetime | None = None,
    key: PrivateKey = INGEST_KEY,
) -> judge.Summary:
    """Judges what `raw` holds, as //cloud:ingest does for the enrolled `robots`."""
    chosen = judge.Judge(
        raw,
        enrol(*robots),
        key,
        ingest_key.trust(key),
        size_limit_bytes,
        judged_at or datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC),
    )
    console = rich.console.Console(file=io.StringIO())
    return judge.ingest(chosen, raw_store.read(raw), readers, console)


def verdict_on_disk(raw: LocalStore, folder: RawFolder) -> Admission:
    """Reads ingest's verdict on a folder, and checks that it is ingest's."""
    return admission.verify(raw.get(folder.admission, 1 << 20), folder, TRUSTED)


def require_quarantine(
    raw: LocalStore, folder: RawFolder, reason: Reason, **options: Any
) -> Admission:
    """Ingests; checks the one verdict and that nothing else in the store changed."""
    before = _uploads(raw)
    summary = ingest(raw, RawRobot(1), **options)
    verdict = verdict_on_disk(raw, folder)
    assert [v.reason for v in summary.verdicts] == [reason]
    assert (verdict.status, verdict.reason) == ("quarantined", reason)
    assert verdict.episode_id == folder.episode_id
    assert verdict.detail
    assert verdict.episode == {}
    assert raw.list("admitted/") == ()
    assert _uploads(raw) == before
    return verdict


def _uploads(raw: LocalStore) -> dict[str, bytes]:
    """Every object by path, except what ingest itself writes."""
    return {
        path: raw.get(path, 1 << 24)
        for path in raw.list("")
        if not path.endswith("admission.json") and not path.startswith("admitted/")
    }


def _sidecar(
    raw: bytes, steps: int, own: Mapping[str, object], date: str, violations: int
) -> Sidecar:
    return Sidecar(
        schema_version=SCHEMA_VERSION,
        episode_id=str(own["episode_id"]),
        sha256=hashlib.sha256(raw).hexdigest(),
        size_bytes=len(raw),
        num_steps=steps,
        robot_hash=str(own["robot_hash"]),
        date=date,
        consent=Consent(granted=True, by="operator", at=f"{date}T09:00:00Z"),
        safety=Safety(violations, escalated=violations > 0),
        privacy=RedactionRecord(
            transform_version=TRANSFORM_VERSION,
            detectors={},
            fields_covered=COVERED,
            frames_masked=0,
            attested=True,
        ),
        package_digest=str(own["package_digest"]),
        delta_digest=str(own["delta_digest"]),
        software=str(own["software_version"]),
    )


def _step(
    values: np.random.Generator, spec: EpisodeSpec, index: int, steps: int
) -> dict[str, object]:
    action = values.normal(size=spec.action_size).astype(np.float32)
    return {
        "observation/state": values.normal(size=spec.state_size).astype(np.float32),
        "action": action,
        "proposed_action": action,
        "reward": np.float32(index == steps - 1),
        "discount": np.float32(1.0),
        "is_first": index == 0,
        "is_last": index == steps - 1,
        "is_terminal": index == steps - 1,
        "deadline_missed": False,
        "safety_violation": False,
    }
