"""The real client against a small server that speaks the JSON API.

The server answers 412 to a precondition that does not hold, as the service does.
"""

import hashlib
import json
import re
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from release import testing
from release.errors import (
    NotFoundError,
    OversizedError,
    PreconditionFailedError,
    UnsafePathError,
)
from release.publish import publish
from release.store import open_store
from release.verify import verified_channel

# The client says on import that one of its optional parts is not installed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Please install grpcio-status:ImportWarning"
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    @property
    def objects(self):
        return self.server.objects

    def _answer(self, code, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _resource(self, name):
        generation, data = self.objects[name]
        return {
            "kind": "storage#object",
            "bucket": "bucket",
            "name": name,
            "generation": str(generation),
            "size": str(len(data)),
        }

    def _store(self, name, data, query):
        current = self.objects.get(name, (0, b""))[0]
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and int(wanted[0]) != current:
            self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
            return
        self.server.clock += 1
        self.objects[name] = (self.server.clock, data)
        self._answer(200, self._resource(name))

    def do_POST(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        composed = re.fullmatch(r".*/b/bucket/o/([^/]+)/compose", url.path)
        if composed:
            names = [one["name"] for one in json.loads(body)["sourceObjects"]]
            data = b"".join(self.objects[name][1] for name in names)
            self._store(unquote(composed[1]), data, query)
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        meta, content = BytesParser().parsebytes(head + body).get_payload()
        name = json.loads(meta.get_payload())["name"]
        start = body.index(b"\r\n\r\n", body.index(b"octet-stream")) + 4
        end = body.rindex(b"\r\n--")
        assert content is not None
        self._store(name, body[start:end], query)

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path.endswith("/o"):
            prefix = query.get("prefix", [""])[0]
            items = [
                self._resource(n) for n in sorted(self.objects) if n.startswith(prefix)
            ]
            self._answer(200, {"kind": "storage#objects", "items": items})
            return
        name = unquote(url.path.rpartition("/o/")[2])
        if name not in self.objects:
            self._answer(404, {"error": {"code": 404, "message": "none"}})
        elif query.get("alt") == ["media"]:
            first, last = re.fullmatch(
                r"bytes=(\d+)-(\d+)", self.headers["Range"]
            ).groups()
            data = self.objects[name][1][int(first) : int(last) + 1]
            self._answer(206, data, "application/octet-stream")
        else:
            self._answer(200, self._resource(name))


@pytest.fixture
def server(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.objects, server.clock = {}, 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(
        "STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}"
    )
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(server):
    return open_store("gs://bucket/some/prefix")


def test_what_is_put_is_got_under_the_prefix(server, store):
    generation = store.put("a/b", b"0123\r\n\x0089")
    assert store.get("a/b", 100) == b"0123\r\n\x0089"
    assert store.get_range("a/b", 2, 3) == b"23\r"
    assert store.get_range("a/b", 100, 3) == b""
    assert store.generation("a/b") == generation
    assert store.digest("a/b") == hashlib.sha256(b"0123\r\n\x0089").hexdigest()
    assert list(server.objects) == ["some/prefix/a/b"]


def test_an_empty_object_is_empty(store):
    store.put("empty", b"")
    assert store.get("empty", 10) == b""


def test_an_absent_object_is_not_found_and_has_generation_zero(store):
    assert store.generation("nosuch") == 0
    with pytest.raises(NotFoundError):
        store.get("nosuch", 10)
    with pytest.raises(NotFoundError):
        store.digest("nosuch")


def test_an_object_over_the_limit_is_refused(store):
    store.put("a", b"12345")
    with pytest.raises(OversizedError):
        store.get("a", 4)


def test_a_put_on_another_generation_changes_nothing(store):
    first = store.put("a", b"1", if_generation_match=0)
    with pytest.raises(PreconditionFailedError):
        store.put("a", b"2", if_generation_match=0)
    assert store.get("a", 9) == b"1"
    store.put("a", b"3", if_generation_match=first)
    assert store.get("a", 9) == b"3"


def test_list_and_compose(store):
    store.put("x/1", b"one ")
    store.put("x/2", b"two")
    store.compose(["x/1", "x/2"], "both")
    assert store.get("both", 100) == b"one two"
    assert store.list("x/") == ("x/1", "x/2")
    assert store.list("") == ("both", "x/1", "x/2")


def test_a_path_that_leads_out_is_refused(server, store):
    with pytest.raises(UnsafePathError):
        store.put("../other", b"x")
    assert server.objects == {}


def test_a_release_published_to_a_bucket_verifies(server, store, tmp_path):
    release = testing.release(tmp_path)
    testing.write_package(tmp_path / "package")
    release.sign(tmp_path / "package")
    key = release.keys["channel:nightly"]
    done = publish(
        store,
        "nightly",
        tmp_path / "package",
        [key],
        release.trusted,
        testing.NOW,
        testing.EXPIRES,
    )
    raw = store.get(done.envelope_path, 10**6)
    verified = verified_channel(raw, "nightly", release.trusted, testing.NOW, 0)
    assert store.digest(done.tar_path) == verified.entry("pi5-cpu").sha256
    assert done.channel_uri == "gs://bucket/some/prefix/channels/nightly.json"
