"""A process that is lost to the others of its robot ends, and a new one is heard."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from base.testing import special_files
from edge.errors import AlreadyRunningError, MailboxError, RunFolderError
from edge.processes.mailbox import RUN, Mailbox
from edge.processes.process import Process, open_process

_LONGEST_S = 10.0


def wait_until_stopped(me: Process) -> None:
    end_s = time.monotonic() + _LONGEST_S
    while not me.is_stopped():
        assert time.monotonic() < end_s
        me.rest(0.01)


def _remove_socket(home: Path) -> None:
    (home / RUN / "control.sock").unlink()


def _replace_socket(home: Path) -> None:
    _remove_socket(home)
    (home / RUN / "control.sock").touch()


def _remove_lock(home: Path) -> None:
    (home / RUN / "control.lock").unlink()


def _remove_folder(home: Path) -> None:
    shutil.rmtree(home / RUN)


def _move_folder(home: Path) -> None:
    (home / RUN).rename(home / "moved")


@pytest.mark.parametrize(
    "lose",
    [_remove_socket, _replace_socket, _remove_lock, _remove_folder, _move_folder],
)
def test_process_whose_name_in_the_run_folder_is_gone_ends(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    with (
        pytest.raises(RunFolderError, match="to stay while a robot runs"),
        open_process(tmp_path, "control") as me,
    ):
        assert not me.is_stopped()
        lose(tmp_path)
        wait_until_stopped(me)


def test_process_ends_when_a_file_that_it_keeps_is_replaced(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.touch()
    with (
        pytest.raises(RunFolderError, match="ring"),
        open_process(tmp_path, "control") as me,
    ):
        me.keep(ring, (ring.stat().st_dev, ring.stat().st_ino))
        assert not me.is_stopped()
        (tmp_path / "other").touch()
        (tmp_path / "other").rename(ring)
        wait_until_stopped(me)


def test_process_that_keeps_all_that_is_its_own_goes_on(tmp_path: Path) -> None:
    with open_process(tmp_path, "control") as me:
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            assert not me.is_stopped()
            me.rest(0.05)


@pytest.mark.parametrize("kind", [*special_files.KINDS, "full folder"])
@pytest.mark.parametrize("name", ["control.lock", "control.sock"])
def test_what_stands_in_the_place_of_a_lock_or_socket_makes_way(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / RUN / name
    path.parent.mkdir()
    if kind == "full folder":
        (path / "in it").mkdir(parents=True)
    else:
        special_files.make(path, kind)
    with special_files.at_once(), open_process(tmp_path, "control") as me:
        with Mailbox(tmp_path, "robot") as robot:
            assert robot.send("control", "told", {})
        assert [message.kind for message in me.receive()] == ["told"]
        with pytest.raises(AlreadyRunningError), open_process(tmp_path, "control"):
            pass
    aside = path.with_name(f"{name}.damaged")
    assert aside.exists() is (kind == "full folder")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("file", "expected a folder, got a file; move it away"),
        ("pipe", "expected a folder, got a named pipe; move it away"),
        ("link", "got a link to elsewhere, where there is none; make that folder"),
    ],
)
def test_run_folder_that_is_something_else_is_one_line_and_stays(
    tmp_path: Path, kind: str, said: str
) -> None:
    path = tmp_path / RUN
    if kind == "file":
        path.touch()
    elif kind == "link":
        path.symlink_to("elsewhere")
    else:
        special_files.make(path, kind)
    before = path.lstat().st_ino
    with (
        special_files.at_once(),
        pytest.raises(MailboxError) as caught,
        open_process(tmp_path, "control"),
    ):
        pass
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert path.lstat().st_ino == before


def test_home_that_is_a_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with (
        pytest.raises(MailboxError, match=r"home: expected a folder, got a file"),
        open_process(tmp_path / "home", "control"),
    ):
        pass


def test_second_process_of_a_name_is_refused(tmp_path: Path) -> None:
    with (
        open_process(tmp_path, "control"),
        pytest.raises(AlreadyRunningError),
        open_process(tmp_path, "control"),
    ):
        pass


def test_mailbox_that_closes_leaves_the_name_of_its_successor(tmp_path: Path) -> None:
    before = Mailbox(tmp_path, "learn")
    with Mailbox(tmp_path, "learn") as after, Mailbox(tmp_path, "control") as control:
        before.close()
        assert control.send("learn", "mode", {"mode": "idle"})
        after.wait(1.0)
        assert [message.kind for message in after.receive()] == ["mode"]
