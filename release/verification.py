"""Turns the folder of a package into a verified type, or raises an error.

Each check goes in the same order: size, signatures, parsing, content. No function
returns a boolean, and only these functions make a verified type. Channels have a file
of their own, `channel_verification.py`.
"""

import hashlib
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from base import text_forms
from base.digest import sha256_bytes
from base.errors import OversizedError
from base.json_fields import Fields, Source, decode
from release import (
    blessing,
    canary,
    evidence,
    package,
    package_folder,
    provenance,
    statement,
)
from release.blessing import Blessing
from release.dsse import Envelope
from release.errors import (
    DigestMismatchError,
    ExpiredError,
    LinkError,
    MissingFileError,
    NotBlessedError,
    TimeTooFarError,
    UnknownFileError,
    WrongSubjectError,
    WrongTargetError,
)
from release.limits import LIMITS
from release.package import FileEntry, PackageManifest
from release.provenance import Provenance
from release.trusted_keys import (
    BLESSING_ROLE,
    PROVENANCE_ROLE,
    TrustedKeys,
)

CLOCK_TOLERANCE: Final = timedelta(days=1)
"""How far an honest signer's clock may be ahead: the width of all time zones, for a
machine whose clock shows local time."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class IntactPackage:
    """A folder whose content is exactly what its package.json says.

    It says nothing about who made the package. Only `verify_integrity` makes one.

    Attributes:
        folder: the folder.
        manifest: its package.json.
    """

    folder: Path
    manifest: PackageManifest

    @property
    def digest(self) -> str:
        """The package digest."""
        return self.manifest.digest

    def path(self, name: str) -> Path:
        """Returns the file that the package lists as `name`.

        Raises:
            MissingFileError: the package does not list that file.
        """
        if name not in self.manifest.files:
            raise MissingFileError(self.folder, f"an entry for {name}", "none")
        return self.folder / name


@dataclass(frozen=True)
class VerifiedPackage:
    """An intact package with trusted provenance and a trusted blessing.

    Only `verify_package` gives one to others.
    """

    intact: IntactPackage
    provenance: Provenance
    blessing: Blessing

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.intact.folder

    @property
    def manifest(self) -> PackageManifest:
        """Its package.json."""
        return self.intact.manifest

    @property
    def digest(self) -> str:
        """The package digest."""
        return self.intact.digest

    def path(self, name: str) -> Path:
        """Returns the file that the package lists as `name`; see IntactPackage."""
        return self.intact.path(name)


def verify_integrity(folder: Path, target: str | None = None) -> IntactPackage:
    """Checks that `folder` holds what its package.json lists, and nothing else.

    Args:
        folder: an unpacked package.
        target: export target that the package must have; None for any.

    Raises:
        MissingFileError: the folder, package.json or a listed file is missing.
        UnknownFileError: there is an empty folder or a file that is not listed.
        LinkError: there is a symbolic link, hard link or special file.
        UnsafePathError: a listed or existing name is one that a package may not hold.
        OversizedError: a file is longer than its listed size.
        DigestMismatchError: a file's content, or its size, differs.
        MalformedError, DuplicateNameError: package.json is not a manifest, safety.json
            does not state the listed version, or canary.json has another form or an
            enormous tolerance.
        WrongTargetError: the package has another target.
    """
    return _intact(folder, _read_manifest(folder), target)


def verify_package(
    folder: Path,
    keys: TrustedKeys,
    now: datetime | None,
    target: str | None,
    expected_digest: str | None,
) -> VerifiedPackage:
    """Checks an unpacked package, its provenance, its blessing and its evaluation.

    Args:
        folder: the unpacked package.
        keys: the keys that may sign provenance and blessings.
        now: the time, with a time zone; None for a package that was admitted before:
            no time is compared then, since an expiry ends what may be taken, not what
            a robot has.
        target: export target that the package must have; None for any.
        expected_digest: package digest that it must have, from a verified channel;
            None if no channel names one yet, as before the package is published.

    Raises:
        What `verify_integrity` raises, and:
        DigestMismatchError: the package digest is another one, or the evaluation
            report is not the one that the blessing names.
        OversizedError: the evaluation report is longer than it may be.
        MissingFileError: the provenance, the blessing or the evaluation report is
            missing.
        UntrustedError: one of its subclasses, for the signatures of either statement.
        MalformedError: a statement has another form.
        WrongSubjectError: a statement is about another package or contradicts
            package.json, or the blessing names other evidence than its report holds.
        NotBlessedError: the verdict is not `blessed`.
        ExpiredError: the blessing has expired.
        TimeTooFarError: a statement was issued later than now, by more than a day.
        ValueError: `now` has no time zone.
    """
    return _verify(folder, keys, now, target, expected_digest, (blessing.BLESSED,))


def verify_for_trials(
    folder: Path, keys: TrustedKeys, now: datetime, target: str | None
) -> IntactPackage:
    """Checks a package that is to drive a robot while a person stands beside it.

    Its origin and the verdict on it are signed by trusted keys as for any package, but
    it need not be blessed yet: where no simulator has the robot, trials are part of
    what it may be blessed for. What was refused does not drive.

    Args:
        folder: the unpacked package.
        keys: the keys that may sign provenance and blessings.
        now: the time, with a time zone.
        target: export target that the package must have; None for any.

    Raises:
        What `verify_package` raises; NotBlessedError if the verdict is neither
        `blessed` nor `undecided`.
    """
    allowed = (blessing.BLESSED, blessing.UNDECIDED)
    return _verify(folder, keys, now, target, None, allowed).intact


def _verify(
    folder: Path,
    keys: TrustedKeys,
    now: datetime | None,
    target: str | None,
    expected_digest: str | None,
    allowed: Collection[str],
) -> VerifiedPackage:
    """Does as `verify_package`, for one of the allowed verdicts."""
    if now is not None:
        text_forms.require_aware(now)
    raw = _read_manifest(folder)
    digest = sha256_bytes(raw)
    if expected_digest is not None and digest != expected_digest:
        raise DigestMismatchError(folder, f"package digest {expected_digest}", digest)
    stated = provenance.parse(
        _statement(folder, package.PROVENANCE, keys, PROVENANCE_ROLE),
        folder / package.PROVENANCE,
    )
    _check_subject(folder / package.PROVENANCE, digest, stated.package_digest)
    verdict = blessing.parse(
        _statement(folder, package.BLESSING, keys, BLESSING_ROLE),
        folder / package.BLESSING,
    )
    _check_subject(folder / package.BLESSING, digest, verdict.package_digest)
    # Trusted keys have signed the digest of package.json, so it may be parsed now.
    intact = _intact(folder, raw, target)
    _check_provenance(intact, stated)
    _check_verdict(intact, verdict, allowed)
    _check_evaluation(intact, verdict)
    if now is not None:
        check_issued(folder / package.PROVENANCE, stated.finished, now)
        check_issued(folder / package.BLESSING, verdict.issued, now)
        _check_blessing_expiry(intact, verdict, now)
    return VerifiedPackage(intact, stated, verdict)


def check_issued(source: Source, issued: datetime, now: datetime) -> None:
    """Checks that a signed time of issue is not further ahead than is believed.

    Raises:
        TimeTooFarError: it is later than `now` by more than `CLOCK_TOLERANCE`.
    """
    if issued - now > CLOCK_TOLERANCE:
        raise TimeTooFarError(
            source,
            f"a time of issue up to {text_forms.format_time(now)} and a day",
            text_forms.format_time(issued),
        )


def _intact(folder: Path, raw: bytes, target: str | None) -> IntactPackage:
    manifest = package.parse(raw, folder / package.MANIFEST)
    if target is not None and manifest.target != target:
        raise WrongTargetError(folder, f"target {target}", manifest.target)
    present = set(package_folder.list_files(folder))
    for path in sorted(set(manifest.files) - present):
        raise MissingFileError(folder, f"file {path}", "none")
    known = {*package.UNLISTED, *manifest.files}
    for path in sorted(present - known):
        raise UnknownFileError(folder, "only files that package.json lists", path)
    for entry in manifest.files.values():
        _check_file(folder, entry)
    _check_safety_version(folder, manifest)
    if canary.FILE in manifest.files:  # absent in format 1 only
        raw = _read_file(folder, canary.FILE, canary.LIMIT_BYTES)
        source = folder / canary.FILE
        action = manifest.robot.action
        canary.check_tolerance(
            canary.parse(raw, source),
            action.minimum,
            action.maximum,
            manifest.step_form,
            source,
        )
    return IntactPackage(folder, manifest)


def _read_manifest(folder: Path) -> bytes:
    if not folder.is_dir():
        raise MissingFileError(
            folder, "the folder of a package", "none", "correct the path"
        )
    if not os.path.lexists(folder / package.MANIFEST):
        raise MissingFileError(
            folder,
            f"file {package.MANIFEST}",
            "none",
            "name the package's folder, such as export/pi5-cpu in a training run, or "
            "fetch the package again",
        )
    return _read_file(folder, package.MANIFEST, LIMITS.manifest_bytes)


def _statement(folder: Path, name: str, keys: TrustedKeys, role: str) -> bytes:
    raw = _read_file(folder, name, LIMITS.envelope_bytes)
    envelope = Envelope.parse(raw, folder / name)
    return keys.verify_envelope(envelope, role, statement.PAYLOAD_TYPE)


def _check_subject(source: Path, digest: str, subject: str) -> None:
    if subject != digest:
        raise WrongSubjectError(source, f"package digest {digest}", subject)


def _check_provenance(intact: IntactPackage, stated: Provenance) -> None:
    """Checks that the provenance and package.json agree."""
    manifest, metadata = intact.manifest, intact.manifest.metadata
    pairs = (
        ("dataset", metadata.dataset_manifest_digest, stated.dataset_manifest_digest),
        ("dataset name", metadata.dataset_name, stated.dataset_name),
        ("dataset version", metadata.dataset_version, stated.dataset_version),
        ("code commit", metadata.code_commit, stated.code_commit),
        ("hardware", metadata.hardware, stated.hardware),
        ("export target", manifest.target, stated.export_target),
        ("safety version", manifest.safety_version, stated.safety_version),
        ("training config", metadata.training_config, stated.training_config),
    )
    for what, expected, got in pairs:
        if expected != got:
            raise WrongSubjectError(
                intact.folder / package.PROVENANCE, f"{what} {expected}", got
            )


def _check_verdict(
    intact: IntactPackage, verdict: Blessing, allowed: Collection[str]
) -> None:
    if verdict.verdict not in allowed:
        reasons = "; ".join(verdict.reasons)
        raise NotBlessedError(
            intact.folder / package.BLESSING,
            f"verdict {' or '.join(allowed)}",
            f"{verdict.verdict}: {reasons}",
        )


def _check_evaluation(intact: IntactPackage, verdict: Blessing) -> None:
    """Checks that the report in the package is the one that the verdict rests on."""
    folder = intact.folder
    if not os.path.lexists(folder / package.EVALUATION):
        if intact.manifest.schema_version == 1:
            return
        raise MissingFileError(folder, f"file {package.EVALUATION}", "none")
    raw = _read_file(folder, package.EVALUATION, LIMITS.evaluation_bytes)
    if (found := sha256_bytes(raw)) != verdict.report_digest:
        raise DigestMismatchError(
            folder / package.EVALUATION,
            f"sha256 {verdict.report_digest}, which the blessing names",
            found,
        )
    held = evidence.find(raw, folder / package.EVALUATION)
    if held != verdict.evidence:
        raise WrongSubjectError(
            folder / package.BLESSING,
            f"a verdict on {' and '.join(held)} evidence, as its report holds",
            " and ".join(verdict.evidence),
            "bless the package again with //cloud:bless",
        )


def _check_blessing_expiry(
    intact: IntactPackage, verdict: Blessing, now: datetime
) -> None:
    if verdict.expires is not None and now >= verdict.expires:
        raise ExpiredError(
            intact.folder / package.BLESSING,
            f"an expiry after {text_forms.format_time(now)}",
            text_forms.format_time(verdict.expires),
            "evaluate and bless the package again",
        )


def _check_safety_version(folder: Path, manifest: PackageManifest) -> None:
    entry = manifest.files[package.SAFETY]
    raw = _read_file(folder, package.SAFETY, entry.size_bytes)
    source = folder / package.SAFETY
    value = decode(raw, source, LIMITS.manifest_bytes)
    optional = tuple(value) if isinstance(value, dict) else ()
    fields = Fields(value, source, ("version",), "", optional)
    if fields.text("version") != manifest.safety_version:
        raise fields.fail("version", f"to be {manifest.safety_version}")


def _check_file(folder: Path, entry: FileEntry) -> None:
    """Reads a listed file up to its signed size and compares its digest."""
    state = hashlib.sha256()
    size_bytes = 0
    descriptor = _open_plain(folder, entry.path)
    try:
        while chunk := os.read(
            descriptor, min(_CHUNK_BYTES, entry.size_bytes + 1 - size_bytes)
        ):
            size_bytes += len(chunk)
            state.update(chunk)
            if size_bytes > entry.size_bytes:
                raise OversizedError(
                    folder / entry.path, f"{entry.size_bytes} bytes", "more"
                )
    finally:
        os.close(descriptor)
    if size_bytes != entry.size_bytes:
        raise DigestMismatchError(
            folder / entry.path, f"{entry.size_bytes} bytes", f"{size_bytes} bytes"
        )
    if state.hexdigest() != entry.sha256:
        raise DigestMismatchError(
            folder / entry.path, f"sha256 {entry.sha256}", state.hexdigest()
        )


def _read_file(folder: Path, name: str, limit_bytes: int) -> bytes:
    """Returns the content of a plain file of at most `limit_bytes`."""
    descriptor = _open_plain(folder, name)
    with os.fdopen(descriptor, "rb") as stream:
        raw = stream.read(limit_bytes + 1)
    if len(raw) > limit_bytes:
        raise OversizedError(folder / name, f"at most {limit_bytes} bytes", "more")
    return raw


def _open_plain(folder: Path, name: str) -> int:
    """Opens a file that is neither a symbolic nor a hard link.

    O_NONBLOCK keeps a named pipe from blocking the open before it is refused.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / name, flags)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise MissingFileError(folder, f"file {name}", "none") from e
    except OSError as e:
        if (folder / name).is_symlink():
            raise LinkError(folder / name, "a plain file", "a symbolic link") from e
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise LinkError(folder / name, "a plain file", "a link or special file")
    return descriptor
