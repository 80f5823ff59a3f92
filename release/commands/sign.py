"""Signs a provenance statement, a verdict or a channel file.

    ./bazelw run //release:sign -- --role=provenance --package=DIR --key_file=KEY \\
        --run_id=ID --dataset_uri=URI --code_uri=URI --started=T --finished=T
    ./bazelw run //release:sign -- --role=blessing --package=DIR --key_file=KEY \\
        --verdict=blessed --reason="mean success 0.98" --report=RUN/evaluation.json
    ./bazelw run //release:sign -- --role=channel:stable --channel_file=stable.json \\
        --output=stable.dsse.json --key_file=KEY

If the envelope exists and has the same payload, the new signatures are added to it, so
the key holders of a role with a threshold can sign one after another. An envelope with
another payload is replaced, and the command names the keys that had signed it.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from datetime import UTC, datetime, timedelta
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags, plain_file, text_forms
from base.digest import sha256_bytes
from base.errors import MalformedError
from base.json_fields import Fields, decode_canonical
from release import channel, evidence, package, verification
from release.blessing import VERDICTS, Blessing
from release.errors import WrongSubjectError
from release.limits import LIMITS
from release.provenance import Provenance
from release.signing import sign_statements
from release.signing.private_keys import PrivateKey
from release.trusted_keys import (
    ADMISSION_ROLE,
    BLESSING_ROLE,
    PROVENANCE_ROLE,
    ROLES,
    channel_role,
)

# //cloud:ingest alone signs verdicts on episodes.
_ROLE = flags.DEFINE_enum(
    "role", None, [role for role in ROLES if role != ADMISSION_ROLE], "role to sign in"
)
_KEY_FILES = flags.DEFINE_multi_string(
    "key_file", [], "private key file, mode 0600; may be repeated"
)
_PACKAGE = flags.DEFINE_string(
    "package", None, "package folder (roles provenance and blessing)"
)
_RUN_ID = flags.DEFINE_string("run_id", None, "training run (provenance)")
_DATASET_URI = flags.DEFINE_string(
    "dataset_uri", None, "URI from which the dataset was read (provenance)"
)
_CODE_URI = flags.DEFINE_string(
    "code_uri", None, "URI of the code repository (provenance)"
)
_STARTED = flags.DEFINE_string(
    "started",
    None,
    "UTC time when training started, such as 2026-01-31T08:00:00Z (provenance)",
)
_FINISHED = flags.DEFINE_string(
    "finished",
    None,
    "UTC time when the package was complete, in the same form (provenance)",
)
_VERDICT = flags.DEFINE_enum("verdict", None, VERDICTS, "verdict (blessing)")
_REASONS = flags.DEFINE_multi_string(
    "reason", [], "one reason of the verdict; may be repeated (blessing)"
)
_REPORT = flags.DEFINE_string(
    "report",
    None,
    "evaluation report of this package, the run's evaluation.json; it is copied into "
    "the package (blessing)",
)
_BLESSING_DAYS = flags.DEFINE_float(
    "blessing_days",
    None,
    "days until the verdict expires; default: never (blessing)",
    lower_bound=0.0,
)
_CHANNEL_FILE = flags.DEFINE_string(
    "channel_file", None, "unsigned channel file (channel roles)"
)
_OUTPUT = flags.DEFINE_string("output", None, "envelope to write (channel roles)")
path_flags.folders("package")
path_flags.files("key_file", "report", "channel_file", "output")


def main(argv: list[str]) -> None:
    """Signs what the flags name and prints the envelope's path."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    role = _require(_ROLE)
    if not _KEY_FILES.value:
        raise app.UsageError("--key_file is required")
    keys = [PrivateKey.read(Path(path)) for path in _KEY_FILES.value]
    output = _output_path(role)
    old = sign_statements.read_envelope(output)
    if role == PROVENANCE_ROLE:
        _sign_provenance(output.parent, keys)
    elif role == BLESSING_ROLE:
        _sign_blessing(output.parent, keys)
    else:
        _sign_channel(Path(_require(_CHANNEL_FILE)), output, role, keys)
    command_line.say(str(output))
    new = sign_statements.read_envelope(output)
    if old and new and old.payload != new.payload:
        command_line.say(f"replaced what was signed by {', '.join(old.signatures)}")


def _output_path(role: str) -> Path:
    """Returns the path of the envelope to write."""
    if role == PROVENANCE_ROLE:
        return Path(_require(_PACKAGE), package.PROVENANCE)
    if role == BLESSING_ROLE:
        return Path(_require(_PACKAGE), package.BLESSING)
    return Path(_require(_OUTPUT))


def _require(flag: flags.FlagHolder[str | None]) -> str:
    value = flag.value
    if not value:
        raise app.UsageError(f"--{flag.name} is required for this role")
    return value


def _sign_provenance(folder: Path, keys: list[PrivateKey]) -> None:
    manifest = verification.verify_integrity(folder).manifest
    stated = Provenance(
        package_digest=manifest.digest,
        dataset_manifest_digest=manifest.metadata.dataset_manifest_digest,
        dataset_uri=_require(_DATASET_URI),
        dataset_name=manifest.metadata.dataset_name,
        dataset_version=manifest.metadata.dataset_version,
        code_commit=manifest.metadata.code_commit,
        code_uri=_require(_CODE_URI),
        hardware=manifest.metadata.hardware,
        safety_version=manifest.safety_version,
        export_target=manifest.target,
        training_config=manifest.metadata.training_config,
        run_id=_require(_RUN_ID),
        started=text_forms.parse_time(_require(_STARTED), "--started"),
        finished=text_forms.parse_time(_require(_FINISHED), "--finished"),
    )
    sign_statements.sign_provenance(folder, stated, keys)


def _sign_blessing(folder: Path, keys: list[PrivateKey]) -> None:
    if not _REASONS.value:
        raise app.UsageError("--reason is required for this role")
    intact = verification.verify_integrity(folder)
    report, kinds = _read_report(Path(_require(_REPORT)), intact.digest)
    now = datetime.now(UTC)
    days = _BLESSING_DAYS.value
    verdict = Blessing(
        package_digest=intact.digest,
        verdict=_require(_VERDICT),
        reasons=tuple(_REASONS.value),
        report_digest=sha256_bytes(report),
        issued=now,
        expires=None if days is None else now + timedelta(days=days),
        evidence=kinds,
    )
    sign_statements.sign_blessing(folder, verdict, report, keys)


def _read_report(file: Path, package_digest: str) -> tuple[bytes, tuple[str, ...]]:
    """Returns the report that a verdict on this package rests on, and its evidence.

    Raises:
        MalformedError: the file is not an evaluation report.
        WrongSubjectError: it is about another package.
    """
    raw = plain_file.read(file, LIMITS.evaluation_bytes)
    remedy = "name the run's evaluation.json, which the verdict rests on"
    subjects = []
    try:
        # The joined file as well as each report in it is canonical.
        decode_canonical(raw, file, LIMITS.evaluation_bytes)
        parts = evidence.split(raw, file)
        for kind, part in parts.items():
            value = decode_canonical(part, file, LIMITS.evaluation_bytes)
            others = tuple(value) if isinstance(value, dict) else ()
            keys = ["schema_version", "package_digest"]
            if kind == evidence.SIMULATED:
                keys.append("tasks")
            fields = Fields(value, file, keys, optional=others)
            subjects.append(fields.sha256("package_digest"))
    except MalformedError as e:
        raise MalformedError(file, "an evaluation report", e.got, remedy) from e
    for subject in subjects:
        if subject != package_digest:
            expected = f"a report about package {package_digest}"
            raise WrongSubjectError(file, expected, subject, remedy)
    return raw, tuple(parts)


def _sign_channel(file: Path, output: Path, role: str, keys: list[PrivateKey]) -> None:
    raw = plain_file.read(file, LIMITS.channel_bytes)
    record = channel.parse(raw, file)
    if channel_role(record.channel) != role:
        raise MalformedError(
            file, f"a channel of role {role}", record.channel, "name its role"
        )
    sign_statements.write_envelope(output, raw, channel.PAYLOAD_TYPE, keys)


if __name__ == "__main__":
    command_line.run(main)
