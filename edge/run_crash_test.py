"""The robot's program really dies of a package, and drives again with the one before.

The step's engine is replaced in a child process: at its n-th call, the one of the newer
package ends the process by a fault of memory, aborts it, or never returns.
"""

import ctypes
import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from ai_edge_litert.interpreter import (
    Interpreter,
)

from base.digest import sha256_bytes
from edge.control import litert
from edge.ota import update
from edge.ota.decide import RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.testing import processes, tiny_package
from edge.testing.tiny_package import ROBOTS, Publisher
from rlds import example_codec, tfrecord


def die(death: str) -> None:
    """Ends this process, or never returns."""
    if death == "segmentation fault":
        ctypes.string_at(0)
    elif death == "abort":
        os.abort()
    time.sleep(60)


def make_deadly(bad: str, call: int, death: str) -> None:
    """Replaces the engine in this process, for the step of this digest."""

    class Engine(Interpreter):  # type: ignore[misc]
        def __init__(self, model_content: bytes, num_threads: int) -> None:
            super().__init__(model_content=model_content, num_threads=num_threads)
            self.bad = sha256_bytes(model_content) == bad
            self.calls = 0

        def invoke(self) -> None:
            self.calls += 1
            if self.bad and self.calls == call:
                die(death)
            super().invoke()

    patch = pytest.MonkeyPatch()
    patch.setattr(litert, "Interpreter", Engine)
    patch.setattr(litert, "HUNG_AFTER_S", 0.2)


DEATHS = {
    "segmentation fault": signal.SIGSEGV,
    "abort": signal.SIGABRT,
    "hang": signal.SIGALRM,
}
AT_OPENING, AT_DRIVING = 1, 4


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """The flags of a unit whose robot has two packages and no network."""
    publisher = Publisher(tmp_path)
    state = StateFolder(tmp_path / "state")
    for seed in (0, 1):
        publisher.release(seed, now=datetime.now(UTC))
        update.update(
            state,
            publisher.channel_uri,
            publisher.trusted,
            RobotRuntime("sim-00", "0.1.0"),
            ROBOTS,
            datetime.now(UTC),
        )
    episode = tmp_path / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=12)
    episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    publisher.root.rename(tmp_path / "away")
    return [
        f"--channel={publisher.channel_uri}",
        "--offline_if_update_fails",
        f"--keyring={publisher.keyring()}",
        f"--state_dir={state.root}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
    ]


def run(flags: list[str], call: int, death: str) -> subprocess.CompletedProcess[str]:
    """Runs the program with an engine that is deadly for the newer package's step."""
    step = Path(flags[0].removeprefix("--channel=file://")).parents[2]
    bad = sha256_bytes((step / "package-1/functions/step.tflite").read_bytes())
    return processes.run_forked(
        "edge.run", *flags, before=partial(make_deadly, bad, call, death)
    )


@pytest.mark.parametrize("call", [AT_OPENING, AT_DRIVING])
@pytest.mark.parametrize("death", DEATHS)
def test_package_that_kills_its_process_gives_way_after_three_starts(
    flags: list[str], call: int, death: str
) -> None:
    for _ in range(3):
        died = run(flags, call, death)
        assert died.returncode == -DEATHS[death], died.stderr
    lives = run(flags, call, death)
    assert lives.returncode == 0, lives.stderr
    assert "step latency" in lives.stdout
    why, package = lives.stderr.splitlines()[-2:]
    assert "got 3 starts in a row that died before one did" in why
    assert package.endswith("which cannot drive: fell back to it")
    again = run(flags, call, death)
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1].endswith("which cannot drive: kept")
    (root,) = (Path(flag.partition("=")[2]) for flag in flags if "state_dir" in flag)
    assert not (root / "starts").exists()


def test_package_that_dies_after_its_first_episode_stays(flags: list[str]) -> None:
    two = [*flags, "--episodes=2"]
    for _ in range(5):
        died = run(two, 20, "abort")
        assert died.returncode == -signal.SIGABRT, died.stderr
        assert "release 2: kept" in died.stderr
