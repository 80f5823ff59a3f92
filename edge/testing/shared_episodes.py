"""Makes redacted, signed episodes of the smallest robot in milliseconds, for tests."""

from collections.abc import Iterator
from pathlib import Path

from edge.control.loop import Pace, run_episode
from edge.control.safety import config_for
from edge.episodes import robot_key
from edge.episodes.sharing import Provenance, open_recording, operator_consent
from edge.robots.clock import SimulatedClock
from edge.robots.simulated_point import SPEC, PointExpert, SimulatedPoint
from rlds.uuid7 import uuid7

ROBOT_ID = "point-1"
START_UNIX_NS = 1_767_254_400_000_000_000  # 2026-01-01T08:00:00Z


def make(folder: Path, count: int, consent: bool = True) -> list[str]:
    """Recovers what was left, then records `count` episodes; returns their names."""
    return list(make_each(folder, count, consent))


def make_each(folder: Path, count: int, consent: bool = True) -> Iterator[str]:
    """As `make`, but yields the name of each episode once it is in `folder`."""
    key = robot_key.derive_simulated(ROBOT_ID)
    private = folder.with_name(folder.name + ".private")
    said = operator_consent(consent, START_UNIX_NS)
    with open_recording(folder, private, key, ROBOT_ID, said) as recording:
        for _ in recording.recover():
            pass
        for seed in range(count):
            name = uuid7(START_UNIX_NS // 1_000_000 + seed, bytes(10))
            recorder = recording.begin(
                SPEC, name, START_UNIX_NS, Provenance(actor="expert")
            )
            result = run_episode(
                SimulatedPoint(SimulatedClock(START_UNIX_NS)),
                PointExpert(),
                config_for(SPEC),
                recorder,
                seed,
                100,
                Pace.SIMULATED,
            )
            recording.share(recorder.close(result.success))
            yield name
