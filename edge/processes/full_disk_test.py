"""A disk that takes no more keeps nobody from driving, and the steps are counted."""

import json
import time
from pathlib import Path
from typing import Final

from edge.episodes.step_ring import StepSender
from edge.processes.home import Home
from edge.robots.simulated_point import SPEC
from edge.testing import process_tree, processes, ring_steps

_STEPS: Final = 3000
# A file can hold a third of the episode's journal; the error is that of a full disk.
_SMALL_FILES: Final = (
    "import resource\n"
    "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))\n"
)


def test_full_disk_is_told_and_every_step_is_recorded_or_counted(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "home")
    home.run.mkdir(parents=True)
    sender = StepSender(home.ring, SPEC)
    running = processes.start(
        "edge.processes.record",
        f"--home={home.root}",
        "--robot_id=point-1",
        prelude=_SMALL_FILES,
    )
    begin_s = time.monotonic()
    name = ring_steps.send_episode(sender, _STEPS)
    assert time.monotonic() - begin_s < 5.0  # control has not waited
    assert sender.dropped == 0
    process_tree.wait_until(lambda: not sender.filled)
    running.terminate()
    said, _ = running.communicate(timeout=process_tree.LONGEST_S)
    assert running.returncode == 0, said
    assert "File too large" in said
    account = json.loads((home.private / "account.json").read_bytes())
    missing = account["missing"]["refused"]
    assert account["driven"] == _STEPS
    assert 0 < missing < _STEPS
    assert account["missing"] == {"no_room": 0, "refused": missing, "unfit": 0}
    shared = ring_steps.read_episodes(home.shared)
    (part,) = ring_steps.list_parts(name, shared)
    assert ring_steps.numbers(part) == list(range(_STEPS - missing))
    assert part.metadata.success is None
