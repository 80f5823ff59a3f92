"""Publishes as key holders do: signed elsewhere, by several, and after a theft."""

import dataclasses
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base import text_forms
from base.digest import sha256_bytes
from base.testing import command as command_testing
from release import channel, package
from release.signing.private_keys import PrivateKey
from release.testing import tiny_release
from release.testing.tiny_release import Release
from release.trusted_keys import TrustedKey, TrustedKeys

NIGHTLY = "channel:nightly"


def done(command: str, *arguments: str) -> str:
    finished = command_testing.run(f"release.commands.{command}", *arguments)
    assert (finished.code, finished.err) == (0, "")
    return finished.out


def failed(command: str, *arguments: str) -> str:
    finished = command_testing.run(f"release.commands.{command}", *arguments)
    assert (finished.code, finished.out) == (1, ""), finished.err
    assert finished.err.count("\n") == 1
    return finished.err


def read_store(release: Release) -> dict[str, bytes]:
    return {
        name: release.store.get(name, 1 << 20)
        for name in sorted(release.store.list(""))
    }


class Holders:
    """Two key holders of the stable channel, a store, and the keyring of the robots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.release = tiny_release.release(folder)
        self.ring = folder / "keyring.json"
        second = PrivateKey.generate(("channel:stable",))
        for number, key in enumerate((self.release.keys["channel:stable"], second)):
            key.write_new(folder / f"holder{number}.json")
        self.trusted = TrustedKeys.from_keys(
            *(*self.release.trusted.keys.values(), second.trusted),
            allow_development=False,
            thresholds={"channel:stable": 2},
        )
        self.ring.write_bytes(self.trusted.encode())

    def make_package(self, name: str, release_counter: int = 0) -> Path:
        """Makes a signed package; its name is its version too."""
        folder = self.folder / name
        tiny_release.write_package(
            folder, version=name, release_counter=release_counter
        )
        self.release.sign(folder)
        folder.with_suffix(".tar").write_bytes(package.pack_tar(folder))
        return folder

    def make_channel(self, folder: Path, counter: int, *more: str) -> Path:
        """Makes the unsigned channel file of a release; returns it."""
        file = self.folder / f"stable-{counter}.json"
        now = datetime.now(UTC)
        blessing = (folder / package.BLESSING).read_bytes()
        shown = done(
            "make_channel",
            "--channel=stable",
            f"--release_counter={counter}",
            f"--tar={folder.with_suffix('.tar')}",
            f"--issued={text_forms.format_time(now)}",
            f"--expires={text_forms.format_time(now + timedelta(days=399))}",
            "--run_id=run-1",
            f"--blessing={sha256_bytes(blessing)}",
            f"--output={file}",
            *more,
        )
        assert shown == f"channel  {file} (sha256 {sha256_bytes(file.read_bytes())})\n"
        return file

    def sign(self, file: Path, number: int) -> Path:
        """One key holder signs; returns the envelope."""
        envelope = file.with_suffix(".dsse.json")
        done(
            "sign",
            "--role=channel:stable",
            f"--channel_file={file}",
            f"--output={envelope}",
            f"--key_file={self.folder / f'holder{number}.json'}",
        )
        return envelope

    def publish(self, folder: Path, envelope: Path) -> tuple[str, ...]:
        """The command line that publishes the envelope."""
        return (
            "publish",
            f"--store={self.release.store.uri}",
            "--channel=stable",
            f"--package={folder}",
            f"--channel_envelope={envelope}",
            f"--keyring={self.ring}",
        )


def test_a_channel_signed_by_two_key_holders_is_published(tmp_path: Path) -> None:
    holders = Holders(tmp_path)
    first = holders.make_package("0.1.0")
    file = holders.make_channel(first, 1)
    publish = holders.publish(first, holders.sign(file, 0))
    assert "expected good signatures by 2 keys, got 1" in failed(*publish)
    assert read_store(holders.release) == {}
    holders.sign(file, 1)
    assert "stable.json (release 1)" in done(*publish)

    second = holders.make_package("0.2.0")
    file = holders.make_channel(second, 2, f"--previous={file}")
    holders.sign(file, 0)
    assert "stable.json (release 2)" in done(
        *holders.publish(second, holders.sign(file, 1))
    )
    uri = f"--channel={holders.release.store.uri}/channels/stable.json"
    shown = done("verify", uri, f"--keyring={holders.ring}", "--last_counter=1")
    assert (
        f"pi5-cpu  {package.parse((second / package.MANIFEST).read_bytes()).digest}"
        in (shown)
    )


def test_a_signed_channel_that_robots_would_refuse_is_not_published(
    tmp_path: Path,
) -> None:
    holders = Holders(tmp_path)
    first = holders.make_package("0.1.0")
    late = holders.make_package("0.2.0", release_counter=9)
    published = holders.make_channel(first, 3)
    holders.sign(published, 0)
    done(*holders.publish(first, holders.sign(published, 1)))
    before = read_store(holders.release)
    on_top = f"--previous={published}"
    cases: dict[str, tuple[Path, int, tuple[str, ...], Path]] = {
        "a release counter above 3, got 2": (first, 2, (on_top,), first),
        r"expected previous Previous\(": (first, 4, (), first),
        "a tar of sha256 .*, got another": (first, 9, (on_top,), late),
        "a release counter of at least 9, below which": (late, 8, (on_top,), late),
    }
    for match, (offered, counter, more, folder) in cases.items():
        shutil.copyfile(offered.with_suffix(".tar"), tmp_path / "offered.tar")
        file = channel_of(holders, offered, counter, more)
        holders.sign(file, 0)
        error = failed(*holders.publish(folder, holders.sign(file, 1)))
        assert re.search(match, error), error
        assert read_store(holders.release) == before


def channel_of(
    holders: Holders, folder: Path, counter: int, more: tuple[str, ...]
) -> Path:
    """Makes a channel file that `make_channel` would refuse to make, if need be."""
    file = holders.make_channel(folder, max(counter, 9), *more)
    record = dataclasses.replace(
        channel.parse(file.read_bytes()), release_counter=counter
    )
    file.write_bytes(record.encode())
    return file


def without_role(keys: Mapping[str, TrustedKey], role: str) -> list[TrustedKey]:
    """The keys of a keyring that does not let them sign in a role any more."""
    return [
        dataclasses.replace(key, roles=tuple(r for r in key.roles if r != role))
        for key in keys.values()
        if key.roles != (role,)
    ]


@pytest.mark.parametrize("step", [1, channel.LARGEST_COUNTER_STEP])
def test_a_channel_is_taken_back_from_whoever_stole_its_key(
    tmp_path: Path, step: int
) -> None:
    """By the steps of the README; robots are those that ask with a `last_counter`."""
    release = tiny_release.release(tmp_path)
    good, other = tmp_path / "good", tmp_path / "other"
    for folder, version in ((good, "0.1.0"), (other, "0.0.9")):
        tiny_release.write_package(folder, version=version)
        release.sign(folder)
    stolen, new = tmp_path / "stolen.json", tmp_path / "new.json"
    release.keys[NIGHTLY].write_new(stolen)
    old_ring, ring = tmp_path / "old_ring.json", tmp_path / "ring.json"
    old_ring.write_bytes(release.trusted.encode())
    envelope = tmp_path / "store" / channel.envelope_path("nightly")
    uri = f"--channel={release.store.uri}/channels/nightly.json"

    def publish(folder: Path, key: Path, keyring: Path, *more: str) -> tuple[str, ...]:
        return (
            "publish",
            f"--store={release.store.uri}",
            "--channel=nightly",
            f"--package={folder}",
            f"--key_file={key}",
            f"--keyring={keyring}",
            *more,
        )

    assert "(release 1)" in done(*publish(good, stolen, old_ring))
    last_good = tmp_path / "nightly.json"
    shutil.copyfile(tmp_path / "store/channels/nightly.json", last_good)
    theirs = 1 + step
    done(*publish(other, stolen, old_ring, f"--release_counter={theirs}"))

    # A keyring without the stolen key, and the last good channel signed by a new one.
    ring.write_bytes(
        TrustedKeys.from_keys(
            *without_role(release.trusted.keys, NIGHTLY), allow_development=False
        ).encode()
    )
    replacement = PrivateKey.generate((NIGHTLY,))
    replacement.write_new(new)
    trusted = TrustedKeys.read(ring, allow_development=False)
    ring.write_bytes(
        TrustedKeys.from_keys(
            *trusted.keys.values(), replacement.trusted, allow_development=False
        ).encode()
    )
    assert "expected a signature by" in failed("verify", uri, f"--keyring={ring}")
    assert "expected a signature by" in failed(*publish(good, new, ring))
    done(
        "sign",
        f"--role={NIGHTLY}",
        f"--channel_file={last_good}",
        f"--output={envelope}",
        f"--key_file={new}",
    )

    def ask(last_counter: int) -> tuple[str, ...]:
        return "verify", uri, f"--keyring={ring}", f"--last_counter={last_counter}"

    # First under the thief's counter, for the robots that never saw the thief.
    done(*publish(good, new, ring, f"--release_counter={theirs}"))
    assert f"release {theirs}" in done(*ask(1))
    assert f"above {theirs}, got {theirs}" in failed(*ask(theirs))
    # Then under the next one, for all.
    done(*publish(good, new, ring))
    for last_counter in (0, theirs):
        shown = done(*ask(last_counter))
        assert f"release {theirs + 1}" in shown
        assert package.parse((good / package.MANIFEST).read_bytes()).digest in shown
    # The thief's key is worth nothing any more.
    assert "expected a signature by" in failed(*publish(other, stolen, ring))
