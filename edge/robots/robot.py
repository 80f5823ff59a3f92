"""The protocols of a robot, real or simulated, of its policy and of a disturbance.

A driver for a real arm implements `Robot` and nothing else: the control loop, the
recorder and the package runner know robots only through this file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edge.robots.clock import NS_PER_S, Clock
from rlds.jpeg_segments import MAX_PIXELS
from rlds.spec import MAX_CAMERAS, SOUND_BANDS, check_camera_name

Vector = npt.NDArray[np.float32]
# A picture of 64x64 may have much in it; one of 1920x1080 takes half a megabyte.
_SMALLEST_LIMIT_BYTES: Final = 16 * 1024
_LARGEST_LIMIT_BYTES: Final = 2 * 1024 * 1024
_F32_MAX: Final = float(np.finfo(np.float32).max)
LOWEST_SOUND_HZ: Final = 2.0
"""As many values of sound as leave a robot."""
MAX_BANDS: Final = 128
"""Of a microphone. Recognisers of speech take 40 to 80."""


@dataclass(frozen=True)
class Camera:
    """One camera of a robot.

    Attributes:
        name: which one it is, such as `front` or `left_wrist`, in words of
            `rlds.spec.CAMERA_WORDS`: it leaves the robot with its pictures.
        width: of its pictures, in pixels.
        height: of its pictures, in pixels.
        hz: pictures per second. It may be less or more than the control rate.

    Raises:
        ValueError: the name, a size or the rate is out of range.
    """

    name: str
    width: int
    height: int
    hz: float

    def __post_init__(self) -> None:
        check_camera_name(self.name)
        for size in (self.width, self.height):
            if type(size) is not int or size <= 0:
                raise ValueError(f"camera {self.name}: sizes must be positive: {self}")
        if self.width * self.height > MAX_PIXELS or not 0.0 < self.hz < math.inf:
            raise ValueError(
                f"camera {self.name}: at most {MAX_PIXELS} pixels, and a rate above 0,"
                f" got {self.width} x {self.height} at {self.hz}"
            )

    @property
    def largest_bytes(self) -> int:
        """Size of the largest JPEG that is recorded.

        A byte for each pixel is some times what a camera's best quality takes.
        """
        limit = min(self.width * self.height, _LARGEST_LIMIT_BYTES)
        return max(_SMALLEST_LIMIT_BYTES, limit)

    @property
    def period_ns(self) -> int:
        """Time between two of its pictures, in nanoseconds."""
        return round(NS_PER_S / self.hz)


@dataclass(frozen=True)
class Picture:
    """One picture of a camera.

    Attributes:
        jpeg: the picture, as a JPEG of three components without alpha.
        t_monotonic_ns: when it was taken, on the robot's clock.
    """

    jpeg: bytes
    t_monotonic_ns: int


@dataclass(frozen=True)
class Microphone:
    """The microphone of a robot: how loud it is in some bands, and how often.

    Attributes:
        hz: values per second, `LOWEST_SOUND_HZ` or more. Fewer than control steps are
            held; of more, a step has the newest.
        bands: numbers of each value. Of more than `rlds.spec.SOUND_BANDS` none leave
            the robot.

    Raises:
        ValueError: one is out of range.
    """

    hz: float
    bands: int = SOUND_BANDS

    def __post_init__(self) -> None:
        rate_is_good = LOWEST_SOUND_HZ <= self.hz < math.inf
        if not rate_is_good or not 0 < self.bands <= MAX_BANDS:
            raise ValueError(
                f"a microphone: {LOWEST_SOUND_HZ:g} values per second or more, of 1 to"
                f" {MAX_BANDS} bands, got {self}"
            )

    @property
    def period_ns(self) -> int:
        """Time between two of its values, in nanoseconds."""
        return round(NS_PER_S / self.hz)


@dataclass(frozen=True)
class Sound:
    """How loud it was, in bands; never the samples of a voice.

    Attributes:
        powers: [bands] f32, natural logarithm of the power of each band, 0 for the
            power 1 of the loudest samples that there are.
        t_monotonic_ns: when the last of it was heard, on the robot's clock.
        is_coarse: whether it has the form in which sound leaves a robot already
            (`rlds/coarse_sound.py`), as that of recorded episodes may.
    """

    powers: Vector
    t_monotonic_ns: int
    is_coarse: bool = False


@dataclass(frozen=True)
class RobotSpec:
    """The properties of a robot; they do not change while it is open.

    Attributes:
        state_size: length of `Observation.state`.
        action_size: length of an action.
        control_hz: control steps per second.
        robot_model: the machine, for example `sawyer`.
        environment_id: the site or simulator, for example `metaworld-3.1.1`.
        task: what the robot is asked to do, for example `reach-v3`.
        action_minimum: lowest value the robot accepts, per action component.
        action_maximum: highest value the robot accepts, per action component.
        simulated: whether the robot exists only as a program.
        hold_after_s: how long it may go on with its last command, in seconds, before
            its watchdog holds it; None for 0.1 to 0.25, by the control rate. A light
            or slow arm may take longer on a busy machine without real time.
        cameras: its cameras, each with a rate of its own.
        microphone: its microphone; None if it does not hear.
    """

    state_size: int
    action_size: int
    control_hz: float
    robot_model: str
    environment_id: str
    task: str
    action_minimum: tuple[float, ...]
    action_maximum: tuple[float, ...]
    simulated: bool
    hold_after_s: float | None = None
    cameras: tuple[Camera, ...] = ()
    microphone: Microphone | None = None

    def __post_init__(self) -> None:
        """Checks that sizes and limits agree.

        Raises:
            ValueError: a size or rate is not positive, the limits do not fit or are
                no numbers, or two cameras have one name.
        """
        if self.state_size <= 0 or self.action_size <= 0 or self.control_hz <= 0:
            raise ValueError(f"sizes and control_hz must be positive: {self}")
        if not math.isfinite(self.control_hz):
            raise ValueError(f"control_hz must be a number, got {self.control_hz}")
        limits = (len(self.action_minimum), len(self.action_maximum))
        if limits != (self.action_size, self.action_size):
            raise ValueError(f"expected {self.action_size} action limits, got {limits}")
        pairs = zip(self.action_minimum, self.action_maximum, strict=True)
        if not all(-_F32_MAX <= low < high <= _F32_MAX for low, high in pairs):
            raise ValueError(
                "each action minimum must be below its maximum, and both finite f32"
            )
        if self.hold_after_s is not None and self.hold_after_s * self.control_hz <= 1.0:
            raise ValueError("hold_after_s must be longer than a control period")

        names = {camera.name for camera in self.cameras}
        if len(names) != len(self.cameras) or len(names) > MAX_CAMERAS:
            raise ValueError(
                f"expected at most {MAX_CAMERAS} cameras, each with its own name, got"
                f" {[camera.name for camera in self.cameras]}"
            )

    @property
    def period_ns(self) -> int:
        """Length of one control period in nanoseconds."""
        return round(NS_PER_S / self.control_hz)


NO_PICTURES: Final[Mapping[str, Picture]] = MappingProxyType({})


@dataclass(frozen=True)
class Observation:
    """What the robot sensed at one instant.

    Attributes:
        state: [state_size] f32, in the units of the robot's own description.
        t_monotonic_ns: when it was sensed, on the robot's clock.
        pictures: the newest picture of each camera, by the camera's name. It stays
            there until its camera takes the next one, however long that lasts; a camera
            that has not taken any has none.
        sound: the newest of its microphone, which stays as a picture does; None before
            there is any.
    """

    state: Vector
    t_monotonic_ns: int
    pictures: Mapping[str, Picture] = field(default=NO_PICTURES, kw_only=True)
    sound: Sound | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Transition:
    """What followed one action.

    Attributes:
        observation: sensed after the action has run for one control period.
        reward: the task's score for this step; 0.0 if the robot has none.
        success: whether the task is fulfilled now; None if the robot cannot tell.
        terminal: whether the episode cannot continue.
    """

    observation: Observation
    reward: float
    success: bool | None
    terminal: bool


class Robot(Protocol):
    """One robot doing one task.

    For each episode the loop calls `reset` once, then `act` once per control period
    until the episode ends, then `hold`. `reset(seed)` fully determines what a simulated
    robot does next, whatever it did before; a real robot moves to its start pose and
    may ignore the seed.
    """

    @property
    def spec(self) -> RobotSpec:
        """The robot's properties; the same object until the robot is closed."""

    @property
    def clock(self) -> Clock:
        """The clock that stamps this robot's observations."""

    def reset(self, seed: int) -> Observation:
        """Begins an episode and returns its first observation.

        A driver that moves its robot to a start does so here. Nobody hears the stop key
        meanwhile: the robot is held after it.
        """

    def act(self, action: Vector) -> Transition:
        """Applies an action of shape [action_size] for one control period.

        The action is within the spec's limits: the control loop clamps it.

        Raises:
            ActionAfterEndError: there was no `reset`, or the episode has ended.
            ActionShapeError: the action has the wrong shape.
        """

    def hold(self) -> None:
        """Makes the actuators stand still where they are, until the next `reset`.

        It comes at the end of each episode, however that ends, and twice does no harm.
        It must not depend on anything that `act` was doing: for a robot that exists,
        the watchdog calls it in a fork of this process, when this process hangs or has
        been killed in the middle of an action (`edge/control/watchdog.py`). So it
        writes to the open port or opens one of its own, and takes no lock and no
        thread. It returns within a few milliseconds. A simulated robot moves only in
        `act`, and does nothing here.
        """

    def close(self) -> None:
        """Stops the robot and frees its resources; it cannot be used any more."""


class Observing(Protocol):
    """What a robot may offer besides: to say what it senses without moving.

    `//edge:check_robot` asks for it before an arm moves for the first time.
    """

    def observe(self) -> Observation:
        """What the robot senses now, at any time between opening and closing."""


class Policy(Protocol):
    """Chooses actions: a package, a scripted expert or a human."""

    def reset(self, task: str) -> None:
        """Begins an episode of `task` and drops the state of the last one."""

    def propose(self, observation: Observation) -> npt.NDArray[Any]:
        """The proposed action, [action_size], before any limit is applied."""


class Disturbance(Protocol):
    """Changes the executed action, but not the proposed one."""

    def reset(self, seed: int) -> None:
        """Begins an episode; `seed` fully determines what follows."""

    def disturb(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The disturbed action; it is clamped afterwards."""
