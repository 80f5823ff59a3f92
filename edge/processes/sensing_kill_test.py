"""Programs of a robot that sees and hears are killed, and its disk has a key.

It has a camera and a microphone beside it, and a spool key. The supervisor, control,
the recorder, the learner and what masks its pictures are killed at random instants.

After each kill the folder is whole at once, nothing raw can be read without the key, at
most the step that was being written is lost, and each step that was recorded has a
whole picture and a whole sound. Then the robot drives a whole episode.
"""

import io
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from edge.testing import process_tree, processes, ring_steps
from edge.testing.at_terminal import AtTerminal
from edge.testing.living_robot import LivingRobot
from edge.testing.process_tree import Running
from edge.testing.sounds import list_files_with, make_noise, write_wav
from edge.testing.tiny_learning import ROBOT_ID
from rlds import blank_picture, reader, sealing, spool_key
from rlds.episode import Episode
from rlds.spec import NO_PICTURE_AGE, SOUND_BANDS, age_field, picture_field

KILLS: Final = 5
LONG_KILLS: Final = int(os.environ.get("KILLS", "15"))
"""Some two minutes; `--test_env=KILLS=300 --test_timeout=3600` makes 300 in 28."""
SEED: Final = int(os.environ.get("KILLS_SEED", "0"))
STEPS: Final = 40
"""Of the replayed episode, which lasts half a second: most wait for masks."""
SIDE: Final = 64
_CAMERA: Final = "front"
_SUPERVISOR, _MASKS = "robot", "masks"
_MASK_WORKER: Final = "edge.redact.mask_worker"
_PROGRAMS: Final = ("control", "record", "learn")
KINDS: Final = (_SUPERVISOR, *_PROGRAMS, _MASKS)
_LONGEST_HUNT_S: Final = 120.0  # a child that masks runs for an instant of each episode
_LISTENED_HZ: Final = 16_000
# What every JPEG of the camera begins with, and names of fields of an episode.
_READABLE: Final = (b"\xff\xd8\xff\xe0\x00\x10JFIF", b"observation/", ROBOT_ID.encode())
_OPEN_FOLDERS: Final = ("ring", "run", "shared", "packages", "deltas", "receipts")
"""What is not raw, or is in memory on a robot."""


class Robot(LivingRobot):
    """A robot with senses, of which programs are killed."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.draw = draw
        self.kills: Counter[str] = Counter()
        self.raw: dict[str, Episode] = {}
        self._looked: set[str] = set()
        self.key = folder / "spool.key"
        spool_key.use(self.key, creates=True)
        self.sound = make_noise(_LISTENED_HZ, 2.0)
        wav = write_wav(folder / "room.wav", self.sound, _LISTENED_HZ)
        super().__init__(
            folder,
            f"--camera={_CAMERA}=simulated,{SIDE}x{SIDE},20",
            f"--microphone={wav}",
            f"--spool_key={self.key}",
            steps=STEPS,
        )

    def tell(self, what: str) -> str:
        return super().tell(f"{what}; {dict(self.kills)}")

    def drive(self) -> None:
        """Waits until an episode was recorded whole that began after this."""
        self.press(b"d")
        self.read_raw()
        before = {one.stem for one in self.home.private.glob("*.journal")}
        before |= self.raw.keys()

        def has_driven() -> bool:
            self.read_raw()
            return any(
                one.num_steps == STEPS and name not in before
                for name, one in self.raw.items()
            )

        self.wait_until(has_driven, "no episode was driven")

    def read_raw(self) -> None:
        """Reads with the key each raw episode that is new, and looks at its senses."""
        home = self.home
        for folder in (home.private, home.new_memories, home.memories):
            for path in folder.glob("*.tfrecord"):
                if path.name in self._looked:
                    continue
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue  # it has just been handed over
                assert sealing.is_sealed(content), path
                episode = reader.read_episode_bytes(content)
                check_senses(episode)
                self.raw[episode.metadata.episode_id] = episode
                self._looked.add(path.name)

    def check(self) -> None:
        """All that lies in the home is whole, and nothing raw can be read in it."""
        self.whole.check()
        self.read_raw()
        assert self.list_readable() == []
        if self.kills:
            lost = self.whole.read_account()["missing"]
            assert lost["no_room"] <= self.interruptions, self.tell(f"lost {lost}")
            assert lost["refused"] == lost["unfit"] == 0, self.tell(f"lost {lost}")

    def list_readable(self) -> list[str]:
        """Files that say something of an episode to whoever has no key."""
        found = []
        for path in self.home.root.rglob("*"):
            name = path.relative_to(self.home.root)
            if name.parts[0] in _OPEN_FOLDERS or not path.is_file():
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            if any(probe in content for probe in _READABLE):
                found.append(str(name))
        return found

    def find(self, kind: str) -> Running | None:
        """A process of this kind; None if none runs."""
        top = self.terminal.process.pid
        module = _MASK_WORKER if kind == _MASKS else f"edge.processes.{kind}"
        below = process_tree.list_descendants(top)
        found = [one for one in below if module in one.words]
        return self.draw.choice(found) if found else None

    def kill(self, kind: str) -> None:
        """Kills one process; all that it leaves is whole, and the robot drives."""
        self.rest(self.draw.uniform(0.0, 1.5))
        found: list[int] = [self.terminal.process.pid] * (kind == _SUPERVISOR)

        def look() -> bool:
            running = self.find(kind)
            found.extend([running.pid] if running else [])
            return bool(found)

        if not found:
            self.wait_until(look, f"no {kind}", _LONGEST_HUNT_S)
        below = process_tree.list_descendants(found[0])
        process_tree.kill_all(found)
        self.kills[kind] += 1
        self.interruptions = self.kills[_SUPERVISOR] + self.kills["control"]
        self.check()
        process_tree.wait_until(
            lambda: not any(process_tree.is_alive(one.pid) for one in below),
            lambda: self.tell(f"a program has outlived {kind}"),
        )
        if kind == _SUPERVISOR:
            self.terminal.close()
            self.said += self.terminal.said
            self.terminal = AtTerminal(self.command)
        self.drive()
        self.check()


def check_senses(episode: Episode) -> None:
    """Each step of a raw episode has a whole picture, and a sound of the right size."""
    pictures = episode.steps[picture_field(_CAMERA)]
    ages_ns = episode.steps[age_field(_CAMERA)]
    assert len(pictures) == episode.num_steps
    assert not (ages_ns == NO_PICTURE_AGE).any()
    for jpeg in set(pictures):
        assert not blank_picture.is_blank(jpeg)
        with Image.open(io.BytesIO(jpeg)) as opened:
            assert np.asarray(opened).shape == (SIDE, SIDE, 3)
    heard = episode.steps["observation/audio_mel"]
    assert heard.shape == (episode.num_steps, SOUND_BANDS)
    assert np.isfinite(heard).all()
    if episode.num_steps == STEPS:
        assert len(np.unique(heard, axis=0)) > STEPS / 10  # it is not one held value


def count_steps(robot: Robot) -> int:
    """Each step is there once and in its order; returns how many are there."""
    states = [state.tobytes() for state in robot.replayed.steps["observation/state"]]
    robot.whole.read_shared()
    known = robot.raw | robot.whole.shared
    later = {ring_steps.name_next(name) for name in known}
    counted = 0
    for name in known.keys() - later:
        seen = [
            state.tobytes()
            for part in ring_steps.list_parts(name, known)
            for state in part.steps["observation/state"]
        ]
        assert seen == states[: len(seen)], name
        counted += len(seen)
    assert sum(one.num_steps for one in known.values()) == counted
    return counted


def check_shipped_programs(robot: Robot) -> None:
    """What is sealed is shown with the key, and is one line without it."""
    sealed = [*robot.home.private.glob("*.tfrecord")]
    sealed += [*robot.home.memories.rglob("*.tfrecord")]
    page = robot.home.root.parent / "page.html"
    shown = f"--output={page}", str(sealed[0])
    key = f"--spool_key={robot.key}"
    assert show(key, *shown) == (0, "")
    assert page.stat().st_size > SIDE * SIDE
    page.unlink()
    code, said = show(*shown)
    assert (code, said.count("\n")) == (1, 1)
    assert "expected the device's key" in said
    assert not page.exists()


def show(*arguments: str) -> tuple[int, str]:
    """Runs `//rlds:show`; its exit code, and what it says on stderr."""
    done = subprocess.run(
        processes.command("rlds.show.show", *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=processes.environment(),
        timeout=process_tree.LONGEST_S,
    )
    return done.returncode, done.stderr


def check_kills(robot: Robot, kills: int) -> None:
    """Kills programs, kind by kind in a random order."""
    start_s = time.monotonic()
    robot.drive()
    kinds: list[str] = []
    for number in range(kills):
        if not kinds:
            kinds = robot.draw.sample(KINDS, len(KINDS))
        kind = kinds.pop()
        try:
            robot.kill(kind)
        except BaseException:
            print(f"kill {number} of seed {SEED}, {kind}: {robot.tell('')}")
            raise
    said = robot.end()
    robot.check()
    counted = count_steps(robot)
    account = robot.whole.read_account()
    lost = account["missing"]["no_room"]
    assert counted == account["driven"] - lost
    assert not [*robot.home.private.glob("*.journal")]
    for folder in (robot.home.private, robot.home.memories, robot.home.shared):
        assert list_files_with(robot.sound, folder) == []
    assert "Traceback" not in said
    check_shipped_programs(robot)
    spent_s = time.monotonic() - start_s
    print(
        f"{kills} kills {dict(robot.kills)}: {lost} of {account['driven']} steps lost,"
        f" {len(robot.raw)} raw and {len(robot.whole.shared)} shared episodes,"
        f" {spent_s:.0f} s, load {os.getloadavg()[0]:.0f}, seed {SEED}"
    )


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    made = Robot(tmp_path, random.Random(SEED))
    yield made
    made.close()
    spool_key.use(None, creates=False)


def test_senses_of_a_robot_whose_programs_are_killed_stay_whole_and_sealed(
    robot: Robot,
) -> None:
    check_kills(robot, KILLS)


@pytest.mark.long
def test_senses_of_a_robot_whose_programs_are_killed_again_and_again(
    robot: Robot,
) -> None:
    check_kills(robot, LONG_KILLS)
