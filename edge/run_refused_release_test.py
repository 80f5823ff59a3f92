"""The robot's program refuses a release, and the package before drives on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.testing import processes, program_runs, tampering, tiny_package
from edge.testing.program_runs import channel_flags, check_refused, run
from edge.testing.tiny_package import Publisher
from release import package
from release.testing.tiny_release import PrivateKey


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return program_runs.write_episode(tmp_path)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return program_runs.publish_first(tmp_path)


def offer_unsigned(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    tampering.remove_signatures(publisher)


def offer_wrongly_signed(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    tampering.replace_record(publisher, key=PrivateKey.generate(development=True))


def offer_expired(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    tampering.replace_record(publisher, expires=datetime.now(UTC) - timedelta(hours=1))


def offer_wrong_target(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    folder = publisher.folder / "jetson"
    digest = tiny_package.write_package(folder, 2, target="jetson-cuda")
    tiny_package.sign_package(folder, digest, publisher.key)
    tampering.replace_tar(publisher, package.pack_tar(folder), digest)


def offer_unblessed(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    folder = publisher.folder / "package-2"
    (folder / package.BLESSING).unlink()
    tampering.replace_tar(publisher, package.pack_tar(folder))


def offer_blessed_by_another_key(publisher: Publisher, _: bytes) -> None:
    digest = publisher.release(2, now=datetime.now(UTC))
    folder = publisher.folder / "package-2"
    trusted = (folder / package.PROVENANCE).read_bytes()
    other = PrivateKey.generate(development=True)
    tiny_package.sign_package(folder, digest, other)
    (folder / package.PROVENANCE).write_bytes(trusted)
    tampering.replace_tar(publisher, package.pack_tar(folder))


def offer_older(publisher: Publisher, first: bytes) -> None:
    tampering.envelope(publisher).write_bytes(first)


def offer_path_traversal(publisher: Publisher, _: bytes) -> None:
    publisher.release(2, now=datetime.now(UTC))
    raw = tampering.tar_entry("../../escaped") + bytes(2 * tampering.BLOCK_BYTES)
    tampering.replace_tar(publisher, raw)


@pytest.mark.parametrize(
    ("offer", "match"),
    [
        (offer_unsigned, "signature"),
        (offer_wrongly_signed, "key"),
        (offer_expired, "expiry"),
        (offer_wrong_target, "pi5-cpu"),
        (offer_unblessed, "blessing.intoto.jsonl, got none"),
        (
            offer_blessed_by_another_key,
            "blessing.intoto.jsonl: expected a signature by",
        ),
        (offer_older, "above 2"),
        (offer_path_traversal, "../../escaped"),
    ],
)
def test_refused_release_leaves_the_active_package_and_no_other_file(
    tmp_path: Path,
    publisher: Publisher,
    episode: Path,
    offer: Callable[[Publisher, bytes], None],
    match: str,
) -> None:
    first = tampering.envelope(publisher).read_bytes()
    publisher.release(1, now=datetime.now(UTC))
    flags = channel_flags(publisher, episode, tmp_path)
    assert run(*flags, "--allow_development_keys").returncode == 0
    offer(publisher, first)
    before = processes.read_tree(tmp_path)
    folders = {path for path in tmp_path.rglob("*") if path.is_dir()}
    check_refused(1, match, *flags, "--allow_development_keys")
    assert "state/current" in before
    after = processes.read_tree(tmp_path)
    after.pop("state/refused", None)
    assert after == before
    assert {path for path in tmp_path.rglob("*") if path.is_dir()} == folders
    flags[0] = "--offline"
    assert run(*flags, "--allow_development_keys").returncode == 0


def test_unreachable_store_stops_a_run_but_not_with_offline_if_update_fails(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    unit = [*flags, "--offline_if_update_fails"]
    publisher.root.rename(tmp_path / "away")
    check_refused(1, "publish one, as //cloud:train does", *unit)
    (tmp_path / "away").rename(publisher.root)
    assert run(*flags).returncode == 0
    publisher.root.rename(tmp_path / "away")
    check_refused(1, "; --offline instead of --channel runs what is installed", *flags)
    done = run(*unit)
    assert done.returncode == 0, done.stderr
    why, what, package = done.stderr.splitlines()
    assert "nightly.json: expected a channel, got no channels/nightly.dsse.json" in why
    assert what == "run: the update failed; running what is installed"
    assert "release 1: kept" in package
    assert "step latency" in done.stdout


def test_robot_runs_when_its_channel_has_expired_but_not_with_a_damaged_package(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = [*channel_flags(publisher, episode, tmp_path), "--allow_development_keys"]
    unit = [*flags, "--offline_if_update_fails"]
    assert run(*flags).returncode == 0
    offer_expired(publisher, b"")
    done = run(*unit)
    assert done.returncode == 0, done.stderr
    assert "expiry" in done.stderr.splitlines()[0]
    (weights,) = (tmp_path / "state").rglob("weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    check_refused(1, "expiry", *unit)


def test_development_key_without_its_flag_activates_nothing(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    flags = channel_flags(publisher, episode, tmp_path)
    check_refused(1, "development key", *flags)
    assert not (tmp_path / "state" / "current").exists()
    assert list((tmp_path / "state" / "packages").iterdir()) == []
