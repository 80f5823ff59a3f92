"""What can be checked of a robot's cameras in the observations of some steps."""

from collections.abc import Iterator, Sequence
from typing import Final

from edge.check_result import Check, Result, judge
from edge.episodes import pictures
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Camera, Observation, Picture, RobotSpec

_LEAST_RATE: Final = 0.7  # of what it should be; a dark room takes longer to expose
_MOST_PERIODS: Final = 3  # that a newest picture may be old
_REMEDY: Final = "look at its cable, at who else uses it, and at its lens"


def check_cameras(spec: RobotSpec, seen: Sequence[Observation]) -> Iterator[Check]:
    """Checks each camera of a robot.

    Args:
        spec: of the robot.
        seen: what it sensed in steps that follow each other.
    """
    for camera in spec.cameras:
        yield from _check_camera(camera, seen, has_noise=not spec.simulated)


def _check_camera(
    camera: Camera, seen: Sequence[Observation], *, has_noise: bool
) -> Iterator[Check]:
    name = f"camera {camera.name}"
    held = [one.pictures[camera.name] for one in seen if camera.name in one.pictures]
    if not held:
        yield Check(name, Result.FAILED, "no picture", _REMEDY)
        return
    fault = _find_fault(camera, held)
    if fault:
        yield Check(name, Result.FAILED, fault, "let it send what its spec says")
        return
    taken = {one.t_monotonic_ns: one.jpeg for one in held}
    ages_ns = [
        one.t_monotonic_ns - one.pictures[camera.name].t_monotonic_ns
        for one in seen
        if camera.name in one.pictures
    ]
    said = (
        f"{camera.width} x {camera.height}, {max(map(len, taken.values())):,} bytes,"
        f" at most {max(ages_ns) / 1e6:.0f} ms old"
    )
    if not has_noise:  # simulated: neither its clock nor its walls are those of a desk
        yield Check(name, Result.PASSED, said)
        return
    if len(taken) > 1 and len(set(taken.values())) == 1:
        yield Check(name, Result.FAILED, f"the same picture; {said}", _REMEDY)
        return
    span_ns = seen[-1].t_monotonic_ns - seen[0].t_monotonic_ns
    hz = (len(taken) - 1) * NS_PER_S / span_ns if span_ns else camera.hz
    # Control cannot see more pictures than it has steps.
    wanted = min(camera.hz, (len(seen) - 1) * NS_PER_S / span_ns if span_ns else hz)
    fresh = max(ages_ns) <= _MOST_PERIODS * max(camera.period_ns, span_ns // len(seen))
    yield judge(
        name,
        hz >= _LEAST_RATE * wanted and fresh,
        f"{hz:.1f} pictures/s of {camera.hz:g}, {said}",
        "name a rate that it keeps, give it light, or a port of its own",
    )


def _find_fault(camera: Camera, held: Sequence[Picture]) -> str:
    for one in held:
        if (fault := pictures.find_fault(one.jpeg, camera)) is not None:
            expected, got = fault
            return f"expected {expected}, got {got}"
    return ""
