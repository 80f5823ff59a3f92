"""A real process that updates is killed before each change that it makes to the disk.

The instant of the kill runs from the first call to the last: the long target tries
every one, and the default every third of an update. After each the folder must name a
whole package, the old or the new one, and the next update must reach the new one and
leave nothing behind.
"""

import os
from functools import partial
from pathlib import Path

import pytest

from edge.ota import active_package, update
from edge.ota.decide import RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.testing.power_cuts import copy_folder, kill_before_call
from edge.testing.tiny_package import NOW, ROBOTS, Publisher

RUNTIME = RobotRuntime("sim-00", "0.1.0")
FILES = {".lock", "current", "current.copy", "newest_time", "packages"}


def run(publisher: Publisher, state: StateFolder) -> None:
    update.update(state, publisher.channel_uri, publisher.trusted, RUNTIME, ROBOTS, NOW)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("had_package", [False, True], ids=["first", "second"])
def test_update_killed_at_any_instant_leaves_the_old_or_the_new_package(
    tmp_path: Path, had_package: bool, stride: int
) -> None:
    publisher = Publisher(tmp_path)
    old = publisher.release(0)
    template = tmp_path / "template"
    if had_package:
        run(publisher, StateFolder(template))
        new = publisher.release(1)
    else:
        new = old
    seen = set()
    number = 0
    while True:
        root = tmp_path / f"state-{number}"
        state = StateFolder(root)
        if had_package:
            copy_folder(template, root)
        died = kill_before_call(number, root, partial(run, publisher, state))
        installed = state.read_installed()
        seen.add(installed.digest if installed else None)
        if installed is not None:
            active = active_package.open_active_package(
                state, publisher.trusted, ROBOTS
            )
            assert active.package.digest in (old, new)
        else:
            assert not had_package
        run(publisher, state)
        updated = state.read_installed()
        assert updated is not None
        assert updated.digest == new
        kept = {new, old} if had_package else {new}
        assert {p.name for p in (root / "packages").iterdir()} == kept
        assert {p.name for p in root.iterdir()} == FILES
        assert (root / "current").read_bytes() == (root / "current.copy").read_bytes()
        number += stride
        if not died:
            break
    assert number > 40
    assert seen == ({old, new} if had_package else {None, new})


def test_every_file_is_synced_before_it_gets_its_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may lose what was written but not synced."""
    publisher = Publisher(tmp_path)
    publisher.release(0)
    synced: set[str] = set()
    unsynced: list[str] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def note_fsync(descriptor: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def check(source: str | Path) -> None:
        path = Path(source)
        inside = [path, *path.rglob("*")] if path.is_dir() else [path]
        known = {find_old_name(str(p)) for p in inside}
        unsynced.extend(sorted(known - synced))

    moved: dict[str, str] = {}

    def find_old_name(path: str) -> str:
        for new, old in reversed(moved.items()):
            if path == new or path.startswith(new + "/"):
                path = old + path[len(new) :]
        return path

    def note_rename(
        source: str | Path,
        target: str | Path,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        check(source)
        moved[str(target)] = str(source)
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def note_replace(
        source: str | Path,
        target: str | Path,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        check(source)
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    monkeypatch.setattr(os, "replace", note_replace)
    run(publisher, StateFolder(tmp_path / "state"))
    assert unsynced == []
    assert str(tmp_path / "state" / "packages") in synced
    assert str(tmp_path / "state") in synced
    assert moved


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_fallback_killed_at_any_instant_is_made_by_the_next_start(
    tmp_path: Path,
) -> None:
    publisher = Publisher(tmp_path)
    old = publisher.release(0)
    template = tmp_path / "template"
    run(publisher, StateFolder(template))
    bad = publisher.release(1)
    run(publisher, StateFolder(template))
    (template / "packages" / bad / "safety.json").unlink()
    number = 0
    while True:
        root = tmp_path / f"state-{number}"
        state = StateFolder(root)
        copy_folder(template, root)
        start = partial(
            active_package.open_active_package, state, publisher.trusted, ROBOTS
        )
        died = kill_before_call(number, root, start)
        assert start().package.digest == old
        installed = state.read_installed()
        assert installed is not None
        assert (installed.digest, installed.fell_back_from) == (old, bad)
        run(publisher, state)
        assert {p.name for p in root.iterdir()} == FILES
        assert {p.name for p in (root / "packages").iterdir()} == {old}
        number += 1
        if not died:
            break
    assert number > 10


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_recovery_killed_at_any_instant_is_made_by_the_next_update(
    tmp_path: Path,
) -> None:
    publisher = Publisher(tmp_path)
    digest = publisher.release(0)
    template = tmp_path / "template"
    run(publisher, StateFolder(template))
    for name in ("current", "current.copy"):
        (template / name).write_bytes(b"")
    number = 0
    while True:
        root = tmp_path / f"state-{number}"
        state = StateFolder(root)
        copy_folder(template, root)
        died = kill_before_call(number, root, partial(run, publisher, state))
        active = active_package.open_active_package(state, publisher.trusted, ROBOTS)
        assert active.package.digest == digest
        run(publisher, state)
        installed = state.read_installed()
        assert installed is not None
        assert (installed.digest, installed.release_counter) == (digest, 1)
        assert {p.name for p in (root / "packages").iterdir()} == {digest}
        kept = {p.name for p in root.iterdir()} - FILES
        assert {p.partition(".damaged")[0] for p in kept} <= {"current", "current.copy"}
        number += 1
        if not died:
            break
    assert number > 10
