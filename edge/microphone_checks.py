"""What can be checked of a robot's microphone in the observations of some steps."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from edge.check_result import Check, Result, judge
from edge.control import hearing
from edge.robots.clock import NS_PER_S
from edge.robots.log_mel import FLOOR
from edge.robots.robot import Microphone, Observation, RobotSpec, Sound
from rlds.spec import SOUND_BANDS

_LEAST_RATE: Final = 0.7  # of what it should be
_MOST_PERIODS: Final = 4  # that the newest sound may be old
_LOUDEST: Final = -1.5
"""All bands together of samples of which many are as large as any: a square wave has 0,
a sine -0.7, and what is 6 dB below that is loud."""
_NAME: Final = "microphone"
_REMEDY: Final = "look at its cable, its switch, and at who else uses it"


def check_microphone(spec: RobotSpec, seen: Sequence[Observation]) -> Iterator[Check]:
    """Checks the microphone of a robot, if it has one.

    Args:
        spec: of the robot.
        seen: what it sensed in steps that follow each other.
    """
    microphone = spec.microphone
    if microphone is None:
        return
    heard = [one.sound for one in seen if one.sound is not None]
    if not heard:
        yield Check(_NAME, Result.FAILED, "no sound", _REMEDY)
        return
    if not all(hearing.is_sound(one.powers, microphone.bands) for one in heard):
        remedy = "let it give what its spec says: logarithms of powers"
        yield Check(_NAME, Result.FAILED, "numbers that are no sound", remedy)
        return
    yield _check_sound(spec, microphone, seen, heard)
    if microphone.bands > SOUND_BANDS:
        yield Check(
            "sound that leaves",
            Result.NOTE,
            f"none: {microphone.bands} bands are more than {SOUND_BANDS}",
            "words could be heard in it, so it stays; give fewer bands to share them",
        )


def _check_sound(
    spec: RobotSpec,
    microphone: Microphone,
    seen: Sequence[Observation],
    heard: Sequence[Sound],
) -> Check:
    values = {one.t_monotonic_ns: one.powers for one in heard}
    ages_ns = [
        one.t_monotonic_ns - one.sound.t_monotonic_ns
        for one in seen
        if one.sound is not None
    ]
    powers = np.stack(list(values.values()))
    loudness = np.log(np.exp(powers.astype(np.float64)).sum(axis=1))
    said = (
        f"{microphone.bands} bands, {10 / np.log(10) * np.median(loudness):.0f} dB of"
        f" the loudest, at most {max(ages_ns) / 1e6:.0f} ms old"
    )
    if bool((powers <= FLOOR).all()):
        return Check(_NAME, Result.FAILED, f"silence: {said}", _REMEDY)
    if spec.simulated:
        return Check(_NAME, Result.PASSED, said)
    if len(values) > 1 and bool((powers == powers[0]).all()):
        return Check(_NAME, Result.FAILED, f"the same sound; {said}", _REMEDY)
    if float(np.median(loudness)) > _LOUDEST:
        remedy = "turn its gain down: alsamixer"
        return Check(_NAME, Result.FAILED, f"too loud to be heard; {said}", remedy)
    span_ns = seen[-1].t_monotonic_ns - seen[0].t_monotonic_ns
    steps_hz = (len(seen) - 1) * NS_PER_S / span_ns if span_ns else microphone.hz
    hz = (len(values) - 1) * NS_PER_S / span_ns if span_ns else microphone.hz
    fresh = max(ages_ns) <= _MOST_PERIODS * max(microphone.period_ns, 1e9 / steps_hz)
    return judge(
        _NAME,
        hz >= _LEAST_RATE * min(microphone.hz, steps_hz) and fresh,
        f"{hz:.1f} values/s of {microphone.hz:g}, {said}",
        "name a device that keeps its rate, such as alsa:plughw:1,0",
    )
