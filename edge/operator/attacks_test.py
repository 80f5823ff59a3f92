"""Attacks on the page, each done to a server that listens, with episodes behind it."""

import dataclasses
import http.client
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from base.digest import sha256_bytes
from edge.episodes import robot_key
from edge.operator import server as serving
from edge.operator import sessions as times
from edge.operator.reading import Reading
from edge.operator.routes import COOKIE, Address, Site
from edge.operator.server import Server
from edge.operator.sessions import Sessions
from edge.testing import simulated_episodes
from edge.testing.processes import read_tree
from rlds import example_codec, reader, sidecar, tfrecord

_SECRET = b"raw-and-private"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Told:
    """A robot that notes what it is told."""

    orders: list[str] = field(default_factory=list)
    acts: list[tuple[bool, tuple[float, ...], str]] = field(default_factory=list)

    def count_axes(self) -> int:
        return 4

    def tell_doing(self) -> str:
        return "drives"

    def act(self, acts: bool, axes: tuple[float, ...], says: str) -> bool:
        self.acts.append((acts, axes, says))
        return True

    def describe(self) -> Sequence[tuple[str, str]]:
        return [("robot", '<b>drives</b> & "stands"')]

    def order(self, word: str) -> str:
        self.orders.append(word)
        return "told"

    def update_now(self) -> str:
        return self.order("update")

    def go_back(self, delta: str) -> str:
        return self.order(f"back {delta}")

    def label(self, name: str, says: str) -> str:
        return self.order(f"{says} {name}")

    def hurry(self) -> None:
        pass


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


class Page:
    """The page of a robot with two episodes, and a clock that a test can move."""

    def __init__(self, recorded: Path, root: Path, in_network: bool = False) -> None:
        shutil.copytree(recorded, root, dirs_exist_ok=True)
        self.shared = root / "shared"
        self.names = sorted(path.stem for path in self.shared.glob("*.tfrecord"))
        self.robot, self.sessions = Told(), Sessions()
        self.reading = Reading(self.shared, root / "deltas", root / "receipts")
        self.now_s = 1000.0
        site = Site(
            self.robot,
            self.reading,
            self.sessions,
            lambda: Address(self.port, {"localhost", "arm", "arm.local"}, in_network),
            lambda: self.now_s,
        )
        self.server = Server("127.0.0.1", 0, site.answer)
        self.port = self.server.port
        self.host = f"127.0.0.1:{self.port}"
        # It looks so often whether it is to end.
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        ).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.reading.close()

    def ask(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Answer:
        """Sends a request; a header `None` in words is left out."""
        sent = {"Host": self.host}
        if method == "POST":
            sent |= {"Origin": f"http://{self.host}", **_FORM}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        body = urlencode(form or {}) if method == "POST" else None
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(None if body is None else body.encode())
            answer = connection.getresponse()
            text = answer.read().decode()
            return Answer(answer.status, dict(answer.getheaders()), text)
        finally:
            connection.close()

    def pair(self) -> str:
        """Pairs a browser; returns the header of its cookie."""
        code = self.sessions.show_code(self.now_s)
        answer = self.ask("POST", "/pair", {"code": code})
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        return cookie.partition(";")[0]

    def csrf(self, cookie: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.show("/", cookie).text)
        assert found
        return found[1]

    def show(self, path: str, cookie: str) -> Answer:
        return self.ask("GET", path, Cookie=cookie)

    def drive(
        self, cookie: str, number: int, says: str = "", /, **fields: str
    ) -> Answer:
        """Sends a command of the turn `abab…`, with other fields if they are given."""
        form = {
            "csrf": self.csrf(cookie),
            "turn": "ab" * 8,
            "number": str(number),
            "stamp": str(int(self.now_s * 1000)),
            "axes": "0.5,-1",
            "says": says,
        } | fields
        return self.ask("POST", "/drive", form, Cookie=cookie)

    def order(self, cookie: str, csrf: str, **headers: str) -> Answer:
        form = {"says": "stopped", "csrf": csrf}
        return self.ask("POST", "/robot", form, Cookie=cookie, **headers)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two episodes, and what the robot keeps to itself."""
    root = tmp_path_factory.mktemp("recorded")
    simulated_episodes.make(root / "shared", 2, consent=False)
    (root / "shared.private" / "raw.tfrecord").write_bytes(_SECRET)
    return root


@pytest.fixture
def page(recorded: Path, tmp_path: Path) -> Iterator[Page]:
    made = Page(recorded, tmp_path)
    yield made
    made.close()


def send_raw(port: int, raw: bytes, wait_s: float = 10.0) -> bytes:
    """Sends bytes and returns the whole answer; empty if the server just closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as sender:
        received = b""
        try:
            sender.sendall(raw)
            while part := sender.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


def test_paired_browser_with_its_form_tells_the_robot(page: Page) -> None:
    cookie = page.pair()
    assert page.order(cookie, page.csrf(cookie)).status == 303
    assert page.robot.orders == ["stopped"]


def test_every_answer_forbids_what_a_page_of_ours_does_not_need(page: Page) -> None:
    cookie = page.pair()
    for path in ("/", "/page.css", "/status", "/episodes", "/nothing", "/learning"):
        headers = page.show(path, cookie).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers
        assert "Python" not in str(headers)
    preview = page.show(f"/preview/{page.names[0]}", cookie)
    policy = preview.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "unsafe" not in policy
    assert "sha256-" in policy


def test_nothing_is_loaded_from_anywhere_else(page: Page) -> None:
    cookie = page.pair()
    for path in ("/", "/episodes", f"/episodes/{page.names[0]}", "/page.js"):
        text = page.show(path, cookie).text
        assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", text)
        assert "innerHTML" not in text


@pytest.mark.parametrize(
    "path",
    ["/status", "/episodes", "/learning", "/preview/{}", "/drive", "/driving?turn=a"],
)
def test_stranger_sees_nothing_of_the_robot(page: Page, path: str) -> None:
    answer = page.ask("GET", path.format(page.names[0]))
    assert answer.status == 401
    assert "drives" not in answer.text
    first = page.ask("GET", "/")
    assert first.status == 200
    assert "drives" not in first.text


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{other}",
        "http://127.0.0.1",
        "http://127.0.0.1:{port}.evil.example",
        "http://localhost:{port}",
        "null",
        "",
    ],
)
def test_forged_origin_is_refused_though_cookie_and_token_are_right(
    page: Page, origin: str
) -> None:
    cookie = page.pair()
    forged = origin.format(port=page.port, other=page.port + 1)
    answer = page.order(cookie, page.csrf(cookie), Origin=forged)
    assert answer.status == 403
    assert page.robot.orders == []
    code = page.sessions.show_code(page.now_s)
    assert page.ask("POST", "/pair", {"code": code}, Origin=forged).status == 403
    assert page.ask("POST", "/drive", {}, Cookie=cookie, Origin=forged).status == 403


def test_request_that_a_browser_calls_cross_site_is_refused(page: Page) -> None:
    cookie = page.pair()
    for site in ("cross-site", "same-site"):
        answer = page.order(cookie, page.csrf(cookie), Sec_Fetch_Site=site)
        assert answer.status == 403
    assert page.robot.orders == []
    assert page.order(
        cookie, page.csrf(cookie), Sec_Fetch_Site="same-origin"
    ).status == (303)


@pytest.mark.parametrize(
    "path", ["/robot", "/drive", "/update", "/back", "/leave", "/episodes/{}"]
)
@pytest.mark.parametrize("token", ["missing", "wrong", "of another session"])
def test_form_without_the_token_of_its_session_does_nothing(
    page: Page, path: str, token: str
) -> None:
    cookie, other = page.pair(), page.pair()
    before = read_tree(page.shared)
    form = {"says": "stopped", "delta": "ab" * 32, "sha256": "ab" * 32}
    if path.startswith("/episodes"):
        form["says"] = "granted"
    if token == "wrong":
        form["csrf"] = "A" * 43
    elif token != "missing":
        form["csrf"] = page.csrf(other)
    if path == "/drive":
        stamp = str(int(page.now_s * 1000))
        form |= {"turn": "ab" * 8, "number": "1", "stamp": stamp, "says": "take_over"}
    where = path.format(page.names[0])
    assert page.ask("POST", where, form, Cookie=cookie).status == 403
    assert page.robot.orders == [] and page.robot.acts == []
    assert read_tree(page.shared) == before
    assert page.show("/status", cookie).status == 200  # nor was it left


def test_get_changes_nothing(page: Page) -> None:
    cookie = page.pair()
    csrf = page.csrf(cookie)
    before = read_tree(page.shared)
    query = urlencode({"says": "stopped", "csrf": csrf, "sha256": "ab" * 32})
    for path in ("/robot", "/update", "/back", f"/episodes/{page.names[0]}"):
        page.ask("GET", f"{path}?{query}", Cookie=cookie)
    stamp = int(page.now_s * 1000)
    query = f"says=take_over&csrf={csrf}&turn={'ab' * 8}&number=1&stamp={stamp}&axes=1"
    for path in ("/drive", "/driving"):
        page.ask("GET", f"{path}?{query}", Cookie=cookie)
    assert page.robot.orders == [] and page.robot.acts == []
    assert read_tree(page.shared) == before


def test_guessed_codes_are_not_even_looked_at_after_a_few(page: Page) -> None:
    statuses = [
        page.ask("POST", "/pair", {"code": f"AAAA-AAA{n}"}).status for n in range(12)
    ]
    most = times.TRIES_PER_MINUTE
    assert statuses == [403] * most + [429] * (12 - most)
    code = page.sessions.show_code(page.now_s)
    assert page.ask("POST", "/pair", {"code": code}).status == 429
    page.now_s += 60.0
    assert page.ask("POST", "/pair", {"code": code}).status == 303


def test_session_that_is_over_shows_and_does_nothing(page: Page) -> None:
    cookie = page.pair()
    csrf = page.csrf(cookie)
    page.now_s += times.IDLE_LIVES_S
    assert page.show("/status", cookie).status == 401
    assert page.order(cookie, csrf).status == 401
    assert page.robot.orders == []
    assert "Pair this browser" in page.show("/", cookie).text


def test_session_that_was_left_is_over(page: Page) -> None:
    cookie = page.pair()
    csrf = page.csrf(cookie)
    assert page.ask("POST", "/leave", {"csrf": csrf}, Cookie=cookie).status == 303
    assert page.order(cookie, csrf).status == 401


@pytest.mark.parametrize(
    "cookie",
    [
        f"{COOKIE}=",
        f"{COOKIE}=AAAA",
        f"{COOKIE}={'A' * 8000}",
        "other=1",
        f"{COOKIE}=\xff",
        f"{COOKIE}=../../../etc/passwd",
    ],
)
def test_invented_cookie_is_no_session(page: Page, cookie: str) -> None:
    assert page.show("/status", cookie).status == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "arm.evil.example:{port}",
        "127.0.0.1:{other}",
        "127.0.0.1",
        "10.0.0.7:{port}",
        "[fe80::1]:{port}",
        "[::1",
        "",
        "{long}:{port}",
        "localhost:{port}@evil.example",
    ],
)
def test_name_that_was_pointed_here_is_refused_before_anything_is_shown(
    page: Page, host: str
) -> None:
    """DNS rebinding: the browser believes that this address is the attacker's site."""
    cookie = page.pair()
    sent = host.format(port=page.port, other=page.port + 1, long="a" * 300)
    origin = f"http://{sent}"
    assert page.ask("GET", "/", Host=sent, Cookie=cookie).status == 421
    answer = page.order(cookie, page.csrf(cookie), Host=sent, Origin=origin)
    assert answer.status == 421
    assert page.robot.orders == []


def test_hosts_that_mean_this_machine_are_answered(page: Page) -> None:
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]", "arm", "arm.local"):
        assert page.ask("GET", "/", Host=f"{host}:{page.port}").status == 200


def test_page_in_a_network_answers_addresses_and_no_foreign_name(
    recorded: Path, tmp_path: Path
) -> None:
    page = Page(recorded, tmp_path, in_network=True)
    try:
        for host, status in (("10.0.0.7", 200), ("evil.example", 421)):
            assert page.ask("GET", "/", Host=f"{host}:{page.port}").status == status
    finally:
        page.close()


@pytest.mark.parametrize(
    "path",
    [
        "/../shared.private/raw.tfrecord",
        "/episodes/../../shared.private/raw.tfrecord",
        "/episodes/..%2f..%2fshared.private%2fraw.tfrecord",
        "/preview/../raw",
        "/preview/%2e%2e%2fshared.private%2fraw",
        "/preview//etc/passwd",
        "/page.css/../routes.py",
        "/routes.py",
        "/sessions.py",
        "//etc/passwd",
        "/page.js%00.css",
        "/preview/{name}/../../shared.private/raw",
        "/preview/{name}%00",
        "/episodes/{name}.tfrecord",
        "/episodes?before=../../x",
        "/preview/{upper}",
    ],
)
def test_path_leads_nowhere_but_to_the_page(page: Page, path: str) -> None:
    cookie = page.pair()
    name = page.names[0]
    sent = path.format(name=name, upper=name.upper().replace("0", "A"))
    answer = page.show(sent, cookie)
    assert answer.status in (400, 404)
    assert _SECRET.decode() not in answer.text
    assert "root:" not in answer.text and "import" not in answer.text


@pytest.mark.parametrize("how", ["linked", "in its place", "signed by another key"])
def test_raw_episode_that_somebody_put_into_the_shared_folder_is_not_shown(
    page: Page, how: str
) -> None:
    cookie = page.pair()
    name = page.names[0]
    path = page.shared / f"{name}.tfrecord"
    redacted = reader.read_episode(path)
    told = dataclasses.replace(redacted.metadata, location="52.5163,13.3777")
    raw = tfrecord.frame(
        example_codec.encode(dataclasses.replace(redacted, metadata=told))
    )
    kept = page.shared.with_name("shared.private") / path.name
    kept.write_bytes(raw)
    path.unlink()
    if how == "linked":
        path.symlink_to(kept)
    else:
        path.write_bytes(raw)
    if how == "signed by another key":
        beside = page.shared / f"{name}.sidecar.json"
        stated = dataclasses.replace(
            sidecar.parse(beside.read_bytes()),
            sha256=sha256_bytes(raw),
            size_bytes=len(raw),
        )
        beside.write_bytes(
            sidecar.sign(stated, robot_key.derive_simulated("x").signing)
        )
    for where in (f"/preview/{name}", f"/episodes/{name}", "/episodes"):
        answer = page.show(where, cookie)
        assert "52.51" not in answer.text
    assert page.show(f"/preview/{name}", cookie).status == 503


def test_raw_episode_that_the_robot_itself_signed_is_not_shown(page: Page) -> None:
    """As a defect would: its values are looked at before any is shown."""
    cookie = page.pair()
    name = page.names[0]
    path, beside = (
        page.shared / f"{name}.{end}" for end in ("tfrecord", "sidecar.json")
    )
    redacted = reader.read_episode(path)
    told = dataclasses.replace(redacted.metadata, location="52.5163,13.3777")
    raw = tfrecord.frame(
        example_codec.encode(dataclasses.replace(redacted, metadata=told))
    )
    stated = dataclasses.replace(
        sidecar.parse(beside.read_bytes()),
        sha256=sha256_bytes(raw),
        size_bytes=len(raw),
    )
    key = robot_key.derive_simulated(simulated_episodes.ROBOT_ID)
    path.write_bytes(raw)
    beside.write_bytes(sidecar.sign(stated, key.signing))
    for where in (f"/preview/{name}", f"/episodes/{name}", "/episodes"):
        assert "52.51" not in page.show(where, cookie).text


def test_texts_from_an_episode_or_the_robot_are_no_markup(page: Page) -> None:
    cookie = page.pair()
    text = page.show("/", cookie).text
    assert "&lt;b&gt;drives&lt;/b&gt; &amp; &quot;stands&quot;" in text
    text = page.show("/?said=%3Cscript%3Ealert(1)%3C/script%3E", cookie).text
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4000 + b"\r\n", (b"431", b"400", b"")),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", (b"414", b"400", b"")),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", (b"431", b"400", b"")),
        (b"\x00\xff\xfe\r\n\r\n", (b"400",)),
        (b"GET\r\n\r\n", (b"400",)),
        (b"DELETE / HTTP/1.1\r\n\r\n", (b"501",)),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n", (b"400",)),
        (b"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n", (b"400",)),
        (b"GET / HTTP/9.9\r\nHost: {host}\r\n\r\n", (b"505",)),
    ],
)
def test_request_that_is_too_large_or_none_is_refused(
    page: Page, raw: bytes, status: Sequence[bytes]
) -> None:
    sent = raw.replace(b"{host}", page.host.encode())
    answer = send_raw(page.port, sent)
    first = answer.partition(b"\r\n")[0]
    assert any(one in first for one in status), answer[:200]
    assert page.ask("GET", "/").status == 200  # and the page goes on


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Content-Length: 5000", b"a" * 5000, b"413"),
        ("Content-Length: 99999999999", b"", b"413"),
        ("Content-Length: -1", b"", b"411"),
        ("Content-Length: 0x10", b"", b"411"),
        ("Content-Length: \xb2", b"", b"411"),
        ("X: y", b"", b"411"),
        ("Transfer-Encoding: chunked", b"5\r\ncode=\r\n0\r\n\r\n", b"411"),
        ("Content-Length: 5\r\nContent-Length: 6", b"code=", b"400"),
        ("Content-Length: 9", b"code=", b"400"),
    ],
)
def test_form_of_no_or_of_a_wrong_size_is_refused(
    page: Page, headers: str, body: bytes, status: bytes
) -> None:
    head = (
        f"POST /pair HTTP/1.1\r\nHost: {page.host}\r\nOrigin: http://{page.host}\r\n"
        f"Content-Type: {_FORM['Content-Type']}\r\n{headers}\r\n\r\n"
    ).encode("latin-1")
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as sender:
        sender.sendall(head + body)
        sender.shutdown(socket.SHUT_WR)
        assert status in sender.recv(65536).partition(b"\r\n")[0]


def test_form_of_another_media_type_is_refused(page: Page) -> None:
    """What another site can send without asking first, and what it cannot."""
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=a"):
        answer = page.ask("POST", "/pair", {"code": "A"}, Content_Type=kind)
        assert answer.status == 415


def test_form_of_too_many_fields_is_none(page: Page) -> None:
    cookie = page.pair()
    form = {f"field{n}": "" for n in range(100)} | {"csrf": page.csrf(cookie)}
    assert page.ask("POST", "/robot", form, Cookie=cookie).status == 403


@pytest.mark.parametrize("how", ["silent", "drop by drop", "half a form"])
def test_slow_request_ends_and_others_are_answered_meanwhile(
    page: Page, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "REQUEST_S", 1.5)
    begin: Mapping[str, bytes] = {
        "silent": b"",
        "drop by drop": b"GET / HTTP/1.1\r\n",
        "half a form": (
            f"POST /pair HTTP/1.1\r\nHost: {page.host}\r\nContent-Length: 99\r\n"
            f"Content-Type: {_FORM['Content-Type']}\r\n\r\nco"
        ).encode(),
    }
    slow = [
        socket.create_connection(("127.0.0.1", page.port), timeout=10)
        for _ in range(serving.MOST_OF_AN_ADDRESS - 1)
    ]
    began_s = time.monotonic()
    for one in slow:
        one.sendall(begin[how])
    assert page.ask("GET", "/").status == 200
    while time.monotonic() - began_s < 1.2:
        for one in slow:
            if how == "drop by drop":
                one.sendall(b"A: b\r\n")
        time.sleep(0.1)
    for one in slow:
        with one:
            wait_for_end(one)
    assert time.monotonic() - began_s < 6.0


def wait_for_end(one: socket.socket) -> None:
    try:
        while one.recv(4096):
            pass
    except ConnectionError:
        pass


def test_many_connections_of_one_address_leave_room_and_end(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "REQUEST_S", 1.0)
    many = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(60)]
    time.sleep(0.3)
    assert len(threading.enumerate()) < serving.MOST_REQUESTS + 10
    for one in many:
        one.close()
    wait_until(lambda: try_status(page) == 200)


def try_status(page: Page) -> int:
    try:
        return page.ask("GET", "/").status
    except (OSError, http.client.HTTPException):
        return 0


def wait_until(wanted: Callable[[], bool]) -> None:
    by_s = time.monotonic() + 20.0
    while not wanted():
        assert time.monotonic() < by_s
        time.sleep(0.1)


def test_forms_of_one_session_are_limited_and_stop_has_a_limit_of_its_own(
    page: Page,
) -> None:
    cookie = page.pair()
    csrf = page.csrf(cookie)
    form = {"says": "driving", "csrf": csrf}
    statuses = [
        page.ask("POST", "/robot", form, Cookie=cookie).status for _ in range(70)
    ]
    assert statuses.count(303) == 60
    assert statuses[-1] == 429
    stops = [page.order(cookie, csrf).status for _ in range(15)]
    assert stops == [303] * 10 + [429] * 5
    page.now_s += 1.0
    assert page.order(cookie, csrf).status == 303


def test_flood_of_commands_is_limited_and_stop_is_heard_in_it(page: Page) -> None:
    cookie = page.pair()
    assert page.drive(cookie, 1, "take_over").status == 200
    statuses = [page.drive(cookie, 2 + n).status for n in range(50)]
    assert statuses == [200] * 39 + [429] * 11
    assert page.order(cookie, page.csrf(cookie)).status == 303
    assert page.robot.orders == ["stopped"]
    assert page.robot.acts[-1] == (False, (), ""), "and nobody has it any more"
    page.now_s += 1.0
    assert "over" in page.drive(cookie, 100).text
    assert len(page.robot.acts) == 41


@pytest.mark.parametrize(
    "wrong",
    [
        {"turn": ""},
        {"turn": "../../etc/passwd"},
        {"turn": "AB" * 8},
        {"turn": "ab" * 9},
        {"number": "-1"},
        {"number": "1e3"},
        {"number": "9" * 10},
        {"number": "\u0663"},
        {"stamp": "nan"},
        {"stamp": "1.5"},
        {"stamp": ""},
        {"axes": "2"},
        {"axes": "-1.001"},
        {"axes": "1.5,0"},
        {"axes": "nan"},
        {"axes": "inf"},
        {"axes": "1e0"},
        {"axes": "0,,0"},
        {"axes": ",".join(["0"] * 17)},
        {"axes": "0;1"},
        {"axes": "\u0661"},
        {"says": "stop"},
        {"says": "explode"},
        {"says": "TAKE_OVER"},
        {"says": "take_over\n"},
    ],
)
def test_malformed_command_moves_nothing(page: Page, wrong: dict[str, str]) -> None:
    cookie = page.pair()
    assert page.drive(cookie, 1, "take_over", **wrong).status == 400
    assert page.robot.acts == []


def test_command_of_another_session_is_refused_though_it_knows_the_turn(
    page: Page,
) -> None:
    cookie, other = page.pair(), page.pair()
    assert page.drive(cookie, 1, "take_over").status == 200
    for says in ("", "take_over", "hand_back", "success", "gone"):
        answer = page.drive(other, 2, says)
        assert (answer.status, "somebody else drives" in answer.text) == (409, True)
    assert len(page.robot.acts) == 1
    assert page.drive(cookie, 2).status == 200


def test_recorded_command_moves_nothing_when_it_is_sent_again(page: Page) -> None:
    cookie = page.pair()
    stamp = str(int(page.now_s * 1000))
    page.drive(cookie, 1, "take_over")
    page.drive(cookie, 2)
    for says, number in (("", 2), ("take_over", 1)):
        assert page.drive(cookie, number, says, stamp=stamp).status == 409
    page.now_s += 1.0  # nor later, whatever number it has
    assert "too late" in page.drive(cookie, 3, stamp=stamp).text
    page.drive(cookie, 4, "hand_back")
    assert "over" in page.drive(cookie, 1, "take_over").text
    assert [one[2] for one in page.robot.acts] == ["take_over", "", "hand_back"]


def test_session_that_ends_while_it_drives_lets_go_of_the_robot(page: Page) -> None:
    cookie = page.pair()
    csrf = page.csrf(cookie)
    page.drive(cookie, 1, "take_over")
    page.ask("POST", "/leave", {"csrf": csrf}, Cookie=cookie)
    assert page.robot.acts[-1] == (False, (), "gone")
    form = {"csrf": csrf, "turn": "ab" * 8, "number": "2", "stamp": "1", "axes": "1"}
    assert page.ask("POST", "/drive", form, Cookie=cookie).status == 401
    assert len(page.robot.acts) == 2


def test_reader_that_dies_is_started_again(page: Page) -> None:
    cookie = page.pair()
    assert page.names[0] in page.show("/episodes", cookie).text
    child = page.reading._child
    assert child is not None
    child.kill()
    child.wait()
    assert page.names[0] in page.show("/episodes", cookie).text
    page.reading.end_idle(time.monotonic() + 3600.0)
    assert page.reading.pid is None
