"""Messages arrive, or are lost without anybody waiting."""

import ast
import errno
import os
import re
import socket
from pathlib import Path

import pytest

from edge.errors import AlreadyRunningError, MailboxError
from edge.processes import mailbox, moves_outbox, process
from edge.processes.mailbox import LIMIT_BYTES, Mailbox, Message, Outbox


def test_message_arrives_with_its_sender_and_fields(tmp_path: Path) -> None:
    with Mailbox(tmp_path, "robot") as robot, Mailbox(tmp_path, "control") as control:
        assert robot.send("control", "mode", {"mode": "idle"})
        control.wait(1.0)
        assert control.receive() == [Message("robot", "mode", {"mode": "idle"})]
        assert control.receive() == []


def list_sent(path: Path) -> set[tuple[str, str, str]]:
    """Kind, sender and receiver of every message that a program sends."""
    constants = {"SUPERVISOR": "robot", "PAGE": "page"}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            "mailbox.send"
        ):
            to, kind = (
                str(one.value)
                if isinstance(one, ast.Constant)
                else constants[ast.unparse(one)]
                for one in node.args[:2]
            )
            found.add((kind, path.stem, to))
    return found


def test_table_of_messages_names_all_that_are_sent_and_no_other() -> None:
    sent = set()
    for path in Path(mailbox.__file__).parent.glob("*.py"):
        if not path.stem.endswith("_test"):
            sent |= list_sent(path)
    others = {
        ("status", "process", "robot"),
        ("status", "process", "page"),
        ("mode", "life", "learn"),
    }
    assert others <= sent
    # By the page, in a file of its own.
    sent.add((moves_outbox.KIND, process.PAGE, moves_outbox.TO))
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \|", mailbox.__doc__ or "", re.M)
    assert sorted(rows) == sorted(sent - others)
    assert "| `status` | every process | robot |" in (mailbox.__doc__ or "")


def test_message_to_a_process_that_is_gone_is_lost_and_nobody_waits(
    tmp_path: Path,
) -> None:
    with Mailbox(tmp_path, "control") as control:
        assert not control.send("robot", "status", {})
        Mailbox(tmp_path, "robot").close()
        assert not control.send("robot", "status", {})


def test_program_without_a_mailbox_is_heard_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path, "tell")
    assert not outbox.send("control", "told", {})
    assert not list(tmp_path.iterdir())
    with Mailbox(tmp_path, "control") as control:
        assert outbox.send("control", "told", {"mode": "idle"})
        assert control.receive() == [Message("tell", "told", {"mode": "idle"})]
        assert [path.name for path in control.path.parent.iterdir()] == ["control.sock"]
        monkeypatch.setattr(mailbox, "_FULL_S", 0.1)
        with pytest.raises(MailboxError, match=r"got one that is full; try again"):
            for _ in range(10_000):
                outbox.send("control", "told", {})
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.chdir(tmp_path / mailbox.RUN)
    left.bind("control.sock")
    left.close()
    assert not outbox.send("control", "told", {})


def test_who_may_not_write_to_a_mailbox_reads_who_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(socket.socket):
        """What a user gets who is not in the group of the robot's processes."""

        def sendto(self, *_: object) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with Mailbox(tmp_path, "control"), monkeypatch.context() as other:
        other.setattr(socket, "socket", Closed)
        with pytest.raises(MailboxError, match=r"got Permission denied; be the user"):
            Outbox(tmp_path, "tell").send("control", "told", {})


def test_mailbox_of_a_killed_process_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox(tmp_path, "control") as control:
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        monkeypatch.chdir(tmp_path / mailbox.RUN)  # a whole path may be too long
        left.bind("robot.sock")
        left.close()
        with Mailbox(tmp_path, "robot") as robot:
            assert control.send("robot", "status", {"doing": "drives"})
            (found,) = robot.receive()
    assert found.fields == {"doing": "drives"}


def test_full_mailbox_loses_the_newest_messages_and_the_sender_goes_on(
    tmp_path: Path,
) -> None:
    with Mailbox(tmp_path, "robot") as robot, Mailbox(tmp_path, "learn") as learn:
        sent = 0
        while learn.send("robot", "status", {"number": sent}):
            sent += 1
            assert sent < 100_000
        numbers = []
        while found := robot.receive():
            numbers += [one.fields["number"] for one in found]
        assert numbers == list(range(sent))
        assert learn.send("robot", "status", {})


def test_bytes_that_are_no_message_are_dropped_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox(tmp_path, "robot") as robot, Mailbox(tmp_path, "learn") as learn:
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        monkeypatch.chdir(tmp_path / mailbox.RUN)  # a whole path may be too long
        stranger.connect("robot.sock")
        for raw in (b"", b"\xff", b"[]", b'{"kind":"mode"}', b"x" * (LIMIT_BYTES + 1)):
            stranger.send(raw)
        stranger.close()
        assert learn.send("robot", "status", {})
        assert robot.receive() == [Message("learn", "status", {})]


def test_message_beyond_the_limit_is_the_senders_mistake(tmp_path: Path) -> None:
    with (
        Mailbox(tmp_path, "robot") as robot,
        pytest.raises(ValueError, match="8192 are allowed"),
    ):
        robot.send("robot", "status", {"doing": "x" * LIMIT_BYTES})


def test_home_with_a_long_path_has_mailboxes_too(tmp_path: Path) -> None:
    home = tmp_path / ("a" * 100) / ("b" * 100)
    with Mailbox(home, "robot") as robot:
        assert robot.send("robot", "status", {})
        assert len(robot.receive()) == 1


def test_name_is_one_programs_until_it_gives_it_back(tmp_path: Path) -> None:
    held = mailbox.take_name(tmp_path, "control", "nobody", "a robot")
    with pytest.raises(AlreadyRunningError, match="expected nobody, got a robot; go"):
        mailbox.take_name(tmp_path, "control", "nobody", "a robot", "go away")
    os.close(mailbox.take_name(tmp_path, "record", "nobody", "a robot"))
    os.close(held)
    os.close(mailbox.take_name(tmp_path, "control", "nobody", "a robot"))
    assert mailbox.lock_path(tmp_path, "control").is_file()


def test_name_that_no_folder_can_hold_is_one_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    with pytest.raises(MailboxError, match="home: expected a folder, got a file"):
        mailbox.take_name(home, "control", "nobody", "a robot")


def test_home_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(MailboxError, match="name a folder in --home"):
        Mailbox(tmp_path / "home", "robot")
