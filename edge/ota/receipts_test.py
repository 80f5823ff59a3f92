from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from base.errors import ContinuonError, DiskError
from edge.episodes import robot_key
from edge.ota.decide import Origin
from edge.ota.receipts import MOST, Receipts
from edge.testing.tiny_package import NOW
from rlds import receipt
from rlds.errors import ReceiptSignatureError

KEY = robot_key.derive_simulated("sim-00")
PACKAGE, BEFORE, DELTA = "ab" * 32, "cd" * 32, "ef" * 32


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(tmp_path / "receipts", KEY, "sim-00")


def enrolled(root: Path) -> dict[str, Ed25519PublicKey]:
    """The keys that lie beside the receipts, as an upload would find them."""
    return {KEY.keyid: robot_key.read_public(root, KEY.keyid)}


def test_receipt_lies_where_the_store_has_it_and_verifies(
    tmp_path: Path, receipts: Receipts
) -> None:
    path = receipts.write(
        NOW,
        receipt.FELL_BACK,
        PACKAGE,
        package_before=BEFORE,
        release_counter=7,
        channel="stable",
        origin=Origin.CHANNEL,
        reason="3 of 5 episodes ended by a stop rule",
        counts={"episodes": 5, "stopped": 3},
    )
    root = tmp_path / "receipts"
    assert path.relative_to(root).as_posix() == (
        f"receipts_v0/robot_hash={KEY.robot_hash('sim-00')}"
        "/20260203T080000Z-fell_back-7-abababababab.json"
    )
    read = receipt.verify(path.read_bytes(), enrolled(root), path)
    assert (read.package_digest, read.package_before) == (PACKAGE, BEFORE)
    assert (read.origin, read.channel, read.counts["stopped"]) == (
        "channel",
        "stable",
        3,
    )
    path.write_bytes(path.read_bytes().replace(b'"stopped":3', b'"stopped":0'))
    with pytest.raises(ReceiptSignatureError):
        receipt.verify(path.read_bytes(), enrolled(root), path)


def test_receipt_that_is_written_again_stays_as_it_is(receipts: Receipts) -> None:
    path = receipts.write(NOW, receipt.INSTALLED, PACKAGE, release_counter=1)
    raw, inode = path.read_bytes(), path.stat().st_ino
    assert receipts.write(NOW, receipt.INSTALLED, PACKAGE, release_counter=1) == path
    assert (path.read_bytes(), path.stat().st_ino) == (raw, inode)
    assert receipts.list_paths() == [path]


def test_receipt_is_found_by_what_it_is_about(receipts: Receipts) -> None:
    receipts.write(NOW, receipt.LEARNED, PACKAGE, delta_digest=DELTA)
    receipts.write(NOW, receipt.REFUSED, "", release_counter=3)
    assert receipts.has(receipt.LEARNED, 0, DELTA)
    assert receipts.has(receipt.REFUSED, 3, "")
    assert not receipts.has(receipt.REFUSED, 33, "")
    assert not receipts.has(receipt.LEARNED, 0, PACKAGE)
    assert not receipts.has(receipt.COMMITTED, 3, "")


def test_newest_receipts_of_each_outcome_are_kept(receipts: Receipts) -> None:
    receipts.write(NOW, receipt.INSTALLED, PACKAGE)
    for second in range(MOST + 3):
        receipts.write(NOW + timedelta(seconds=second), receipt.REFUSED, PACKAGE)
    names = [path.name for path in receipts.list_paths()]
    assert len(names) == MOST + 1
    assert "20260203T080000Z-installed-0-abababababab.json" in names
    assert not receipts.has(receipt.REFUSED, 1, PACKAGE)
    assert not any("080002Z-refused" in name for name in names)
    assert any("080003Z-refused" in name for name in names)


def test_reason_names_no_folder_of_this_machine(receipts: Receipts) -> None:
    why = "/home/jane/robot/packages/step.tflite: expected 1/2 of it, got file:///a/b c"
    path = receipts.write(NOW, receipt.REFUSED, PACKAGE, reason=why)
    reason = receipt.parse(path.read_bytes()).reason
    assert reason == "step.tflite: expected 1/2 of it, got b c"


def test_folder_that_cannot_be_made_is_a_disk_error(
    tmp_path: Path, receipts: Receipts
) -> None:
    (tmp_path / "receipts").symlink_to(tmp_path / "disk")  # which is not there
    with pytest.raises(DiskError):
        receipts.write(NOW, receipt.INSTALLED, PACKAGE)
    assert not receipts.has(receipt.INSTALLED, 0, PACKAGE)
    with pytest.raises(ContinuonError):
        robot_key.read_public(tmp_path / "receipts", KEY.keyid)
