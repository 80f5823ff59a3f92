"""A tiny signed release for tests: throw-away keys, a package of a few hundred bytes.

Only test targets may depend on this file. Each call makes new keys in memory, which
nothing else trusts. The file also exports release/signing to the tests of robots and
of verification, since the code that they test may not import it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from base import canonical_json
from base.digest import sha256_bytes
from base.store.local_store import LocalStore
from release import package, package_folder, verification
from release.blessing import Blessing
from release.canary import Expectation
from release.provenance import Provenance
from release.signing import publish as publish
from release.signing import sign_statements as sign_statements
from release.signing.private_keys import PrivateKey as PrivateKey
from release.signing.publish import Published
from release.trusted_keys import TrustedKeys

NOW = datetime(2026, 1, 31, 8, 0, 0, tzinfo=UTC)
EXPIRES = NOW + timedelta(days=30)
TARGET = "pi5-cpu"
FILES: Mapping[str, bytes] = {
    "weights.safetensors": b"weights",
    "functions/step.tflite": b"step",
    "canary.json": Expectation(0.5, 0.001, steps=1).encode(),
    "canary.tfrecord": b"canary",
    "safety.json": b'{"schema_version":1,"version":"safety-1"}',
}


@dataclass(frozen=True)
class Release:
    """A keyring with its private keys, and a store to publish to."""

    keys: Mapping[str, PrivateKey]
    trusted: TrustedKeys
    store: LocalStore

    def publish(self, folder: Path, channel: str = "nightly") -> Published:
        """Publishes a signed package at `NOW` with the channel's key."""
        role = "channel:stable" if channel == "rollback" else f"channel:{channel}"
        key = self.keys[role]
        return publish.publish(
            self.store, channel, folder, [key], self.trusted, NOW, EXPIRES
        )

    def sign(self, folder: Path, verdict: str = "blessed") -> None:
        """Writes provenance and a verdict into an intact package folder."""
        manifest = verification.verify_integrity(folder).manifest
        stated = Provenance(
            package_digest=manifest.digest,
            dataset_manifest_digest=manifest.metadata.dataset_manifest_digest,
            dataset_uri="file:///datasets/tiny/v1.0.0",
            dataset_name=manifest.metadata.dataset_name,
            dataset_version=manifest.metadata.dataset_version,
            code_commit=manifest.metadata.code_commit,
            code_uri="git+file:///continuon",
            hardware=manifest.metadata.hardware,
            safety_version=manifest.safety_version,
            export_target=manifest.target,
            training_config=manifest.metadata.training_config,
            run_id="run-1",
            started=NOW - timedelta(hours=1),
            finished=NOW,
        )
        sign_statements.sign_provenance(folder, stated, [self.keys["provenance"]])
        self.bless(folder, verdict)

    def bless(
        self,
        folder: Path,
        verdict: str = "blessed",
        issued: datetime = NOW,
        expires: datetime | None = None,
        role: str = "blessing",
        reason: str = "mean success 0.98 reaches 0.95",
    ) -> None:
        """Writes a verdict and its report into a package, signed by a role's key."""
        digest = sha256_bytes((folder / package.MANIFEST).read_bytes())
        report = encode_report(digest)
        ruling = Blessing(
            package_digest=digest,
            verdict=verdict,
            reasons=(reason,),
            report_digest=sha256_bytes(report),
            issued=issued,
            expires=expires,
        )
        (folder / package.BLESSING).unlink(missing_ok=True)
        sign_statements.sign_blessing(folder, ruling, report, [self.keys[role]])


def release(root: Path, development: bool = False) -> Release:
    """Returns a release with one new key per role and a store below `root`."""
    roles = (
        "channel:nightly",
        "channel:beta",
        "channel:stable",
        "blessing",
        "provenance",
    )
    keys = {role: PrivateKey.generate((role,), development) for role in roles}
    trusted = TrustedKeys.from_keys(
        *(key.trusted for key in keys.values()), allow_development=development
    )
    (root / "store").mkdir(parents=True)
    return Release(keys, trusted, LocalStore(root / "store"))


def encode_report(package_digest: str) -> bytes:
    """Returns an evaluation report of a package, as far as it is read in release/."""
    value = {"schema_version": 1, "package_digest": package_digest, "tasks": {}}
    return canonical_json.encode(value)


def write_report(file: Path, package_digest: str) -> Path:
    """Writes the evaluation report of a package to a file."""
    file.write_bytes(encode_report(package_digest))
    return file


def write_package(
    folder: Path,
    files: Mapping[str, bytes] = FILES,
    version: str = "0.1.0",
    release_counter: int = 0,
    target: str = TARGET,
) -> str:
    """Writes an unsigned package of `files` and returns its digest."""
    for path, data in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    safety = json.loads(files.get("safety.json", FILES["safety.json"]))
    return package_folder.build(
        folder,
        family="tiny",
        version=version,
        release_counter=release_counter,
        target=target,
        robot={
            "robot_model": "tiny",
            "observation": {"state": {"shape": [3], "dtype": "float32"}},
            "action": {
                "shape": [2],
                "dtype": "float32",
                "minimum": [-1, -1],
                "maximum": [1, 1],
            },
            "control_hz": 20,
            "tasks": ["reach-v3"],
        },
        functions={
            "step": {
                "path": "functions/step.tflite",
                "inputs": [
                    {"name": "observation_state", "shape": [3], "dtype": "float32"}
                ],
                "outputs": [{"name": "action", "shape": [2], "dtype": "float32"}],
            }
        },
        surfaces={"calibration": {"size": 2, "bound": 0.5}},
        backbone_digest=sha256_bytes(b"backbone"),
        safety_version=safety["version"],
        metadata={
            "dataset_name": "tiny",
            "dataset_version": "1.0.0",
            "dataset_manifest_digest": sha256_bytes(b"manifest"),
            "code_commit": "0123456789abcdef0123456789abcdef01234567",
            "hardware": "test machine",
            "training_config": {"steps": 10},
            "metrics": {"loss": 0.5},
            "export_target": target,
            "jax_version": "0.12.0",
        },
    )
