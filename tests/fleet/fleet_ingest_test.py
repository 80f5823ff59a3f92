"""A fleet's ingest: 10,000 episodes, 1 % of them poison of every sort.

The programs that ship judge, index and curate. Every good episode is admitted, each bad
one has its reason, and what robots' accounts forge in between adds nothing.
"""

import collections
import dataclasses
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from base.digest import sha256_bytes
from base.store.store import LocalStore
from base.testing import command
from cloud.ingest import admission, claims, ingest_key
from cloud.ingest.admission import Admission
from cloud.testing.raw_robot import RawRobot, Recorded
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ADMISSION_ROLE, TrustedKeys
from rlds import manifest, reader, sidecar
from rlds.episode import Episode
from rlds.raw_layout import RawFolder
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety
from rlds.testing import episodes

EPISODES = 10_000
ROBOTS = tuple(RawRobot(number) for number in range(10))
STRANGER = RawRobot(99)
DAYS = tuple(f"2026-01-{day:02d}" for day in range(1, 11))
UNCOVERED = RedactionRecord("1", {}, (), 0, True)
DENIED = Consent(False, "operator", "2026-01-01T08:00:00Z")
SPEC = {
    "dataset": "fleet",
    "version": "1.0.0",
    "where": "num_steps > 0",
    "split": {"by": ["robot_hash", "date"], "val_groups": 5, "salt": "s"},
    "shards": {"train": 8, "val": 1},
}


class Fleet:
    """Writes uploads as files, as fast as the disk takes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        recorded = ROBOTS[0].record(0, steps=2)
        self._template = reader.read_episode_bytes(recorded.episode)
        self._sidecar = recorded.sidecar

    def make(
        self, number: int, steps: dict[str, Any] | None = None, **changes: Any
    ) -> Recorded:
        """Makes episode `number` of its robot and day, with changed metadata."""
        robot, day = ROBOTS[number % 10], DAYS[number // 10 % 10]
        own = dataclasses.replace(
            self._template.metadata,
            **{
                "episode_id": f"019b7892-1c00-7000-8000-{number:012x}",
                "robot_hash": robot.hash,
                "start_time": f"{day}T08:00:00Z",
                **changes,
            },
        )
        found = Episode(self._template.spec, own, steps or self._template.steps)
        return self.describe(found)

    def describe(self, found: Episode) -> Recorded:
        """Makes the sidecar of an episode."""
        framed = episodes.frame_episode(found)
        date = found.metadata.start_time[:10]
        told = dataclasses.replace(
            self._sidecar,
            episode_id=found.metadata.episode_id,
            sha256=sha256_bytes(framed),
            size_bytes=len(framed),
            robot_hash=found.metadata.robot_hash,
            date=date,
            consent=Consent(True, "operator", f"{date}T09:00:00Z"),
        )
        return Recorded(framed, told)

    def sign(self, recorded: Recorded, **changes: Any) -> bytes:
        """Has the episode's robot sign its sidecar, with changes."""
        robot = next(r for r in ROBOTS if r.hash == recorded.sidecar.robot_hash)
        told = dataclasses.replace(recorded.sidecar, **changes)
        return sidecar.sign(told, robot.key)

    def put(self, folder: RawFolder, recorded: Recorded, signed: bytes) -> Path:
        """Writes both files and returns their folder."""
        path = self.root / folder.path
        path.mkdir(parents=True)
        (path / "episode.tfrecord").write_bytes(recorded.episode)
        (path / "sidecar.json").write_bytes(signed)
        return path

    def upload(self, recorded: Recorded, **changes: Any) -> Path:
        """Uploads an episode whose sidecar has changes."""
        return self.put(recorded.folder, recorded, self.sign(recorded, **changes))


def _sidecar(change: Callable[[bytes], bytes]) -> Callable[[Fleet, int], None]:
    """Uploads a good episode with other bytes for its sidecar."""

    def spoil(fleet: Fleet, number: int) -> None:
        recorded = fleet.make(number)
        fleet.put(recorded.folder, recorded, change(fleet.sign(recorded)))

    return spoil


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Fleet, int], None]:
    """Uploads a good sidecar with other bytes for its episode."""

    def spoil(fleet: Fleet, number: int) -> None:
        recorded = fleet.make(number)
        path = fleet.upload(recorded)
        (path / "episode.tfrecord").write_bytes(change(recorded.episode))

    return spoil


def _stated(**changes: Any) -> Callable[[Fleet, int], None]:
    """Uploads an episode whose robot signs something untrue."""

    def spoil(fleet: Fleet, number: int) -> None:
        fleet.upload(fleet.make(number), **changes)

    return spoil


def _recorded(**changes: Any) -> Callable[[Fleet, int], None]:
    """Uploads an episode with other metadata."""

    def spoil(fleet: Fleet, number: int) -> None:
        fleet.upload(fleet.make(number, **changes))

    return spoil


def _signed_garbage(fleet: Fleet, number: int) -> None:
    garbage = b"not an episode"
    recorded = dataclasses.replace(fleet.make(number), episode=garbage)
    fleet.upload(recorded, sha256=sha256_bytes(garbage), size_bytes=len(garbage))


def _signed_by(robot: RawRobot) -> Callable[[Fleet, int], None]:
    def spoil(fleet: Fleet, number: int) -> None:
        recorded = fleet.make(number)
        signed = sidecar.sign(recorded.sidecar, robot.key)
        fleet.put(recorded.folder, recorded, signed)

    return spoil


def _other_sidecar(fleet: Fleet, number: int) -> None:
    recorded = fleet.make(number)
    other = fleet.make(number + EPISODES)
    fleet.put(recorded.folder, recorded, fleet.sign(other))


def _other_folder(fleet: Fleet, number: int) -> None:
    recorded = fleet.make(number)
    wrong = dataclasses.replace(recorded.folder, date="2026-02-01")
    fleet.put(wrong, recorded, fleet.sign(recorded))


def _duplicate(fleet: Fleet, number: int) -> None:
    """The id of a good episode again, on a later day."""
    fleet.upload(
        fleet.make(number - POISON_EVERY + 1, start_time="2026-02-01T08:00:00Z")
    )


def _file(name: str, make: Callable[[Path], object]) -> Callable[[Fleet, int], None]:
    """Uploads a good episode and puts something else under one of its names."""

    def spoil(fleet: Fleet, number: int) -> None:
        path = fleet.upload(fleet.make(number)) / name
        path.unlink()
        make(path)

    return spoil


def _link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


POISON: list[tuple[Callable[[Fleet, int], None], str]] = [
    (_file("sidecar.json", lambda path: None), "sidecar_missing"),
    (_file("sidecar.json", _link_out), "unreadable"),
    (_file("episode.tfrecord", lambda path: None), "episode_missing"),
    (_file("episode.tfrecord", _link_out), "unreadable"),
    (
        _sidecar(lambda raw: b'{"keyid":[],"signature":"x"}'),
        "signature_unknown_key",
    ),
    (_sidecar(lambda raw: b" " * 2_000_000), "sidecar_malformed"),
    (_sidecar(lambda raw: b"[" * 100_000), "sidecar_malformed"),
    (_sidecar(lambda raw: b"\xff" + raw), "sidecar_malformed"),
    (_sidecar(lambda raw: raw[: len(raw) // 2]), "sidecar_malformed"),
    (_sidecar(lambda raw: raw.replace(b"signature", b"sign")), "signature_missing"),
    (
        _sidecar(lambda raw: raw.replace(b'num_steps":2', b'num_steps":3')),
        "signature_wrong",
    ),
    (_signed_by(STRANGER), "signature_unknown_key"),
    (_other_sidecar, "sidecar_of_another_episode"),
    (_other_folder, "wrong_place"),
    (_duplicate, "duplicate"),
    (_bytes(lambda raw: raw + b"x"), "episode_oversized"),
    (_bytes(lambda raw: raw[:-1]), "size_mismatch"),
    (_bytes(lambda raw: b"\0" + raw[1:]), "digest_mismatch"),
    (_signed_garbage, "episode_malformed"),
    (_recorded(location="52.516275,13.377704"), "not_redacted"),
    (_recorded(tags=("Ada Lovelace",)), "not_redacted"),
    (_recorded(task="reach\x1b[2J\nv3"), "not_redacted"),
    (_recorded(channel="my channel"), "field_malformed"),
    (_recorded(start_time="1970-01-01T00:00:00Z"), "date_before_format"),
    (_recorded(start_time="2099-01-01T00:00:00Z"), "date_in_future"),
    (_stated(privacy=UNCOVERED), "fields_not_covered"),
    (_stated(safety=Safety(2, True)), "violations_differ"),
    (_stated(consent=DENIED, safety=Safety(0, True)), "violations_differ"),
    (_stated(consent=DENIED), "consent_missing"),
    (_stated(consent=Consent(True, "Ada", "")), "consent_malformed"),
    (_stated(software="9"), "sidecar_of_another_episode"),
    (_file("sidecar.json", os.mkfifo), "unreadable"),
    (_file("episode.tfrecord", os.mkfifo), "unreadable"),
    (_sidecar(lambda raw: b'"' + b'\\"' * 500_000), "sidecar_malformed"),
]
POISON_EVERY = 100


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    (tmp_path / "raw").mkdir()
    return Fleet(tmp_path / "raw")


def run(program: str, *arguments: str) -> command.Finished:
    """Runs a program that must succeed, and prints what it took."""
    begin_s = time.monotonic()
    done = command.run(f"cloud.{program}.{program}", *arguments)
    took_s = time.monotonic() - begin_s
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    sys.stdout.write(f"{program}: {took_s:.1f} s, {peak_mib:.0f} MiB at most so far\n")
    assert (done.code, done.err) == (0, ""), done.err
    return done


def test_all_good_episodes_of_a_fleet_are_admitted_and_each_bad_one_has_its_reason(
    fleet: Fleet, tmp_path: Path
) -> None:
    good, bad = upload_all(fleet)
    assert (len(good) + sum(bad.values()), sum(bad.values())) == (
        EPISODES,
        EPISODES // POISON_EVERY,
    )
    forge_before_ingest(fleet, good)
    raw, index = f"--raw={fleet.root}", f"--index={tmp_path / 'index'}"
    public = f"--ingest_public={tmp_path / 'ingest.public.json'}"
    enrolled = ",".join(str(robot.enrolment_file(tmp_path)) for robot in ROBOTS)
    judging = (
        raw,
        f"--enrolled={enrolled}",
        f"--ingest_key={tmp_path / 'ingest.json'}",
    )
    run("ingest", *judging, "--nofail_on_quarantine")

    trusted = ingest_key.read_trusted(str(tmp_path / "ingest.public.json"))
    verdicts = list(read_verdicts(fleet.root, trusted))
    reasons = collections.Counter(v.reason.value for v in verdicts if not v.admitted)
    assert reasons == bad
    assert {v.episode_id for v in verdicts if v.admitted} == set(good)
    again = run("ingest", *judging, "--nofail_on_quarantine")
    assert f"{EPISODES} episodes judged, 0 verdicts new or changed" in again.out

    forged = forge_verdicts(fleet.root, verdicts)
    built = run("index", raw, index, public)
    assert (
        f"{len(good)} episodes indexed; {sum(bad.values()) - forged} quarantined"
        in built.out
    )
    assert f" {forged} refused" in built.out
    assert built.out.count("\nrefused ") + built.out.startswith("refused ") == forged

    spoiled = spoil_bytes(fleet.root, verdicts)
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    output = tmp_path / "fleet" / "v1.0.0"
    run(
        "curate",
        raw,
        index,
        public,
        f"--spec={tmp_path / 'spec.json'}",
        f"--output={output}",
        "--code_commit=unversioned",
    )
    version = manifest.parse((output / "manifest.json").read_bytes())
    assert dict(version.drops) == dict.fromkeys(spoiled, "digest_mismatch")
    kept = {entry.episode_id for entry in version.episodes}
    assert kept == set(good) - set(spoiled)


def upload_all(fleet: Fleet) -> tuple[list[str], collections.Counter[str]]:
    """Uploads the fleet; returns the ids of the good, and counts of the reasons."""
    good, bad = [], collections.Counter[str]()
    poison = itertools.cycle(POISON)
    for number in range(EPISODES):
        if number % POISON_EVERY == POISON_EVERY - 1:
            spoil, reason = next(poison)
            spoil(fleet, number)
            bad[reason] += 1
        else:
            recorded = fleet.make(number)
            fleet.upload(recorded)
            good.append(recorded.sidecar.episode_id)
    return good, bad


def forge_before_ingest(fleet: Fleet, good: list[str]) -> None:
    """A robot's account claims ids and writes verdicts before ingest has judged."""
    store = LocalStore(fleet.root)
    own = PrivateKey.generate((ADMISSION_ROLE,))
    for episode_id in good[:5]:
        folder = RawFolder(STRANGER.hash, DAYS[0], episode_id)
        claims.claim(store, folder, own, ingest_key.trust(own))
    for number, content in enumerate([b"", b"{}", b"\xff", b"[" * 10**5, b" " * 2**21]):
        folder = fleet.make(number).folder
        (fleet.root / folder.admission).write_bytes(content)


def read_verdicts(root: Path, trusted: TrustedKeys) -> Iterator[Admission]:
    """Reads and verifies every verdict."""
    for path in root.rglob("admission.json"):
        robot, day, name = (part.partition("=")[2] for part in path.parts[-4:-1])
        folder = RawFolder(robot, day, name)
        yield admission.verify(path.read_bytes(), folder, trusted)


def forge_verdicts(root: Path, verdicts: list[Admission]) -> int:
    """A robot's account turns quarantines into admissions, signed with its own key."""
    own = PrivateKey.generate((ADMISSION_ROLE,))
    admitted = next(verdict for verdict in verdicts if verdict.admitted)
    refused = [verdict for verdict in verdicts if not verdict.admitted][:7]
    for verdict in refused:
        lie = dataclasses.replace(
            admitted,
            folder=verdict.folder,
            episode_id=verdict.episode_id,
            sha256=verdict.sha256,
            sidecar_sha256=verdict.sidecar_sha256,
        )
        (root / verdict.folder / "admission.json").write_bytes(lie.sign(own))
    return len(refused)


def spoil_bytes(root: Path, verdicts: list[Admission]) -> list[str]:
    """Replaces the bytes of three admitted episodes after they were indexed."""
    chosen = [verdict for verdict in verdicts if verdict.admitted][:3]
    for verdict in chosen:
        path = root / verdict.folder / "episode.tfrecord"
        path.write_bytes(b"\0" + path.read_bytes()[1:])
    return [verdict.episode_id for verdict in chosen]
