"""Attacks on packages, one per test, each named after the attack.

Every refusal asserts that the attacked folder has not changed.
"""

import dataclasses
import json
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from base import canonical_json
from base.errors import ContinuonError, MalformedError, OversizedError, UnsafePathError
from release import package, verification
from release.canary import Expectation
from release.errors import (
    BadSignatureError,
    DevelopmentKeyError,
    DigestMismatchError,
    ExpiredError,
    LinkError,
    MissingFileError,
    NotBlessedError,
    TimeTooFarError,
    UnknownFileError,
    UnknownKeyError,
    UnsignedError,
    WrongRoleError,
    WrongSubjectError,
    WrongTargetError,
)
from release.testing import tiny_release
from release.testing.tiny_release import Release, sign_statements
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedPackage

NOW = tiny_release.NOW
SECOND = timedelta(seconds=1)
DAY = verification.CLOCK_TOLERANCE


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return tiny_release.release(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, release: Release) -> Path:
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    release.sign(folder)
    return folder


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Returns link target, content or None (folder) of every path below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        for path in folder.rglob("*")
    }


def accepted(
    release: Release,
    folder: Path,
    digest: str | None = None,
    target: str = "pi5-cpu",
    now: datetime = NOW,
) -> VerifiedPackage:
    return verification.verify_package(folder, release.trusted, now, target, digest)


def refused(
    release: Release,
    folder: Path,
    error: type[Exception],
    match: str | None = None,
    **arguments: Any,
) -> None:
    before = content(folder)
    with pytest.raises(error, match=match):
        accepted(release, folder, **arguments)
    assert content(folder) == before


def test_a_signed_package_verifies_as_a_whole(release: Release, folder: Path) -> None:
    digest = verification.verify_integrity(folder).digest
    verified = accepted(release, folder, digest)
    assert verified.digest == digest
    assert (
        verified.path("safety.json").read_bytes() == tiny_release.FILES["safety.json"]
    )
    assert verified.blessing.verdict == "blessed"
    assert verified.provenance.run_id == "run-1"
    with pytest.raises(MissingFileError):
        verified.path("package.json")


def test_package_signed_by_an_unknown_key(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    stranger = tiny_release.release(tmp_path / "stranger")
    (folder / "weights.safetensors").write_bytes(b"evil")
    tiny_release.write_package(
        folder, {**tiny_release.FILES, "weights.safetensors": b"evil"}
    )
    stranger.sign(folder)
    refused(release, folder, UnknownKeyError)


def test_another_signed_package_instead_of_the_expected_one(
    release: Release, folder: Path
) -> None:
    named = verification.verify_integrity(folder).digest
    tiny_release.write_package(folder, version="0.0.9")
    release.sign(folder)
    refused(release, folder, DigestMismatchError, named, digest=named)


@pytest.mark.parametrize("name", package.STATEMENTS)
def test_unsigned_without_a_statement(
    release: Release, folder: Path, name: str
) -> None:
    (folder / name).unlink()
    refused(release, folder, MissingFileError, name)


@pytest.mark.parametrize("name", package.STATEMENTS)
def test_unsigned_with_a_statement_without_signatures(
    release: Release, folder: Path, name: str
) -> None:
    value = json.loads((folder / name).read_bytes())
    value["signatures"] = []
    (folder / name).write_bytes(json.dumps(value).encode())
    refused(release, folder, UnsignedError)


@pytest.mark.parametrize("name", package.STATEMENTS)
def test_wrongly_signed(release: Release, folder: Path, name: str) -> None:
    value = json.loads((folder / name).read_bytes())
    value["signatures"][0]["sig"] = "A" * 86 + "=="
    (folder / name).write_bytes(json.dumps(value).encode())
    refused(release, folder, BadSignatureError)


def test_right_digest_under_a_revoked_key(release: Release, folder: Path) -> None:
    digest = verification.verify_integrity(folder).digest
    keys = {
        keyid: key
        for keyid, key in release.trusted.keys.items()
        if "blessing" not in key.roles
    }
    before = content(folder)
    with pytest.raises(UnknownKeyError):
        verification.verify_package(
            folder, TrustedKeys(keys, False), NOW, "pi5-cpu", digest
        )
    assert content(folder) == before


def test_a_blessing_by_the_provenance_key(release: Release, folder: Path) -> None:
    release.bless(folder, role="provenance")
    refused(release, folder, WrongRoleError, "role blessing")


def test_a_provenance_envelope_instead_of_the_blessing(
    release: Release, folder: Path
) -> None:
    shutil.copyfile(folder / package.PROVENANCE, folder / package.BLESSING)
    refused(release, folder, WrongRoleError)


def test_a_blessing_of_another_package(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    other = tmp_path / "other"
    tiny_release.write_package(other, version="0.0.9")
    release.sign(other)
    shutil.copyfile(other / package.BLESSING, folder / package.BLESSING)
    refused(release, folder, WrongSubjectError)
    release.sign(folder)
    shutil.copyfile(other / package.PROVENANCE, folder / package.PROVENANCE)
    refused(release, folder, WrongSubjectError)


@pytest.mark.parametrize("verdict", ["refused", "undecided"])
def test_a_signed_verdict_that_is_not_a_blessing(
    release: Release, folder: Path, verdict: str
) -> None:
    release.sign(folder, verdict)
    refused(release, folder, NotBlessedError, verdict)


def test_an_expired_blessing(release: Release, folder: Path) -> None:
    release.bless(folder, expires=NOW + SECOND)
    accepted(release, folder)
    refused(release, folder, ExpiredError, now=NOW + SECOND)


@pytest.mark.parametrize("late", ["provenance", "blessing"])
def test_a_statement_issued_in_the_future_is_refused(
    release: Release, folder: Path, late: str
) -> None:
    stated = accepted(release, folder).provenance
    times = dict.fromkeys(["provenance", "blessing"], NOW)
    for margin, error in ((DAY, None), (DAY + SECOND, TimeTooFarError)):
        times[late] = NOW + margin
        origin = dataclasses.replace(stated, finished=times["provenance"])
        sign_statements.sign_provenance(folder, origin, [release.keys["provenance"]])
        release.bless(folder, issued=times["blessing"])
        if error is None:
            accepted(release, folder)
        else:
            refused(release, folder, error, f"{late}.*time of issue up to")


def test_a_package_that_was_admitted_before_has_no_expiry(
    release: Release, folder: Path
) -> None:
    digest = verification.verify_integrity(folder).digest
    release.bless(folder, expires=NOW + SECOND)
    refused(release, folder, ExpiredError, now=NOW + SECOND)
    verification.verify_package(folder, release.trusted, None, "pi5-cpu", digest)


def test_development_keys_are_refused_unless_allowed(
    tmp_path: Path, folder: Path
) -> None:
    developer = tiny_release.release(tmp_path / "developer", development=True)
    developer.sign(folder)
    for name in package.STATEMENTS:
        (folder / name).unlink()
    developer.sign(folder)
    accepted(developer, folder)
    strict = TrustedKeys(developer.trusted.keys, allow_development=False)
    with pytest.raises(DevelopmentKeyError, match="--allow_development_keys"):
        verification.verify_package(folder, strict, NOW, "pi5-cpu", None)


def test_a_canary_without_its_expected_error(folder: Path) -> None:
    tiny_release.write_package(folder, {**tiny_release.FILES, "canary.json": b"{}"})
    with pytest.raises(MalformedError, match=r"canary\.json: expected field"):
        verification.verify_integrity(folder)


def test_a_canary_with_a_tolerance_that_every_step_passes(folder: Path) -> None:
    enormous = Expectation(0.5, 1.0, steps=1).encode()
    tiny_release.write_package(folder, {**tiny_release.FILES, "canary.json": enormous})
    with pytest.raises(MalformedError, match=r"canary\.json: expected a tolerance of"):
        verification.verify_integrity(folder)


def test_wrong_target(release: Release, folder: Path) -> None:
    refused(release, folder, WrongTargetError, "jetson-cuda", target="jetson-cuda")
    with pytest.raises(WrongTargetError):
        verification.verify_integrity(folder, "tpu")


def test_extra_file(release: Release, folder: Path) -> None:
    (folder / "functions" / "extra.so").write_bytes(b"evil")
    refused(release, folder, UnknownFileError, r"functions/extra\.so")


def test_extra_empty_folder(release: Release, folder: Path) -> None:
    (folder / "empty").mkdir()
    refused(release, folder, UnknownFileError)


@pytest.mark.parametrize("name", [*tiny_release.FILES, "package.json"])
def test_missing_file(release: Release, folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(release, folder, ContinuonError)
    with pytest.raises((MissingFileError, UnknownFileError)):
        verification.verify_integrity(folder)


@pytest.mark.parametrize("name", [*tiny_release.FILES, *package.UNLISTED])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_bit_flip_in_any_file(
    release: Release, folder: Path, name: str, where: str
) -> None:
    digest = verification.verify_integrity(folder).digest
    data = bytearray((folder / name).read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[where]] ^= 1
    (folder / name).write_bytes(data)
    refused(release, folder, ContinuonError, digest=digest)
    if name in tiny_release.FILES:
        with pytest.raises(DigestMismatchError, match=name):
            verification.verify_integrity(folder)


@pytest.mark.parametrize("name", tiny_release.FILES)
def test_a_file_longer_or_shorter_than_signed(
    release: Release, folder: Path, name: str
) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data + b"x")
    refused(release, folder, OversizedError, name)
    (folder / name).write_bytes(data[:-1])
    refused(release, folder, DigestMismatchError, name)


@pytest.mark.parametrize(
    "name",
    ["safety.json", "package.json", package.BLESSING, "evaluation.json", "functions"],
)
def test_symlink_to_the_same_content(
    tmp_path: Path, release: Release, folder: Path, name: str
) -> None:
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(release, folder, LinkError)


def test_dangling_symlink(release: Release, folder: Path) -> None:
    (folder / "safety.json").unlink()
    (folder / "safety.json").symlink_to("nosuch")
    refused(release, folder, LinkError)


@pytest.mark.parametrize(
    "name", ["safety.json", "package.json", package.BLESSING, package.EVALUATION]
)
def test_hardlink_to_the_same_content(
    tmp_path: Path, release: Release, folder: Path, name: str
) -> None:
    os.link(folder / name, tmp_path / "second_name")
    refused(release, folder, LinkError)


@pytest.mark.parametrize("name", ["safety.json", "package.json"])
def test_a_named_pipe_does_not_hang_the_check(
    release: Release, folder: Path, name: str
) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(LinkError):
        verification.verify_integrity(folder)


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "functions/../../x"])
def test_path_traversal_in_package_json(
    tmp_path: Path, release: Release, folder: Path, path: str
) -> None:
    (tmp_path / "outside").write_bytes(b"weights")
    value = json.loads((folder / "package.json").read_bytes())
    value["files"][0]["path"] = path
    value["files"].sort(key=lambda entry: entry["path"])
    (folder / "package.json").write_bytes(canonical_json.encode(value))
    before = content(folder)
    with pytest.raises(UnsafePathError):
        verification.verify_integrity(folder)
    assert content(folder) == before


def test_duplicate_names_in_package_json(folder: Path) -> None:
    raw = (folder / "package.json").read_bytes()
    raw = raw.replace(b'"version":"0.1.0"', b'"version":"9.9.9","version":"0.1.0"')
    (folder / "package.json").write_bytes(raw)
    with pytest.raises(MalformedError):
        verification.verify_integrity(folder)


def test_package_json_is_not_parsed_before_its_digest_is_signed(
    release: Release, folder: Path
) -> None:
    (folder / "package.json").write_bytes(b"not JSON at all")
    refused(release, folder, WrongSubjectError)


def test_endless_package_json_is_read_up_to_its_limit(folder: Path) -> None:
    with (folder / "package.json").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OversizedError, match="at most 1048576 bytes"):
        verification.verify_integrity(folder)


def test_endless_file_is_read_up_to_its_signed_size(
    release: Release, folder: Path
) -> None:
    with (folder / "weights.safetensors").open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OversizedError, match="7 bytes"):
        accepted(release, folder)


def test_a_safety_config_of_another_version_than_listed(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    value = json.loads((folder / "package.json").read_bytes())
    value["safety_version"] = "safety-2"
    (folder / "package.json").write_bytes(canonical_json.encode(value))
    with pytest.raises(MalformedError, match="safety-2"):
        verification.verify_integrity(folder)


LIES: dict[str, object] = {
    "code_commit": "f" * 40,
    "dataset_manifest_digest": "f" * 64,
    "dataset_name": "other",
    "dataset_version": "2.0.0",
    "hardware": "another machine",
    "training_config": {},
    "safety_version": "safety-2",
    "export_target": "tpu",
}


@pytest.mark.parametrize("field", LIES)
def test_a_provenance_that_contradicts_package_json(
    release: Release, folder: Path, field: str
) -> None:
    stated = accepted(release, folder).provenance
    lie = type(stated)(**{**vars(stated), field: LIES[field]})
    sign_statements.sign_provenance(folder, lie, [release.keys["provenance"]])
    refused(release, folder, WrongSubjectError, field.split("_")[0])


def test_a_provenance_that_does_not_name_the_dataset_of_the_package(
    release: Release, folder: Path
) -> None:
    stated = accepted(release, folder).provenance
    silent = dataclasses.replace(stated, dataset_name=None, dataset_version=None)
    sign_statements.sign_provenance(folder, silent, [release.keys["provenance"]])
    refused(release, folder, WrongSubjectError, "dataset name tiny, got None")


def test_a_package_without_the_report_of_its_verdict(
    release: Release, folder: Path
) -> None:
    (folder / "evaluation.json").unlink()
    refused(release, folder, MissingFileError, r"file evaluation\.json, got none")


def test_a_package_with_another_report_than_its_verdict_names(
    release: Release, folder: Path
) -> None:
    (folder / "evaluation.json").write_bytes(tiny_release.encode_report("0" * 64))
    match = r"evaluation\.json: expected sha256 .* which the blessing names"
    refused(release, folder, DigestMismatchError, match)
    with (folder / "evaluation.json").open("wb") as endless:
        endless.truncate(1 << 40)
    with pytest.raises(OversizedError, match=r"evaluation\.json"):
        accepted(release, folder)


def as_first_format(folder: Path) -> None:
    """Turns a package into one of format 1, as it was made before there was a 2."""
    value = json.loads((folder / "package.json").read_bytes())
    value["schema_version"] = 1
    del value["metadata"]["dataset_name"], value["metadata"]["dataset_version"]
    del value["robot"]["robot_model"]
    for name in (*package.STATEMENTS, package.EVALUATION):
        (folder / name).unlink()
    (folder / "package.json").write_bytes(canonical_json.encode(value))


def test_a_package_of_the_first_format_needs_no_report(
    release: Release, folder: Path
) -> None:
    as_first_format(folder)
    release.sign(folder)
    (folder / "evaluation.json").unlink()
    accepted(release, folder)


def test_a_time_without_a_zone_raises_value_error(
    release: Release, folder: Path
) -> None:
    with pytest.raises(ValueError, match="time zone"):
        accepted(release, folder, now=datetime(2026, 1, 31))


def test_a_missing_folder_or_package_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nosuch: .* package, got none"):
        verification.verify_integrity(tmp_path / "nosuch")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match=r"file package\.json, got none"):
        verification.verify_integrity(tmp_path / "empty")


@pytest.mark.parametrize("verdict", ["blessed", "undecided"])
def test_package_that_was_not_refused_may_be_tried_on_a_robot(
    tmp_path: Path, verdict: str
) -> None:
    release = tiny_release.release(tmp_path)
    folder = tmp_path / "p"
    digest = tiny_release.write_package(folder)
    release.sign(folder)
    release.bless(folder, verdict=verdict, reason="few episodes")
    found = verification.verify_for_trials(folder, release.trusted, NOW, None)
    assert found.digest == digest


def test_package_that_was_refused_or_is_not_signed_does_not_drive_a_robot(
    tmp_path: Path,
) -> None:
    release = tiny_release.release(tmp_path)
    folder = tmp_path / "p"
    tiny_release.write_package(folder)
    with pytest.raises(MissingFileError):
        verification.verify_for_trials(folder, release.trusted, NOW, None)
    release.sign(folder)
    release.bless(folder, verdict="refused", reason="too far away")
    with pytest.raises(NotBlessedError, match="blessed or undecided, got refused"):
        verification.verify_for_trials(folder, release.trusted, NOW, None)
