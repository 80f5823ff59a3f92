"""A robot that lives fast in a test: the real supervisor, all its programs, a channel.

It drives a replayed episode at its rate, is shown tasks, learns when it is told to
sleep, and follows a channel on which packages appear. Time runs faster: nights, trials
of packages and questions to the channel take seconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.processes.home import Home
from edge.testing import process_tree, processes, tiny_learning, tiny_package
from edge.testing.at_terminal import AtTerminal
from edge.testing.no_budgets import NO_BUDGETS
from edge.testing.tiny_learning import ROBOT_ID, TASKS, Plan
from edge.testing.tiny_package import Publisher
from edge.testing.whole_home import WholeHome
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, sealing, tfrecord

STEPS: Final = 20
"""Of the replayed episode."""
_SHOWN: Final = 8  # episodes that somebody shows before a night
_LONGEST_NIGHT_S: Final = 600.0  # a learner gives way to whatever else runs

_FAST_DAYS: Final = (
    *NO_BUDGETS,
    "--update_period_s=2",
    "--update_jitter_s=0",
    "--trial_episodes=2",
)


class LivingRobot:
    """A robot's folder, its store, and the supervisor that runs."""

    def __init__(self, folder: Path, *flags: str, steps: int = STEPS) -> None:
        """Starts it.

        Args:
            folder: of everything.
            *flags: more of them for the supervisor.
            steps: of the replayed episode.
        """
        self.home = Home(folder / "home")
        self.home.root.mkdir()
        self.publisher = Publisher(folder, PrivateKey.generate(development=True))
        self.whole = WholeHome(self.home, self.publisher.trusted, ROBOT_ID)
        self.shown = self.interruptions = 0
        self.brains: dict[str, int] = {}  # by the digest of a package
        self.publish(Plan())
        self.replayed = tiny_learning.demonstrate(0, steps=steps)
        path = folder / "episode.tfrecord"
        path.write_bytes(tfrecord.frame(example_codec.encode(self.replayed)))
        self.command = processes.command(
            "edge.processes.robot",
            f"--home={self.home.root}",
            f"--keyring={self.publisher.keyring()}",
            "--allow_development_keys",
            f"--robot=replay:{path}",
            f"--channel={self.publisher.channel_uri}",
            f"--robot_id={ROBOT_ID}",
            "--page=local",
            "--page_port=0",
            *_FAST_DAYS,
            *flags,
        )
        self.said = ""
        self.terminal = AtTerminal(self.command)

    def publish(self, plan: Plan) -> str:
        """A new package appears on the channel; returns its digest."""
        number, key = len(self.brains), self.publisher.key
        folder = self.publisher.folder / f"package-{number}"
        digest = tiny_learning.write_package(folder, plan, release_counter=number + 1)
        tiny_package.sign_package(folder, digest, key)
        self.brains[digest] = plan.seed
        self.publisher.release(number, now=datetime.now(UTC))
        return digest

    def show(self) -> None:
        """Somebody shows the robot its tasks, and each file appears whole.

        What is shown is near to what the package does, so that it can be learned.
        """
        seed = self.brains[self.whole.check_package().digest]
        folder = self.home.new_memories
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_SHOWN):
            self.shown += 1
            made = tiny_learning.demonstrate(
                self.shown,
                TASKS[self.shown % len(TASKS)],
                seed=seed,
            )
            raw = sealing.seal(tfrecord.frame(example_codec.encode(made)))
            draft = self.home.root / "draft"
            draft.write_bytes(raw)
            draft.rename(folder / f"{made.metadata.episode_id}.tfrecord")

    def press(self, key: bytes) -> None:
        """Presses a key of the supervisor: the episode that runs may end by it."""
        self.interruptions += key != b"d"
        self.terminal.press(key)

    def rest(self, seconds: float) -> None:
        """Lets time pass; the terminal is read meanwhile."""
        self.terminal.listen_for(seconds)

    def wait_until(
        self,
        done: Callable[[], object],
        what: str,
        longest_s: float = process_tree.LONGEST_S,
    ) -> None:
        def look() -> bool:
            self.terminal.listen(0.0)
            assert self.terminal.process.poll() is None, self.tell(what)
            return bool(done())

        process_tree.wait_until(look, lambda: self.tell(what), longest_s)

    def tell(self, what: str) -> str:
        return f"{what}; {self.terminal.said[-6000:]}"

    def drive(self) -> None:
        """Waits until an episode was driven whole that began after this."""
        self.press(b"d")
        self.whole.read_shared()
        before = set(self.whole.shared)
        self.wait_until(lambda: self._has_driven(before), "no episode was driven")

    def _has_driven(self, before: set[str]) -> bool:
        self.whole.read_shared()
        new = [one for name, one in self.whole.shared.items() if name not in before]
        # The first of them may have been on its way to the disk.
        return sum(one.num_steps == STEPS for one in new) > 1

    def sleep_a_night(self) -> None:
        """The robot learns, and nobody disturbs it."""
        self.show()
        self.wait_until(
            lambda: not [*self.home.new_memories.glob("*.tfrecord")],
            "what was shown is not taken in",
        )
        ended = self.terminal.said.count("learn: slow: ")
        self.press(b"s")
        self.wait_until(
            lambda: self.terminal.said.count("learn: slow: ") > ended,
            "no night ended",
            _LONGEST_NIGHT_S,
        )

    def end(self) -> str:
        """Ends the robot in good order; returns all that it has said."""
        below = process_tree.list_descendants(self.terminal.process.pid)
        self.press(b"q")
        code = self.terminal.finish()
        assert code == 0, self.tell("it ended badly")
        assert not any(process_tree.is_alive(one.pid) for one in below)
        return self.said + self.terminal.said

    def close(self) -> None:
        below = process_tree.list_descendants(self.terminal.process.pid)
        self.terminal.close()
        process_tree.kill_all(one.pid for one in below)
