"""Episodes that a test sends through the ring, and what a recorder made of them.

The state of each step is its number, so every step is found again: in which part it is,
twice, or nowhere.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from edge.control.control_step import ControlStep
from edge.episodes import episode_id
from edge.episodes.provenance import Provenance
from edge.episodes.step_ring import StepSender
from edge.robots.robot import Observation, Picture, Sound, Vector
from edge.testing.simulated_episodes import START_UNIX_NS
from rlds import reader
from rlds.episode import Episode

PROVENANCE: Final = Provenance("expert")
_BLIND: Final[Mapping[str, bytes]] = MappingProxyType({})


def step(
    number: int,
    *,
    is_last: bool = False,
    state: float | None = None,
    intervention: bool = False,
    sound: Vector | None = None,
    pictures: Mapping[str, bytes] = _BLIND,
) -> ControlStep:
    """One step of the smallest robot; the times are as far apart as at 100 Hz.

    `pictures` are JPEG, by the names of their cameras.
    """
    value = number if state is None else state
    now_ns = number * 10_000_000
    heard = None if sound is None else Sound(sound, now_ns)
    return ControlStep(
        observation=Observation(
            np.full(2, value, np.float32),
            now_ns,
            sound=heard,
            pictures={name: Picture(one, now_ns) for name, one in pictures.items()},
        ),
        action=np.zeros(1, np.float32),
        proposed_action=np.zeros(1, np.float32),
        reward=0.5,
        discount=0.0 if is_last else 1.0,
        is_first=number == 0,
        is_last=is_last,
        is_terminal=is_last,
        deadline_missed=False,
        safety_violation=False,
        intervention=intervention,
    )


def begin(sender: StepSender, provenance: Provenance = PROVENANCE) -> str:
    """Begins an episode and returns its name."""
    name = episode_id.make_random_id(START_UNIX_NS)
    sender.begin(name, START_UNIX_NS, provenance)
    return name


def send_episode(sender: StepSender, steps: int) -> str:
    """Sends a whole episode, which ends in success, and returns its name."""
    name = begin(sender)
    for number in range(steps):
        sender.append(step(number, is_last=number == steps - 1))
    sender.end(success=True)
    return name


def list_parts(name: str, known: dict[str, Episode]) -> Iterator[Episode]:
    """Yields the parts of an episode in their order."""
    while name in known:
        yield known[name]
        name = name_next(name)


def name_next(name: str) -> str:
    """The name of the part that follows one."""
    return episode_id.derive_next(name)


def read_episodes(folder: Path) -> dict[str, Episode]:
    """Reads the episodes of a folder, by their names."""
    found = [reader.read_episode(path) for path in sorted(folder.glob("*.tfrecord"))]
    return {one.metadata.episode_id: one for one in found}


def numbers(part: Episode) -> list[int]:
    """The numbers of the steps of a part."""
    return [int(state[0]) for state in part.steps["observation/state"]]
