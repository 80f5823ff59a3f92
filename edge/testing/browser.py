"""A browser at the page of a robot that runs, as a person at it would use it."""

import http.client
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

SHOWN = r"page: open http://127\.0\.0\.1:(\d+) and type ([A-Z0-9-]+)"
"""The line by which the page says its port and its code."""


@dataclass
class Answer:
    """What a request was answered.

    Attributes:
        status: of HTTP.
        text: the body.
        location: where a browser is sent on to; "" for nowhere.
    """

    status: int
    text: str
    location: str = ""

    @property
    def told(self) -> Mapping[str, Any]:
        """The body as JSON."""
        told: Mapping[str, Any] = json.loads(self.text)
        return told


@dataclass
class Browser:
    """One browser, not yet paired.

    Attributes:
        port: of the page on this machine.
        turn: in which it drives, or drove last.
        number: of its last command in that turn.
        stamp: the page's clock, as it last heard it, in ms.
    """

    port: int
    cookie: str = ""
    csrf: str = ""
    turn: str = ""
    number: int = 0
    stamp: int = 0
    last: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Of the page."""
        return f"127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None
    ) -> Answer:
        """Sends a request and returns the answer, whatever it is."""
        headers = {"Host": self.host, "Cookie": self.cookie}
        if method == "POST":
            headers |= {
                "Origin": f"http://{self.host}",
                "Content-Type": "application/x-www-form-urlencoded",
            }
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            body = urlencode(form) if form is not None else None
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            if cookie := answer.headers["Set-Cookie"]:
                self.cookie = cookie.partition(";")[0]
            return Answer(answer.status, text, answer.headers["Location"] or "")
        finally:
            connection.close()

    def pair(self, code: str) -> None:
        """Pairs it, by the code that the page shows."""
        assert self.ask("POST", "/pair", {"code": code}).status == 303
        self.read_token()

    def read_token(self) -> None:
        """Reads the token of its forms, of a session that it has."""
        shown = self.ask("GET", "/drive").text
        found = re.search(r'name="csrf" value="([^"]+)"', shown)
        assert found, shown
        self.csrf = found[1]

    def look(self) -> Mapping[str, Any]:
        """Asks for the clock, who drives and what the robot does."""
        told = self.ask("GET", f"/driving?turn={self.turn}").told
        self.stamp = told["stamp"]
        return told

    def take_over(self) -> Answer:
        """Takes the robot, in a new turn."""
        self.turn, self.number = secrets.token_hex(8), 0
        self.look()
        return self.drive(says="take_over")

    def say(self, word: str) -> Answer:
        """Says a word without having the robot."""
        self.turn, self.number = secrets.token_hex(8), 0
        self.look()
        return self.drive(says=word)

    def drive(self, *axes: float, says: str = "", **fields: str) -> Answer:
        """Sends a command, with other fields if they are given."""
        self.number += 1
        self.last = {
            "csrf": self.csrf,
            "turn": self.turn,
            "number": str(self.number),
            "stamp": str(self.stamp),
            "axes": ",".join(f"{one:g}" for one in axes),
            "says": says,
        } | fields
        return self.send(self.last)

    def send(self, form: Mapping[str, str]) -> Answer:
        """Sends a command as it is, as often as one likes."""
        answer = self.ask("POST", "/drive", form)
        if answer.status in (200, 409):
            self.stamp = answer.told["stamp"]
        return answer

    def order(self, word: str) -> Answer:
        """Tells the robot what to do, or to stop."""
        form = {"csrf": self.csrf, "says": word, "from": "drive"}
        return self.ask("POST", "/robot", form)
