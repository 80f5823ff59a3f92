"""A bucket for tests: a small server with the JSON API of Google Cloud Storage.

The real client connects to it, because `STORAGE_EMULATOR_HOST` names it. Like the
service, it answers 412 if a precondition fails and 404 for any other bucket.
"""

import contextlib
import gzip
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

NAME = "bucket"
_POLL_S = 0.02  # longest wait for the server to stop at the end of a test
_Query = Mapping[str, list[str]]


@dataclass
class Bucket:
    """What the server stores and how it misbehaves.

    Attributes:
        environment: variables through which the client finds this server.
        objects: generation and content by name.
        clock: generation of the latest write.
        sent_bytes: bytes of content that the server has sent.
        forbidden: whether every request is answered with 403.
        ignores_range: whether every download is the whole object.
        content_encoding: the encoding that the server states for its objects.
        dribble_s: pause after each byte of an answer, its headers included; 0 for none.
        delay_s: pause before each answer.
        page_size: names in a page of a list; with 0, empty pages follow each other.
        padding: code, bytes and encoding of every answer instead of the right one.
        content_error_bytes: bytes of an error instead of an object's content.
    """

    environment: Mapping[str, str]
    objects: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    clock: int = 0
    sent_bytes: int = 0
    forbidden: bool = False
    ignores_range: bool = False
    content_encoding: str = ""
    dribble_s: float = 0.0
    delay_s: float = 0.0
    page_size: int = 1000
    padding: tuple[int, int, str] | None = None
    content_error_bytes: int = 0

    def put(self, name: str, data: bytes) -> None:
        """Writes an object without the API, like another client of the bucket."""
        self.clock += 1
        self.objects[name] = (self.clock, data)

    def put_tree(self, folder: Path, prefix: str = "") -> None:
        """Puts every file below `folder`, by its relative path after `prefix`."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{prefix}{path.relative_to(folder).as_posix()}"
                self.put(name, path.read_bytes())


@contextlib.contextmanager
def serve() -> Iterator[Bucket]:
    """Serves an empty bucket to this process and its children during the block."""
    server = _Server(("127.0.0.1", 0), _Handler)
    environment = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_port}",
        "NO_PROXY": "127.0.0.1",
    }
    server.bucket = Bucket(environment)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,))
    thread.start()
    try:
        with mock.patch.dict(os.environ, environment):
            yield server.bucket
    finally:
        server.bucket.dribble_s = 0.0
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    bucket: Bucket


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is written in two parts. Held back until the client has confirmed the
    # first, the second would come 40 ms later.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Logs nothing, so that the test's output stays readable."""

    def do_POST(self) -> None:
        """Uploads an object in one request, or composes one from others."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._refuse_all():
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        composed = re.fullmatch(r".*/o/([^/]+)/compose", url.path)
        if composed:
            names = [one["name"] for one in json.loads(body)["sourceObjects"]]
            data = b"".join(self._bucket.objects[name][1] for name in names)
            self._store(unquote(composed[1]), data, query)
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        meta = cast("Message", BytesParser().parsebytes(head + body).get_payload(0))
        name = json.loads(str(meta.get_payload()))["name"]
        # The content is cut out by hand, since a mail parser changes line endings.
        start = body.index(b"\r\n\r\n", body.index(b"octet-stream")) + 4
        self._store(name, body[start : body.rindex(b"\r\n--")], query)

    def do_GET(self) -> None:
        """Lists objects, describes one or sends its content."""
        if self._refuse_all():
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        objects = self._bucket.objects
        if url.path.endswith("/o"):
            prefix = query.get("prefix", [""])[0]
            names = sorted(name for name in objects if name.startswith(prefix))
            self._list(names, int(query.get("pageToken", ["0"])[0]))
            return
        name = unquote(url.path.rpartition("/o/")[2])
        if name not in objects:
            self._refuse(404, f"No such object: {NAME}/{name}")
        elif query.get("alt") == ["media"] and self._bucket.content_error_bytes:
            self._refuse(404, " " * self._bucket.content_error_bytes)
        elif query.get("alt") == ["media"]:
            self._send(objects[name][1])
        else:
            self._answer(200, self._resource(name))

    @property
    def _bucket(self) -> Bucket:
        return cast("_Server", self.server).bucket

    def _refuse_all(self) -> bool:
        """Refuses a request that is not served; returns whether it did."""
        if self._bucket.padding is not None:
            code, size_bytes, encoding = self._bucket.padding
            data = b" " * size_bytes
            self._answer(
                code,
                gzip.compress(data) if encoding else data,
                "application/json",
                encoding,
            )
        elif self._bucket.forbidden:
            self._refuse(403, "robot@test does not have storage.objects access")
        elif f"/b/{NAME}/o" not in self.path:
            self._refuse(404, "The specified bucket does not exist.")
        else:
            return False
        return True

    def _list(self, names: list[str], begin: int) -> None:
        end = begin + self._bucket.page_size
        page: dict[str, object] = {
            "kind": "storage#objects",
            "items": [self._resource(name) for name in names[begin:end]],
        }
        if end < len(names):
            page["nextPageToken"] = str(end)
        self._answer(200, page)

    def _store(self, name: str, data: bytes, query: _Query) -> None:
        current = self._bucket.objects.get(name, (0, b""))[0]
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and int(wanted[0]) != current:
            self._refuse(412, "conditionNotMet")
            return
        self._bucket.put(name, data)
        self._answer(200, self._resource(name))

    def _send(self, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if span is None or self._bucket.ignores_range:
            code = 200
        else:
            code, data = 206, data[int(span[1]) : int(span[2]) + 1]
        self._bucket.sent_bytes += len(data)
        encoding = self._bucket.content_encoding
        self._answer(code, data, "application/octet-stream", encoding)

    def _resource(self, name: str) -> dict[str, str]:
        generation, data = self._bucket.objects[name]
        return {
            "kind": "storage#object",
            "bucket": NAME,
            "name": name,
            "generation": str(generation),
            "size": str(len(data)),
        }

    def _refuse(self, code: int, message: str) -> None:
        self._answer(code, {"error": {"code": code, "message": message}})

    def _answer(
        self,
        code: int,
        body: bytes | object,
        kind: str = "application/json",
        encoding: str = "",
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        time.sleep(self._bucket.delay_s)
        if self._bucket.dribble_s:
            self._dribble(code, data)
            return
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        # A client that has read enough closes the connection.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)

    def _dribble(self, code: int, data: bytes) -> None:
        """Sends an answer byte by byte until the client or the test has had enough."""
        self.close_connection = True
        head = f"HTTP/1.1 {code} OK\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        with contextlib.suppress(ConnectionError):
            for octet in head + data:
                self.wfile.write(bytes([octet]))
                time.sleep(self._bucket.dribble_s)
