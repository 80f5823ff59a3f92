"""The page of a robot's operator, for a browser on a desk or a phone.

    ./bazelw run //edge:page -- --home=DIR
    ./bazelw run //edge:robot -- --page=local ...

It shows what the robot does, what it learned and which episodes could leave it, as the
redacted copies that would leave. It tells the robot what a person wants: to drive, to
stay still, to sleep or to stop, to ask its channel, to leave what it learned; which
episodes may be uploaded, and how they went. Where the robot was started with
--actor=page a person drives it from there.

A browser is paired by a code that this program shows on the robot's terminal. It
listens to this machine alone; with --listen=network to the local network, in which
whoever can read along sees what the page shows, since it is not encrypted.

It is a process of its own at low priority, never reads a raw episode and has no key:
what a person decides is signed by the recorder. Nothing waits for it.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, path_flags
from base.errors import printable
from edge.actors.told_moves import MOST_AXES
from edge.episodes import labels
from edge.errors import MailboxError, PageError
from edge.loops.machine import READ_AGAIN_S, MachineReadings, read_machine
from edge.operator.reading import Reading
from edge.operator.routes import Address, Site
from edge.operator.server import Server
from edge.operator.sessions import Sessions
from edge.processes import page_flags, process, telling, view
from edge.processes.home import Home
from edge.processes.mailbox import RUN, Message, Outbox
from edge.processes.moves_outbox import MovesOutbox
from edge.processes.process import Process
from edge.processes.view import Seen

NAME: Final = process.PAGE
_FIRST: Final = ("control", "record", "learn", "update")
_REST_S: Final = 0.5
_NICE: Final = 10
_LABELS: Final = {"left": "budgets", "loop": "fast loop"}
"""What a person reads in the place of a label of the terminal, which is short."""
_TOLD: Final = ("acting", "why", "frozen", "senses")
"""What is said of control beside what it does, to whoever drives."""
_SILENT_S: Final = 30.0
"""Silence after which nobody drives any more. A robot on its way to its start says
nothing, and whoever has it in their hands keeps it."""
_LOCAL: Final = "127.0.0.1"

HOME = flags.DEFINE_string("home", None, "folder of the robot", required=True)
path_flags.folders("home")
LISTEN = flags.DEFINE_enum(
    "listen",
    page_flags.LISTEN[0],
    list(page_flags.LISTEN),
    "who may open the page: a browser of this machine, or one of the network",
)
PORT = page_flags.define_port("port")


def main(argv: list[str]) -> None:
    """Shows the page until it is told to end."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    os.nice(_NICE)  # whoever looks at a robot must not disturb it
    home = Home(Path(HOME.value))
    with process.open_process(home.root, NAME) as me:
        _show(me, home)


def _show(me: Process, home: Home) -> None:
    in_network = LISTEN.value == "network"
    sessions = Sessions()
    robot = _Robot(home)
    reading = Reading(home.shared, home.deltas, home.receipts)
    with (
        contextlib.closing(reading),
        _serve(robot, reading, sessions, in_network) as server,
    ):
        where = f"http://{_name_address(in_network)}:{server.port}"
        me.say(f"open {where} and type {sessions.show_code(time.monotonic())}")
        me.say_ready()
        while not me.is_stopped():
            for message in me.receive():
                robot.note(message)
            now_s = time.monotonic()
            reading.end_idle(now_s)
            if me.is_status_due():
                paired = sessions.count(now_s)
                code = sessions.show_code(now_s)
                doing = f"{where}, code {code}, {paired} paired"
                me.show_now({"doing": doing})
            me.rest(_REST_S)


@contextlib.contextmanager
def _serve(
    robot: "_Robot", reading: Reading, sessions: Sessions, in_network: bool
) -> Iterator[Server]:
    """Answers in threads during the block.

    Raises:
        PageError: it cannot listen there.
    """
    names = {"localhost", socket.gethostname().lower()}
    names |= {f"{name}.local" for name in names if "." not in name}
    listening: list[Server] = []
    site = Site(
        robot,
        reading,
        sessions,
        lambda: Address(
            listening[0].port, names if in_network else {"localhost"}, in_network
        ),
    )
    host = "0.0.0.0" if in_network else _LOCAL
    try:
        server = Server(host, PORT.value, site.answer)
    except OSError as e:
        raise PageError(
            "--port", f"a port to listen at, {PORT.value} on {host}", e.strerror
        ) from e
    listening.append(server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def _name_address(in_network: bool) -> str:
    """How a person reaches this machine: by its address in the network, if it has one.

    Nothing is sent: a datagram socket only chooses from where it would send.
    """
    if in_network:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen,
        ):
            chosen.connect(("192.0.2.1", 9))  # RFC 5737: nobody's
            return str(chosen.getsockname()[0])
    return _LOCAL


class _Robot:
    """The robot as the page sees it; see `edge.operator.routes.Robot`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._seen: dict[str, Seen] = {name: Seen() for name in _FIRST}
        self._machine, self._read_s = MachineReadings(), -READ_AGAIN_S
        self._moves = MovesOutbox(home.root, NAME)

    def count_axes(self) -> int:
        """See `edge.operator.driving.Driven`."""
        with self._lock:
            control = self._seen["control"]
            axes = control.status.get("axes")
            silent_s = time.monotonic() - control.at_s
            if control.trouble or silent_s > _SILENT_S or not isinstance(axes, int):
                return 0
            return min(max(axes, 0), MOST_AXES)

    def tell_doing(self) -> str:
        """See `edge.operator.driving.Driven`."""
        with self._lock:
            control = self._seen["control"]
            parts = [control.doing(time.monotonic())]
            parts += map(str, filter(None, map(control.status.get, _TOLD)))
        return printable("; ".join(parts))

    def act(self, acts: bool, axes: tuple[float, ...], says: str) -> bool:
        """See `edge.operator.driving.Driven`."""
        return self._moves.send(acts, axes, says)

    def note(self, message: Message) -> None:
        """Takes the status of a process."""
        if message.kind != "status":
            return
        with self._lock:
            if message.sender == process.SUPERVISOR:
                troubles = message.fields.get("troubles")
                for name, text in _items(troubles):
                    if name in self._seen:
                        self._seen[name].trouble = str(text)
            elif message.sender in self._seen:
                seen = self._seen[message.sender]
                seen.status, seen.at_s = message.fields, time.monotonic()

    def describe(self) -> Sequence[tuple[str, str]]:
        """What the robot does now, as on its terminal, and how its machine is."""
        now_s = time.monotonic()
        with self._lock:
            seen = {
                name: one
                for name, one in self._seen.items()
                if name == "control" or one.status or one.trouble
            }
            rows = view.describe_rows(seen, now_s)
            if now_s - self._read_s >= READ_AGAIN_S:
                self._machine, self._read_s = read_machine(), now_s
            rows += _describe_machine(self._machine)
        return [(_LABELS.get(label, label), printable(text)) for label, text in rows]

    def order(self, word: str) -> str:
        """Tells the robot what to do, as the keys do."""
        chosen = telling.WORDS[word]
        telling.tell(self._home.root, chosen, time.monotonic())
        return f"told the robot {chosen.text}"

    def update_now(self) -> str:
        """Lets the updater ask its channel now."""
        mailbox = self._open_mailbox()
        self._require(mailbox.send("update", "ask_now", {}), "update")
        return "the robot asks its channel now"

    def go_back(self, delta: str) -> str:
        """Lets the robot leave a delta."""
        mailbox = self._open_mailbox()
        self._require(mailbox.send("learn", "go_back", {"delta": delta}), "learn")
        return "the robot goes back; the next episode drives without that delta"

    def label(self, name: str, says: str) -> str:
        """Leaves what was said of an episode for the recorder and the learner."""
        labels.say(self._home.shared, name, says)
        self.hurry()
        return f"{says.replace('_', ' ')}: the robot is asked to note it"

    def hurry(self) -> None:
        """Lets the recorder look at once for what was decided."""
        mailbox = self._open_mailbox()
        with contextlib.suppress(MailboxError):
            mailbox.send("record", "decided", {})

    def _open_mailbox(self) -> Outbox:
        return Outbox(self._home.root, NAME)

    def _require(self, heard: bool, name: str) -> None:
        if not heard:
            raise MailboxError(
                self._home.root / RUN,
                f"a robot whose {name} process runs",
                "none that listens",
                "start //edge:robot with this --home; for updates with --channel",
            )


def _items(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _describe_machine(machine: MachineReadings) -> list[tuple[str, str]]:
    parts = []
    if machine.temperature_c is not None:
        parts.append(f"{machine.temperature_c:.0f} °C")
    if machine.throttled:
        parts.append(f"slowed down: {', '.join(machine.throttled)}")
    heat = "; ".join(parts) or "not measured"
    battery = "none"
    if machine.battery_percent is not None:
        fed = ", charging" if machine.on_mains else ""
        battery = f"{machine.battery_percent:.0f} %{fed}"
    memory = "not measured"
    if machine.memory_available_bytes is not None:
        memory = f"{machine.memory_available_bytes / 1e6:,.0f} MB free"
    load = "" if machine.load is None else f"; load {machine.load:.2f} per core"
    return [("heat", heat), ("battery", battery), ("memory", f"{memory}{load}")]


if __name__ == "__main__":
    command_line.run(main)
