"""A verdict names what it rests on, and cannot name anything else."""

from dataclasses import replace
from pathlib import Path

import pytest

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import MalformedError
from release import blessing, evidence, package, verification
from release.blessing import Blessing
from release.errors import WrongSubjectError
from release.testing import tiny_release
from release.testing.tiny_release import Release, sign_statements

ON_RECORDINGS = (evidence.HELD_OUT,)
ON_BOTH = (evidence.HELD_OUT, evidence.TRIALS)


def report(package_digest: str, kind: str | None) -> bytes:
    value = {"schema_version": 1, "package_digest": package_digest, "tasks": {}}
    return canonical_json.encode(value | ({} if kind is None else {"evidence": kind}))


def bless(release: Release, folder: Path, raw: bytes, kinds: tuple[str, ...]) -> None:
    ruling = Blessing(
        package_digest=verification.verify_integrity(folder).digest,
        verdict="blessed",
        reasons=("good",),
        report_digest=sha256_bytes(raw),
        issued=tiny_release.NOW,
        evidence=kinds,
    )
    sign_statements.sign_blessing(folder, ruling, raw, [release.keys["blessing"]])


def make(folder: Path) -> tuple[Release, Path]:
    release = tiny_release.release(folder)
    made = folder / "p"
    tiny_release.write_package(made)
    release.sign(made)
    (made / package.BLESSING).unlink()
    return release, made


def verify(release: Release, folder: Path) -> verification.VerifiedPackage:
    return verification.verify_package(
        folder, release.trusted, tiny_release.NOW, None, None
    )


@pytest.mark.parametrize("kinds", [(evidence.SIMULATED,), ON_RECORDINGS, ON_BOTH])
def test_blessing_names_its_evidence_and_survives_a_round_trip(
    kinds: tuple[str, ...],
) -> None:
    ruling = Blessing(
        "a" * 64, "blessed", ("good",), "b" * 64, tiny_release.NOW, evidence=kinds
    )
    raw = ruling.statement()
    assert blessing.parse(raw) == ruling
    assert (b'"evidence"' in raw) == (kinds != (evidence.SIMULATED,))


def test_blessing_from_before_there_was_other_evidence_rests_on_simulation() -> None:
    ruling = Blessing("a" * 64, "blessed", ("good",), "b" * 64, tiny_release.NOW)
    assert b"evidence" not in ruling.statement()
    assert blessing.parse(ruling.statement()).evidence == (evidence.SIMULATED,)


@pytest.mark.parametrize(
    "kinds", [(), ("trials", "held-out"), ("held-out", "held-out"), ("driven",)]
)
def test_evidence_that_is_none_cannot_be_named(kinds: tuple[str, ...]) -> None:
    ruling = Blessing("a" * 64, "blessed", ("good",), "b" * 64, tiny_release.NOW)
    with pytest.raises(ValueError, match="in that order"):
        replace(ruling, evidence=kinds)
    raw = replace(ruling, evidence=ON_BOTH).statement()
    other = canonical_json.encode(list(kinds))
    changed = raw.replace(canonical_json.encode(list(ON_BOTH)), other)
    assert changed != raw
    with pytest.raises(MalformedError, match="evidence"):
        blessing.parse(changed)


@pytest.mark.parametrize(
    ("held", "claimed"),
    [
        (evidence.HELD_OUT, (evidence.SIMULATED,)),
        (evidence.TRIALS, (evidence.SIMULATED,)),
        (None, ON_RECORDINGS),
        (evidence.HELD_OUT, ON_BOTH),
    ],
)
def test_signed_verdict_that_names_other_evidence_than_its_report_is_refused(
    tmp_path: Path, held: str | None, claimed: tuple[str, ...]
) -> None:
    release, folder = make(tmp_path)
    digest = verification.verify_integrity(folder).digest
    bless(release, folder, report(digest, held), claimed)
    with pytest.raises(WrongSubjectError, match="evidence, as its report holds"):
        verify(release, folder)


def test_package_blessed_on_recordings_and_trials_verifies_and_says_so(
    tmp_path: Path,
) -> None:
    release, folder = make(tmp_path)
    digest = verification.verify_integrity(folder).digest
    parts = [report(digest, kind) for kind in ON_BOTH]
    raw = evidence.join(parts, "x")
    assert list(evidence.split(raw, "x").values()) == parts
    bless(release, folder, raw, ON_BOTH)
    assert verify(release, folder).blessing.evidence == ON_BOTH


def test_reports_are_joined_in_one_order_and_the_only_one_is_left_alone() -> None:
    one, two = report("a" * 64, None), report("a" * 64, evidence.TRIALS)
    assert evidence.join([two, one], "x") == evidence.join([two, one], "x")
    assert tuple(evidence.split(evidence.join([two, one], "x"), "x")) == (
        evidence.SIMULATED,
        evidence.TRIALS,
    )
    assert evidence.join([one], "x") == one


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"evidence": "driven"},
        {"evidence": ["held-out"]},
        {"schema_version": 1, "reports": []},
        {"schema_version": 1, "reports": [{}, {}]},
        {"schema_version": 1, "reports": [1]},
        {"schema_version": 2, "reports": [{}]},
        {"schema_version": 1, "reports": {}, "evidence": "trials"},
    ],
)
def test_file_that_holds_no_reports_is_malformed(value: object) -> None:
    with pytest.raises(MalformedError):
        evidence.split(canonical_json.encode(value), "x")
