"""A robot that plays back recorded observations, whatever the actions are.

It serves to check a package on a machine without an arm: the same episode gives the
same observations everywhere, so that the actions of two machines can be compared. Of
each camera it gives the pictures that were recorded, new ones and held ones as they
were, and the sound of each step, so that a package that sees or hears drives it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.errors import ActionAfterEndError, ActionShapeError, ReplayError
from edge.robots.clock import NS_PER_S, SimulatedClock
from edge.robots.recorded import find_microphone, list_cameras, list_observations
from edge.robots.robot import Observation, Picture, RobotSpec, Transition, Vector
from rlds import reader
from rlds.episode import Episode

_UNBOUNDED: Final = float(np.finfo(np.float32).max)
_SINGLE_STEP_HZ: Final = 80.0  # assumed if an episode has only one step


class ReplayRobot:
    """Implements `Robot` with one recorded episode.

    Success is never known, because nothing here responds to an action.
    """

    def __init__(self, episode: Episode, source: str, clock: SimulatedClock) -> None:
        """Takes the episode.

        Args:
            episode: the episode to play back.
            source: name of the episode, for errors.
            clock: advanced by one control period per action.

        Raises:
            ReplayError: the episode's times do not increase, or a picture is broken;
                the text names its step.
        """
        self._source = source
        self._clock = clock
        self._seen = list_observations(episode)
        self._next = 0
        # Of each camera, when its newest picture was taken then, and as it is shown.
        self._newest: dict[str, tuple[int, Picture]] = {}
        times_ns = episode.steps["t_monotonic_ns"]
        period_ns = float(np.median(np.diff(times_ns))) if len(times_ns) > 1 else None
        if period_ns is not None and period_ns <= 0:
            raise ReplayError(
                source,
                "times that increase",
                f"a period of {period_ns} ns",
                "choose another episode",
            )
        actions = episode.spec.action_size
        control_hz = _SINGLE_STEP_HZ if period_ns is None else NS_PER_S / period_ns
        cameras = list_cameras(episode, source, control_hz)
        self._names = {name: camera.name for name, camera in cameras.items()}
        self._spec = RobotSpec(
            state_size=episode.spec.state_size,
            action_size=actions,
            control_hz=control_hz,
            robot_model=episode.metadata.robot_model,
            environment_id=f"replay-{episode.metadata.environment_id}",
            task=episode.metadata.task,
            action_minimum=(-_UNBOUNDED,) * actions,
            action_maximum=(_UNBOUNDED,) * actions,
            simulated=True,
            cameras=tuple(cameras.values()),
            microphone=find_microphone(episode, source, control_hz),
        )

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> SimulatedClock:
        """See `Robot.clock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Starts at the first recorded observation; the seed has no effect."""
        del seed
        self._next = 1
        self._newest.clear()
        return self._observe(0)

    def act(self, action: Vector) -> Transition:
        """Returns the next recorded observation; the last one is terminal.

        Raises:
            ActionAfterEndError: there was no `reset`, or the episode has ended.
            ActionShapeError: the action has the wrong shape.
        """
        if action.shape != (self._spec.action_size,):
            raise ActionShapeError(
                self._source,
                f"an action of {self._spec.action_size} values",
                f"shape {action.shape}",
                "use a package for this robot",
            )
        if not 0 < self._next <= len(self._seen):
            raise ActionAfterEndError(
                self._source, "a reset before this action", "none"
            )
        self._clock.advance(self._spec.period_ns)
        terminal = self._next == len(self._seen)
        shown = self._next - 1 if terminal else self._next
        self._next += 1
        return Transition(
            observation=self._observe(shown),
            reward=0.0,
            success=None,
            terminal=terminal,
        )

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        self._next = 0

    def _observe(self, step: int) -> Observation:
        """What was sensed in a step, by the clock of now."""
        seen, now_ns = self._seen[step], self._clock.now_ns()
        pictures = {
            self._names[name]: self._show(name, picture, now_ns - seen.t_monotonic_ns)
            for name, picture in seen.pictures.items()
        }
        sound = seen.sound
        if sound is not None:
            sound = replace(sound, t_monotonic_ns=now_ns)
        return Observation(seen.state, now_ns, pictures=pictures, sound=sound)

    def _show(self, camera: str, picture: Picture, later_ns: int) -> Picture:
        """A recorded picture, so old as it was then when it was new.

        One that is held keeps its time, though the steps of an episode are not as even
        as those of now.
        """
        taken_ns = picture.t_monotonic_ns
        if camera not in self._newest or self._newest[camera][0] != taken_ns:
            shown = Picture(picture.jpeg, taken_ns + later_ns)
            self._newest[camera] = taken_ns, shown
        return self._newest[camera][1]


def open_replay(path: Path, clock: SimulatedClock) -> ReplayRobot:
    """Opens the episode of a file.

    Raises:
        RldsError: the file is not exactly one whole episode.
        ReplayError: the episode cannot be replayed.
    """
    return ReplayRobot(reader.read_episode(path), str(path), clock)
