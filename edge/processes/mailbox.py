"""Messages between the processes of one robot: small JSON records over local sockets.

    home/run/NAME.sock    the mailbox of the process NAME, a Unix datagram socket

Sending never waits: a process that is gone, or whose mailbox is full, loses the
message, and the sender learns that from the result. No message is needed: whatever must
survive is on the disk, and messages only make it quicker.

| Kind | From | To | Says |
|---|---|---|---|
| `status` | every process | robot | what it is doing, every half second |
| `status` | every process | page | the same, if there is a page |
| `told` | robot | control | the last word of a person, and a stop after it |
| `told` | telling | robot | what a person said elsewhere |
| `told` | telling | control | the same, to a robot without a supervisor |
| `keys` | robot | control | keys of a person who acts |
| `acts` | page | control | who drives on the page, and where to |
| `stop_key` | robot | control | somebody pressed the stop key, and when |
| `stop_key` | telling | robot | somebody stopped the robot elsewhere, and when |
| `stop_key` | telling | control | the same, to a robot without a supervisor |
| `mode` | control | learn | `driving`, `idle` or `asleep`; what the fast loop used |
| `fast_loop` | learn | control | whether the fast loop may run, twice a second |
| `episode` | record | learn | an episode lies in memories/new |
| `decided` | consent | record | a decision about an episode waits to be signed |
| `decided` | page | record | the same |
| `ask_now` | page | update | a person wants the channel to be asked now |
| `go_back` | page | learn | a person wants a delta to be left, and which |
| `package` | update | control | the pointer to the package moved |
| `in_need` | control | update | no package can drive, twice a second |
| `health` | control | update | how an episode with this package went |

A life (`life.py`) has the supervisor's mailbox, and says `mode` in control's place.
"""

import contextlib
import os
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from base import canonical_json, durable_file, file_lock, plain_file
from base.errors import ContinuonError, DiskError
from base.json_fields import Fields, decode
from edge.errors import AlreadyRunningError, MailboxError

RUN: Final = "run"
"""Folder of a home that holds nothing that must last: sockets, ring, locks."""
LIMIT_BYTES: Final = 8192
SCHEMA_VERSION: Final = 1
_MOST_AT_ONCE: Final = 64  # messages of one `receive`: a flood delays no control step
_FULL_S: Final = 2.0  # how long a program that is soon gone waits for room
_OPEN_TO: Final = "be the user of the robot, root, or a member of the group continuon"
_KEYS: Final = ("schema_version", "sender", "kind", "fields")


@dataclass(frozen=True)
class Message:
    """One message that was received.

    Attributes:
        sender: name of the process that says it sent it.
        kind: what it is about; see the table above.
        fields: its content, as JSON values; the receiver checks them.
    """

    sender: str
    kind: str
    fields: Mapping[str, object]

    def encode(self) -> bytes:
        """The bytes of the message; `parse` is the inverse."""
        return canonical_json.encode(
            {
                "schema_version": SCHEMA_VERSION,
                "sender": self.sender,
                "kind": self.kind,
                "fields": dict(self.fields),
            }
        )


def parse(raw: bytes) -> Message:
    """Reads the bytes of a message.

    Raises:
        MalformedError, OversizedError: they are not a message.
    """
    fields = Fields(decode(raw, "a message", LIMIT_BYTES), "a message", _KEYS)
    fields.version(SCHEMA_VERSION)
    return Message(
        fields.text("sender"), fields.text("kind"), dict(fields.mapping("fields"))
    )


def identify(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None if there is none that can be seen."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_run_folder(home: Path) -> Path:
    """Makes the folder of sockets, ring and locks if it is not there; returns it.

    Raises:
        MailboxError: something else is in its place, or it cannot be made.
    """
    folder = home / RUN
    try:
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
    except OSError as e:
        for path in (folder, *folder.parents):
            if os.path.lexists(path):
                break
        if path.is_dir():
            got = e.strerror or type(e).__name__
            raise MailboxError(folder, "a folder to write to", got) from e
        if path.is_symlink():
            got = f"a link to {path.readlink()}, where there is none"
            remedy = "make that folder, as systemd-tmpfiles does, or remove the link"
        else:
            got = plain_file.name_kind(path.lstat().st_mode)
            remedy = f"move it away, or {MailboxError.default_remedy}"
        raise MailboxError(path, "a folder", got, remedy) from e
    return folder


def lock_path(home: Path, name: str) -> Path:
    """The file that whoever has the name of a process has locked."""
    return home / RUN / f"{name}.lock"


def take_name(
    home: Path,
    name: str,
    expected: str,
    got: str,
    remedy: str = AlreadyRunningError.default_remedy,
) -> int:
    """Takes the name of a process, which nobody else has until the lock is closed.

    Args:
        home: the robot's folder; `home/run` is made when absent.
        name: of the process.
        expected: what to say if somebody has the name.
        got: what to say of whoever has it.
        remedy: what to do then.

    Returns:
        The open lock; who closes it, or ends, gives the name back.

    Raises:
        AlreadyRunningError: somebody has the name.
        MailboxError: `home/run` is something else, or cannot be written.
    """
    make_run_folder(home)
    path = lock_path(home, name)
    try:
        durable_file.make_way(path)
        descriptor = file_lock.open_file(path)
    except (DiskError, OSError) as e:
        why = e.got if isinstance(e, DiskError) else e.strerror or type(e).__name__
        raise MailboxError(path, "a folder to write to", why) from e
    if not file_lock.try_take(descriptor):
        os.close(descriptor)
        raise AlreadyRunningError(path, expected, got, remedy)
    return descriptor


class Mailbox:
    """The mailbox of one process, and its way to those of the others."""

    def __init__(self, home: Path, name: str) -> None:
        """Opens the mailbox, in the place of whatever stands there.

        Args:
            home: the robot's folder; `home/run` is made when absent.
            name: of this process.

        Raises:
            MailboxError: it cannot be opened.
        """
        self._name = name
        self._path = make_run_folder(home) / f"{name}.sock"
        self._folder = -1
        self._identity: tuple[int, int] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
            durable_file.make_way(self._path, keeps_file=False)
            self._socket.setblocking(False)
            self._socket.bind(self._address(name))
            self._identity = identify(self._path)
        except (DiskError, OSError) as e:
            self.close()
            got = e.got if isinstance(e, DiskError) else e.strerror or type(e).__name__
            raise MailboxError(self._path, "to open a mailbox", got) from e

    def send(self, to: str, kind: str, fields: Mapping[str, object]) -> bool:
        """Sends a message; False if nobody receives it, which the sender may ignore.

        Raises:
            ValueError: the message is larger than `LIMIT_BYTES`.
        """
        raw = Message(self._name, kind, fields).encode()
        if len(raw) > LIMIT_BYTES:
            raise ValueError(
                f"a message of {len(raw)} bytes; {LIMIT_BYTES} are allowed"
            )
        try:
            self._socket.sendto(raw, self._address(to))
        except OSError:
            return False
        return True

    def receive(self) -> list[Message]:
        """Takes what has come, in order; what is no message is dropped."""
        found: list[Message] = []
        for _ in range(_MOST_AT_ONCE):
            try:
                raw = self._socket.recv(LIMIT_BYTES + 1)
            except OSError:
                break
            with contextlib.suppress(ContinuonError):
                found.append(parse(raw))
        return found

    def wait(self, timeout_s: float) -> None:
        """Returns when a message has come, or after `timeout_s`."""
        select.select([self._socket], [], [], max(timeout_s, 0.0))

    @property
    def path(self) -> Path:
        """Of its socket."""
        return self._path

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of its socket; None if it could not be opened."""
        return self._identity

    def fileno(self) -> int:
        """Descriptor to wait on together with others."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the mailbox and removes its name, unless that is another's by now."""
        if self._identity is not None:
            with contextlib.suppress(OSError):
                if identify(self._path) == self._identity:
                    self._path.unlink(missing_ok=True)
            self._identity = None
        self._socket.close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def __enter__(self) -> Self:
        """Returns the open mailbox."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Closes it."""
        self.close()

    def _address(self, name: str) -> str:
        return find_address(self._folder, name)


class Outbox:
    """The way to a robot's mailboxes for a program that has none and is soon gone."""

    def __init__(self, home: Path, name: str) -> None:
        """Opens nothing, and makes nothing in the robot's folder.

        Args:
            home: the robot's folder.
            name: of the program that sends.
        """
        self._folder, self._name = home / RUN, name

    def send(self, to: str, kind: str, fields: Mapping[str, object]) -> bool:
        """Sends a message; False if nobody of that name listens.

        Raises:
            MailboxError: somebody may listen, and the message cannot be sent.
        """
        raw = Message(self._name, kind, fields).encode()
        folder = -1
        with contextlib.closing(
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ) as sender:
            sender.settimeout(_FULL_S)
            try:
                folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
                sender.sendto(raw, find_address(folder, to))
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                return False
            except OSError as e:
                path = self._folder / f"{to}.sock"
                got = e.strerror or "one that is full"
                expected = "a mailbox that takes a message"
                if isinstance(e, PermissionError):
                    raise MailboxError(path, expected, got, _OPEN_TO) from e
                remedy = "try again, or start that program again"
                raise MailboxError(path, expected, got, remedy) from e
            finally:
                if folder >= 0:
                    os.close(folder)
        return True


def find_address(folder: int, name: str) -> str:
    """Address of a mailbox, by the open run folder: a socket's path has 107 bytes."""
    return f"/proc/self/fd/{folder}/{name}.sock"
