from pathlib import Path

import pytest

from release import dsse, package, verification
from release.errors import ThresholdNotMetError
from release.signing import sign_statements
from release.signing.private_keys import PrivateKey
from release.testing import tiny_release
from release.trusted_keys import TrustedKeys

TYPE = "application/vnd.test+json"
FIRST, SECOND = (PrivateKey.generate() for _ in range(2))


def test_key_holders_of_a_threshold_sign_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "stable.dsse.json"
    sign_statements.write_envelope(path, b"x", TYPE, [FIRST])
    sign_statements.write_envelope(path, b"x", TYPE, [SECOND])
    keys = {key.keyid: key.private.public_key() for key in (FIRST, SECOND)}
    assert dsse.verify(path.read_bytes(), keys, 2, TYPE) == b"x"


def test_signatures_of_another_payload_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "stable.dsse.json"
    sign_statements.write_envelope(path, b"x", TYPE, [FIRST])
    sign_statements.write_envelope(path, b"y", TYPE, [SECOND])
    assert list(dsse.Envelope.parse(path.read_bytes()).signatures) == [SECOND.keyid]


@pytest.mark.parametrize("old", [b"", b"not an envelope", b"{}"])
def test_a_file_that_is_not_an_envelope_is_replaced(tmp_path: Path, old: bytes) -> None:
    path = tmp_path / "stable.dsse.json"
    path.write_bytes(old)
    sign_statements.write_envelope(path, b"x", TYPE, [FIRST])
    assert dsse.Envelope.parse(path.read_bytes()).payload == b"x"
    assert [p.name for p in tmp_path.iterdir()] == ["stable.dsse.json"]


def test_a_blessing_threshold_of_two_needs_both(tmp_path: Path) -> None:
    release = tiny_release.release(tmp_path)
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    release.sign(folder)
    second = PrivateKey.generate(("blessing",))
    trusted = TrustedKeys(
        {**release.trusted.keys, second.keyid: second.trusted}, False, {"blessing": 2}
    )
    with pytest.raises(ThresholdNotMetError):
        verification.verify_package(folder, trusted, tiny_release.NOW, None, None)
    verdict = verification.verify_package(
        folder, release.trusted, tiny_release.NOW, None, None
    ).blessing
    report = tiny_release.encode_report(verdict.package_digest)
    path = sign_statements.sign_blessing(folder, verdict, report, [second])
    assert path.name == package.BLESSING
    verification.verify_package(folder, trusted, tiny_release.NOW, None, None)


def test_a_report_that_the_verdict_does_not_name_is_not_signed(tmp_path: Path) -> None:
    release = tiny_release.release(tmp_path)
    folder = tmp_path / "package"
    digest = tiny_release.write_package(folder)
    release.sign(folder)
    verdict = verification.verify_package(
        folder, release.trusted, tiny_release.NOW, None, None
    ).blessing
    for name in (package.BLESSING, package.EVALUATION):
        (folder / name).unlink()
    other = tiny_release.encode_report("0" * 64)
    with pytest.raises(ValueError, match="expected report"):
        sign_statements.sign_blessing(
            folder, verdict, other, [release.keys["blessing"]]
        )
    assert not (folder / package.EVALUATION).exists()
    assert verification.verify_integrity(folder).digest == digest
