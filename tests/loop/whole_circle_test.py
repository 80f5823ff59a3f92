"""Episodes go through the whole circle, with the real binaries.

record, redact, upload, ingest, index, curate, train, evaluate, bless, sign, publish,
verify, activate, run, and record again: the forge that made the package admits the
episodes that the package drove on the robot.
"""

import base64
import json
import shutil
from pathlib import Path

from rlds import reader
from tests.loop import binaries

TASK = "reach-v3"
ROBOTS = ("sim-00", "sim-01")

SPEC = {
    "dataset": "loop",
    "version": "0.1.0",
    "where": "success = 1",
    "split": {"by": ["robot_hash", "date"], "val_groups": 1, "salt": "loop"},
    "shards": {"train": 2, "val": 1},
}


def test_recorded_episodes_become_a_package_whose_episodes_are_admitted(
    tmp_path: Path,
) -> None:
    recorded = record(tmp_path)
    assert_redacted(recorded[0])
    raw = (tmp_path / "raw").as_uri()
    dataset = curate(tmp_path, recorded, raw)
    trained = train(tmp_path, dataset)
    assert_verified(tmp_path, trained)
    release_with_own_key(tmp_path, trained)
    again = run_on_robot(tmp_path, trained)
    assert_admitted_again(tmp_path, again, raw, trained)


def record(folder: Path) -> list[Path]:
    """Two robots record the expert, each on another day."""
    sessions = []
    for number, robot in enumerate(ROBOTS):
        output = folder / f"session-{number}"
        binaries.run(
            "edge/record",
            f"--robot=metaworld:{TASK}",
            "--episodes=3",
            f"--seed={10 * number}",
            f"--robot_id={robot}",
            f"--sim_start=2026-01-0{number + 1}T08:30:00Z",
            "--consent",
            f"--private_dir={folder / f'private-{number}'}",
            f"--enrol={folder / f'{robot}.json'}",
            f"--output={output}",
        )
        assert len(list(output.glob("*.sidecar.json"))) == 3
        sessions.append(output)
    return sessions


def assert_redacted(session: Path) -> None:
    """Holds neither the robot's name nor an exact time, and is attested as redacted."""
    for path in session.glob("*.sidecar.json"):
        sidecar = json.loads(path.read_bytes())
        assert sidecar["privacy"]["attested"]
        assert sidecar["consent"]["granted"]
        assert len(sidecar["robot_hash"]) == 64
    for path in session.rglob("*"):
        if path.is_file():
            assert ROBOTS[0].encode() not in path.read_bytes(), path
    for path in session.glob("*.tfrecord*"):
        metadata = reader.read_episode(path).metadata
        assert metadata.start_time.endswith("T08:00:00Z")
        assert metadata.operator == "expert"


def curate(folder: Path, sessions: list[Path], raw: str) -> Path:
    """Makes one dataset version of both sessions."""
    for session in sessions:
        binaries.run("edge/episodes/upload", f"--from={session}", f"--to={raw}")
    enrolled = ",".join(str(folder / f"{robot}.json") for robot in ROBOTS)
    ingest(folder, raw, enrolled)
    admissions = list((folder / "raw").rglob("admission.json"))
    assert len(admissions) == 6
    for admission in admissions:
        assert json.loads(admission.read_bytes())["status"] == "admitted"
    index = folder / "index"
    public = f"--ingest_public={folder / 'ingest.public.json'}"
    binaries.run("cloud/index/index", f"--raw={raw}", f"--index={index}", public)
    spec = folder / "spec.json"
    spec.write_text(json.dumps(SPEC))
    dataset = folder / "curated" / "loop" / "v0.1.0"
    binaries.run(
        "cloud/curate/curate",
        f"--raw={raw}",
        f"--index={index}",
        f"--spec={spec}",
        f"--output={dataset.as_uri()}",
        public,
        "--created_at=2026-02-01T00:00:00Z",
        "--code_commit=unversioned",
    )
    return dataset


def ingest(folder: Path, raw: str, enrolled: str) -> None:
    """Judges the episodes, with a key that the first call makes."""
    binaries.run(
        "cloud/ingest/ingest",
        f"--raw={raw}",
        f"--enrolled={enrolled}",
        f"--ingest_key={folder / 'ingest.json'}",
    )


def train(folder: Path, dataset: Path) -> dict[str, object]:
    """Trains a tiny model with gates that let it pass: only the path is tested."""
    summary = folder / "trained.json"
    binaries.run(
        "cloud/job/train",
        f"--dataset={dataset}",
        f"--store={(folder / 'store').as_uri()}",
        "--preset=tiny",
        "--updates=20",
        "--batch_size=4",
        "--sequence_length=16",
        "--evaluation_episodes=2",
        "--evaluation_max_steps=60",
        "--minimum_success=0",
        "--minimum_task_success=0",
        "--maximum_held_out_loss=1000",
        "--maximum_step_latency_us=1000000",
        "--code_commit=unversioned",
        f"--summary_json={summary}",
    )
    trained: dict[str, object] = json.loads(summary.read_bytes())
    assert trained["verdict"] == "blessed", trained["reasons"]
    assert trained["published"]
    page = Path(str(trained["report"])).read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert str(folder) not in page
    assert_steps_were_compared_first(trained)
    return trained


def assert_steps_were_compared_first(
    trained: dict[str, object],
) -> None:
    """The package reports the success of int8 and f32, and is the one evaluated."""
    package = Path(str(trained["package"]))
    described = json.loads((package / "package.json").read_bytes())
    compared = described["metadata"]["metrics"]["export_closed_loop"]
    assert compared["episodes"] == {"f32": 2, "int8": 2}
    (report,) = package.parents[1].glob("evaluation.json")
    evaluated = json.loads(report.read_bytes())
    assert evaluated["package_digest"] == digest(trained)
    assert compared["first_seed"] == evaluated["first_seed"] + 2


def assert_verified(folder: Path, trained: dict[str, object]) -> None:
    """The package verifies with the development key, and not without it."""
    arguments = [
        f"--package={trained['package']}",
        f"--keyring={folder / 'store' / 'keys' / 'keyring.json'}",
    ]
    binaries.run("release/commands/verify", *arguments, "--allow_development_keys")
    assert "development key" in binaries.refuse("release/commands/verify", *arguments)
    assert_no_path_is_published(folder, Path(str(trained["package"])))


def assert_no_path_is_published(folder: Path, package: Path) -> None:
    """No statement about the package names a folder of this machine."""
    for path in package.glob("*.intoto.jsonl"):
        envelope = json.loads(path.read_bytes())
        statement = base64.b64decode(envelope["payload"])
        assert str(folder).encode() not in statement, path
    for name in ("package.json", "evaluation.json"):
        assert str(folder).encode() not in (package / name).read_bytes()
    provenance = json.loads((package / "provenance.intoto.jsonl").read_bytes())
    statement = base64.b64decode(provenance["payload"])
    assert b"urn:continuon:dataset:loop:0.1.0" in statement


def release_with_own_key(folder: Path, trained: dict[str, object]) -> None:
    """Signs the same package with a key that is not a development key."""
    package, key, ring = folder / "signed", folder / "key", folder / "ring.json"
    shutil.copytree(str(trained["package"]), package)
    for name in ("provenance.intoto.jsonl", "blessing.intoto.jsonl"):
        (package / name).unlink()
    signer = [f"--key_file={key}", f"--keyring={ring}"]
    roles = [f"--role={name}" for name in ("channel:beta", "provenance", "blessing")]
    binaries.run("release/commands/generate_key", *signer, *roles)
    sign = ["release/commands/sign", f"--package={package}", f"--key_file={key}"]
    binaries.run(
        *sign,
        "--role=provenance",
        "--run_id=loop",
        "--dataset_uri=file:///loop",
        "--code_uri=file:///code",
        "--started=2026-02-01T00:00:00Z",
        "--finished=2026-02-01T00:01:00Z",
    )
    publish = [
        "release/commands/publish",
        f"--store={(folder / 'own').as_uri()}",
        *signer,
    ]
    publish += [f"--package={package}", "--channel=beta"]
    assert "blessing" in binaries.refuse(*publish)
    assert not list(folder.glob("own/channels/*"))
    binaries.run(
        *sign,
        "--role=blessing",
        "--verdict=blessed",
        "--reason=the whole circle turns",
        f"--report={Path(str(trained['report'])).with_name('evaluation.json')}",
    )
    binaries.run(*publish)
    binaries.run("release/commands/verify", f"--package={package}", f"--keyring={ring}")
    binaries.run(
        "edge/run",
        f"--channel={(folder / 'own' / 'channels' / 'beta.json').as_uri()}",
        f"--keyring={ring}",
        f"--robot=metaworld:{TASK}",
        "--episodes=1",
        "--max_steps=20",
        "--pace=simulated",
        f"--state_dir={folder / 'own-state'}",
    )
    current = json.loads((folder / "own-state" / "current").read_bytes())
    assert current["digest"] == digest(trained)


def run_on_robot(folder: Path, trained: dict[str, object]) -> Path:
    """The robot installs the package from the channel, runs it and records."""
    state, again = folder / "state", folder / "again"
    summary = folder / "ran.json"
    arguments = [
        f"--channel={trained['channel']}",
        f"--keyring={folder / 'store' / 'keys' / 'keyring.json'}",
        f"--robot=metaworld:{TASK}",
        "--episodes=1",
        "--seed=20000",
        "--max_steps=60",
        "--pace=simulated",
        f"--state_dir={state}",
        f"--record_dir={again}",
        f"--robot_id={ROBOTS[0]}",
        "--consent",
        f"--summary_json={summary}",
    ]
    assert "development key" in binaries.refuse("edge/run", *arguments)
    assert not (state / "current").exists()
    binaries.run("edge/run", *arguments, "--allow_development_keys")
    assert json.loads(summary.read_bytes())["package_digest"] == digest(trained)
    current = json.loads((state / "current").read_bytes())
    assert current["digest"] == digest(trained)
    assert current["release_counter"] == 1
    return again


def assert_admitted_again(
    folder: Path, again: Path, raw: str, trained: dict[str, object]
) -> None:
    """The forge admits the episode that the package drove, with its digest."""
    binaries.run("edge/episodes/upload", f"--from={again}", f"--to={raw}")
    enrolled = ",".join(str(folder / f"{robot}.json") for robot in ROBOTS)
    ingest(folder, raw, enrolled)
    driven = []
    for path in (folder / "raw").rglob("episode.tfrecord"):
        metadata = reader.read_episode(path).metadata
        if metadata.package_digest == digest(trained):
            driven.append(metadata)
            admission = json.loads((path.parent / "admission.json").read_bytes())
            assert admission["status"] == "admitted"
    assert len(driven) == 1
    assert driven[0].operator == f"policy:{digest(trained)[:12]}"
    assert driven[0].channel == "nightly"


def digest(trained: dict[str, object]) -> str:
    """The digest of the trained package."""
    return str(trained["package_digest"])
