"""The page's HTTP: small requests, few at a time, none for long.

One thread and one connection for each request, HTTP/1.0: nothing is kept open, so there
is nothing to smuggle a second request into. Whatever takes too long, says too much or
comes in too large a number ends without an answer that would cost anything.
"""

import contextlib
import http.server
import io
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

REQUEST_S: Final = 5.0
"""Time in which a whole request has to come, however it is dealt out."""
ANSWER_S: Final = 20.0
MOST_HEAD_BYTES: Final = 16 * 1024
MOST_BODY_BYTES: Final = 4 * 1024
MOST_REQUESTS: Final = 16
MOST_OF_AN_ADDRESS: Final = 6
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 16
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    # Not no-referrer: with that a browser sends no Origin with a form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Request:
    """One request, whole and of a size that is known.

    Attributes:
        method: `GET` or `POST`.
        path: of the URL, without its query; not decoded, so that nothing in it is
            hidden.
        query: the last value of each name.
        headers: by their names in small letters.
        form: the last value of each field of a POST.
        address: who sent it.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]
    address: str

    def cookie(self, name: str) -> str:
        """The value of a cookie; "" for none."""
        for part in self.headers.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return ""


@dataclass(frozen=True)
class Response:
    """One answer.

    Attributes:
        status: of HTTP.
        body: what it says.
        kind: media type of the body.
        headers: more of them; they come before those that every answer has.
    """

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Response]


def say(status: HTTPStatus, text: str) -> Response:
    """An answer of one line."""
    return Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Listens, and lets in as many as there is room for."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        """Listens from now on; `serve_forever` answers.

        Args:
            host: address to listen at.
            port: port to listen at; 0 for any that is free.
            answer: answers a request; it is called in threads.

        Raises:
            OSError: it cannot listen there.
        """
        self.answer = answer
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Binds, without the look-up of a name that `HTTPServer` makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def verify_request(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> bool:
        """Takes a request if there is room for it and for its sender."""
        address = _address_of(client_address)
        with self._lock:
            full = (
                self._open.total() >= MOST_REQUESTS
                or self._open[address] >= MOST_OF_AN_ADDRESS
            )
            if not full:
                self._open[address] += 1
        return not full

    def process_request_thread(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        """Deals with a request, and makes room again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            address = _address_of(client_address)
            with self._lock:
                self._open[address] -= 1
                if not self._open[address]:
                    del self._open[address]

    def handle_error(self, request: object, client_address: object) -> None:
        """Drops a request whose sender is gone; nobody is to fill a log."""


class _Timed(io.RawIOBase):
    """What comes from a socket within a time and a size, as a stream."""

    def __init__(self, source: socket.socket, most_bytes: int) -> None:
        self._source = source
        self._left = most_bytes
        self._by_s = time.monotonic() + REQUEST_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: self._left]  # type: ignore[arg-type]
        left_s = self._by_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._source.settimeout(left_s)
        count = self._source.recv_into(view) if len(view) else 0
        self._left -= count
        return count


class _Handler(http.server.BaseHTTPRequestHandler):
    """Reads one request and writes one answer."""

    protocol_version = "HTTP/1.0"
    server: Server

    def setup(self) -> None:
        super().setup()
        # Closed first: the stream of the base class reads without end.
        self.rfile.close()
        limit = MOST_HEAD_BYTES + MOST_BODY_BYTES
        self.rfile = io.BufferedReader(_Timed(self.connection, limit))

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the sender is gone, or too slow
            self.handle_one_request()

    def version_string(self) -> str:
        """Says nothing of the versions that answer."""
        return "continuon"

    def log_message(self, *_: object) -> None:
        """Logs nothing: a log of who looked at a robot is a record of a person."""

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        form = self._read_form()
        if form is not None:
            self._answer(form)

    def _read_form(self) -> Mapping[str, str] | None:
        """Reads the fields of a form; None if that was refused."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        length = self.headers.get("Content-Length", "")
        if (
            "Transfer-Encoding" in self.headers
            or not length.isascii()
            or not length.isdigit()
        ):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a form of a length")
        elif len(length) > 9 or int(length) > MOST_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a smaller form")
        elif kind != _FORM:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _FORM)
        else:
            raw = self.rfile.read(int(length))
            if len(raw) == int(length):
                return _parse_fields(raw.decode("ascii", errors="replace"))
            self._refuse(HTTPStatus.BAD_REQUEST, "a whole form")
        return None

    def _answer(self, form: Mapping[str, str]) -> None:
        names = [name.lower() for name in self.headers]
        doubled = {"host", "origin", "cookie", "content-length"} & {
            name for name, count in Counter(names).items() if count > 1
        }
        if doubled or not self.path.startswith("/"):
            self._refuse(HTTPStatus.BAD_REQUEST, "one request of this page")
            return
        parts = urlsplit(self.path.lstrip("/").join(("/", "")))
        request = Request(
            method=str(self.command),
            path=parts.path,
            query=_parse_fields(parts.query),
            headers={name.lower(): value for name, value in self.headers.items()},
            form=form,
            address=_address_of(self.client_address),
        )
        self._write(self.server.answer(request))

    def _refuse(self, status: HTTPStatus, wanted: str) -> None:
        self._write(say(status, f"expected {wanted}"))

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Answers what is no request of HTTP, and says nothing that was sent."""
        self.request_version = self.protocol_version  # so that it has headers
        self._write(say(HTTPStatus(code), "expected a request of this page"))

    def _write(self, response: Response) -> None:
        self.connection.settimeout(ANSWER_S)
        self.send_response_only(response.status)
        headers = {
            "Content-Type": response.kind,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": POLICY,
            **_ALWAYS,
            **response.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)


def _parse_fields(text: str) -> Mapping[str, str]:
    """The last value of each field; none of a text with too many."""
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in found.items()}


def _address_of(client: object) -> str:
    return str(client[0]) if isinstance(client, tuple) else ""
