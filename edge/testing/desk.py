"""A robot on a desk with its page: the real supervisor, and all its programs."""

import re
from collections.abc import Callable

from edge.testing import browser, fork, process_tree
from edge.testing.browser import Browser
from edge.testing.robot_home import RobotHome


class Desk:
    """A supervisor with a page.

    Attributes:
        made: the robot's folder.
        log: file of what its programs say.
        supervisor: its process.
    """

    def __init__(self, made: RobotHome, *flags: str) -> None:
        """Starts it.

        Args:
            made: the robot's folder.
            flags: of //edge:robot, beside those that the folder needs.
        """
        self.made = made
        self.log = made.home.root / "log"
        self.supervisor = fork.start(
            "edge.processes.robot",
            *made.flags,
            "--page=local",
            "--page_port=0",
            *flags,
            log=self.log,
        )

    def wait_for(self, wanted: Callable[[], object]) -> None:
        """Waits for a condition while the supervisor runs."""

        def look() -> object:
            assert self.supervisor.poll() is None, self.log.read_text()
            return wanted()

        process_tree.wait_until(look, self.log.read_text)

    def find_shown(self) -> tuple[int, str]:
        """Waits for the last line about the page: its port and its code."""
        self.wait_for(lambda: re.search(browser.SHOWN, self.log.read_text()))
        port, code = re.findall(browser.SHOWN, self.log.read_text())[-1]
        return int(port), code

    def find(self, name: str) -> int | None:
        """Id of one of its processes; None if it does not run."""
        return process_tree.find_child(self.supervisor.pid, f"edge.processes.{name}")

    def pair(self) -> Browser:
        """Pairs a first browser, by the code that the page says when it starts."""
        port, code = self.find_shown()
        found = Browser(port)
        found.pair(code)
        return found

    def pair_another(self) -> Browser:
        """Pairs a second one: there is another code then, which the status says."""
        pattern = r"code ([A-Z0-9-]+), 1 paired"
        self.wait_for(lambda: re.search(pattern, self.log.read_text()))
        found = Browser(self.find_shown()[0])
        found.pair(re.findall(pattern, self.log.read_text())[-1])
        return found

    def close(self) -> None:
        """Ends it with all that runs below it."""
        below = process_tree.list_descendants(self.supervisor.pid)
        self.supervisor.kill()
        self.supervisor.wait()
        process_tree.kill_all(one.pid for one in below)
