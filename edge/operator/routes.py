"""What the page answers: which request may do what, and what it is told.

| Request | Who | Does |
|---|---|---|
| `GET /` | anybody | the page, or the field for the code |
| `GET /page.css`, `/page.js`, `/drive.js` | anybody | its looks and its scripts |
| `POST /pair` | who has the code | a session |
| `GET /status` | a session | what the robot does now |
| `GET /episodes`, `/episodes/NAME`, `/preview/NAME` | a session | redacted episodes |
| `GET /learning` | a session | what was learned |
| `POST /robot`, `/update`, `/back` | a session and its form | tells the robot |
| `POST /episodes/NAME` | a session and its form | consent, and how it went |
| `POST /leave` | a session and its form | ends the session |
| `GET /drive`, `/driving`, `POST /drive` | as above | see `driving.py` |

It decides nothing about the robot: what a form says goes to whoever decides (`Robot`).
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from base.errors import ContinuonError, one_line
from edge.operator import guard, markup
from edge.operator.driving import Driven, Driving
from edge.operator.reading import ReaderError, Reading
from edge.operator.server import Request, Response, say
from edge.operator.sessions import Limiter, Session, Sessions, TooManyTriesError

COOKIE: Final = "continuon_session"
_STOP: Final = "stopped"
ORDERS: Final = ("driving", "demonstrating", "idle", "asleep", _STOP)
DECISIONS: Final = ("granted", "refused", "taken_back")
LABELS: Final = ("success", "failure", "unknown", "leave_out")
_FORMS_PER_MINUTE: Final = 60
_COMMANDS_PER_S: Final = 40
"""Of one session: a browser that drives sends 20, and words beside them."""
_STOPS_PER_S: Final = 10
"""Of one session. Nothing else that it sends can use them up."""
_NAME: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ASSETS: Final = {
    "/page.css": "text/css",
    "/page.js": "text/javascript",
    "/drive.js": "text/javascript",
}


class Robot(Driven, Protocol):
    """What the page can ask of a robot, and tell it. Called in several threads."""

    def describe(self) -> Sequence[tuple[str, str]]:
        """What the robot does now: names and texts, as on its terminal."""

    def order(self, word: str) -> str:
        """Tells the robot one of `ORDERS`; returns what became of it, in words.

        Raises:
            ContinuonError: no robot listens.
        """

    def update_now(self) -> str:
        """Lets the updater ask its channel now; returns what became of it.

        Raises:
            ContinuonError: no updater listens.
        """

    def go_back(self, delta: str) -> str:
        """Lets the robot leave a delta that it has learned; returns what became of it.

        Raises:
            ContinuonError: no learner listens.
        """

    def label(self, name: str, says: str) -> str:
        """Says how an episode went, one of `LABELS`; returns what became of it.

        Raises:
            ContinuonError: it cannot be written down.
        """

    def hurry(self) -> None:
        """Lets the recorder look at once for what was decided."""


@dataclass(frozen=True)
class Address:
    """Where the page listens.

    Attributes:
        port: the port.
        names: names of this machine, in small letters.
        in_network: whether others than this machine may come.
    """

    port: int
    names: Set[str]
    in_network: bool


class Site:
    """Answers requests; called in several threads."""

    def __init__(
        self,
        robot: Robot,
        reading: Reading,
        sessions: Sessions,
        address: Callable[[], Address],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Knows nobody yet.

        Args:
            robot: the robot.
            reading: reads its shared episodes.
            sessions: who may use the page.
            address: where the page listens.
            clock: monotonic time, in seconds.
        """
        self._robot, self._reading, self._sessions = robot, reading, sessions
        self._address, self._clock = address, clock
        self._driving = Driving(robot, clock)
        self._forms = Limiter(_FORMS_PER_MINUTE, 60.0)
        self._commands = Limiter(_COMMANDS_PER_S, 1.0)
        self._stops = Limiter(_STOPS_PER_S, 1.0)

    def answer(self, request: Request) -> Response:
        """Answers a request, whatever is in it."""
        address = self._address()
        host = request.headers.get("host", "")
        if not guard.is_own_host(host, address.port, address.names, address.in_network):
            return say(HTTPStatus.MISDIRECTED_REQUEST, "this is another machine's page")
        if request.method == "GET" and request.path in _ASSETS:
            return _read_asset(request.path)
        token = request.cookie(COOKIE)
        session = self._sessions.find(token, self._clock()) if token else None
        if request.method == "GET":
            return self._show(request, session)
        origin = request.headers.get("origin")
        fetch_site = request.headers.get("sec-fetch-site")
        if not guard.is_same_origin(origin, fetch_site, host):
            return say(HTTPStatus.FORBIDDEN, "only this page's own forms are heard")
        if request.path == "/pair":
            return self._pair(request)
        if session is None:
            return say(
                HTTPStatus.UNAUTHORIZED, "pair this browser with the robot again"
            )
        if not guard.is_token(request.form.get("csrf", ""), session.csrf):
            return say(HTTPStatus.FORBIDDEN, "only this page's own forms are heard")
        limiter, wait = self._limit(request)
        if not limiter.take(token, self._clock()):
            return say(HTTPStatus.TOO_MANY_REQUESTS, f"wait for a {wait}")
        if request.path == "/drive":
            return self._driving.hear(session, request.form)
        return self._do(request, session, token)

    def _limit(self, request: Request) -> tuple[Limiter, str]:
        """What limits a request of a session, and how long it then waits."""
        if request.path == "/drive":
            return self._commands, "second"
        if request.path == "/robot" and request.form.get("says") == _STOP:
            return self._stops, "second"
        return self._forms, "minute"

    def _pair(self, request: Request) -> Response:
        code, who = request.form.get("code", ""), request.address
        is_own = who in ("127.0.0.1", "::1")
        try:
            token = self._sessions.pair(code, who, is_own, self._clock())
        except TooManyTriesError:
            text = "too many tries: wait for a minute"
            return self._ask_code(text, HTTPStatus.TOO_MANY_REQUESTS)
        if token is None:
            text = "that is not the code that the robot shows now"
            return self._ask_code(text, HTTPStatus.FORBIDDEN)
        cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
        return _go_to("/", {"Set-Cookie": cookie})

    def _ask_code(self, text: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
        return _html(markup.draw_pairing(text), status)

    def _show(self, request: Request, session: Session | None) -> Response:
        path = request.path
        if session is None:
            if path == "/":
                return self._ask_code()
            return say(HTTPStatus.UNAUTHORIZED, "pair this browser with the robot")
        said = request.query.get("said", "")[:200]
        try:
            if path == "/":
                return _html(
                    markup.draw_robot(self._robot.describe(), session.csrf, said)
                )
            if path == "/status":
                return _json({"rows": list(self._robot.describe())})
            if path == "/drive":
                return self._driving.show(session, said)
            if path == "/driving":
                return self._driving.tell(session, request.query.get("turn", ""))
            if path == "/learning":
                history = self._reading.ask("history")
                return _html(markup.draw_learning(history, session.csrf, said))
            if path == "/episodes":
                return self._list_episodes(request, said)
            if name := _name_in(path, "/episodes/"):
                told = self._reading.ask("tell", name=name)
                if told["known"]:
                    return _html(markup.draw_episode(told, session.csrf, said))
            elif name := _name_in(path, "/preview/"):
                shown = self._reading.ask("preview", name=name)
                policy = {"Content-Security-Policy": shown["policy"]}
                return Response(body=shown["page"].encode(), headers=policy)
        except ReaderError as e:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, one_line(e))
        return say(HTTPStatus.NOT_FOUND, "there is nothing of that name")

    def _list_episodes(self, request: Request, said: str) -> Response:
        before = request.query.get("before", "")
        if before and not _NAME.fullmatch(before):
            return say(HTTPStatus.BAD_REQUEST, "expected the name of an episode")
        found = self._reading.ask("list", before=before)
        return _html(markup.draw_list(found["episodes"], found["more"], said))

    def _do(self, request: Request, session: Session, token: str) -> Response:
        """Does what a form says, of a session that may."""
        path, form = request.path, request.form
        try:
            if path == "/leave":
                self._sessions.close(token)
                self._driving.leave(session)
                return _go_to("/")
            if path == "/robot" and form.get("says") in ORDERS:
                where = "/drive" if form.get("from") == "drive" else "/"
                return _go_to(where, said=self._order(form["says"]))
            if path == "/update":
                return _go_to("/", said=self._robot.update_now())
            if path == "/back" and _SHA256.fullmatch(form.get("delta", "")):
                return _go_to("/learning", said=self._robot.go_back(form["delta"]))
            if name := _name_in(path, "/episodes/"):
                return self._decide(name, form)
        except ReaderError as e:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, one_line(e))
        except ContinuonError as e:
            return say(HTTPStatus.CONFLICT, one_line(e))
        return say(HTTPStatus.BAD_REQUEST, "expected a form of this page")

    def _order(self, word: str) -> str:
        if word == _STOP:
            self._driving.clear()  # first: nothing moves it after that
        return self._robot.order(word)

    def _decide(self, name: str, form: Mapping[str, str]) -> Response:
        says = form.get("says", "")
        where = f"/episodes/{name}"
        if says in LABELS:
            return _go_to(where, said=self._robot.label(name, says))
        if says not in DECISIONS or not _SHA256.fullmatch(form.get("sha256", "")):
            return say(HTTPStatus.BAD_REQUEST, "expected a form of this page")
        self._reading.ask("decide", name=name, decision=says, sha256=form["sha256"])
        self._robot.hurry()
        told = {
            "granted": "the robot is asked to let it leave",
            "refused": "it is held back from now on",
            "taken_back": "it is held back from now on, and deleted",
        }
        return _go_to(where, said=told[says])


def _name_in(path: str, folder: str) -> str:
    """The episode that a path names; "" if it is none."""
    name = path.removeprefix(folder)
    return name if path.startswith(folder) and _NAME.fullmatch(name) else ""


def _read_asset(path: str) -> Response:
    raw = (Path(__file__).parent / path[1:]).read_bytes()
    return Response(body=raw, kind=f"{_ASSETS[path]}; charset=utf-8")


def _html(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(status, text.encode(errors="replace"))


def _json(value: Mapping[str, object]) -> Response:
    return Response(body=json.dumps(value).encode(), kind="application/json")


def _go_to(
    path: str, headers: Mapping[str, str] | None = None, said: str = ""
) -> Response:
    """Sends a browser on, so that nothing is done twice when a page is loaded again."""
    where = f"{path}?{markup.encode_said(said)}" if said else path
    return Response(
        HTTPStatus.SEE_OTHER, headers={**(headers or {}), "Location": where}
    )
