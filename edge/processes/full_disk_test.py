"""A disk that takes no more keeps nobody from driving, and the steps are counted."""

import json
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edge.episodes.step_ring import StepSender
from edge.processes import process
from edge.processes.home import Home
from edge.processes.mailbox import Mailbox
from edge.robots.simulated_point import SPEC
from edge.testing import process_tree, processes, ring_steps, robot_home

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


def test_steps_without_room_for_a_ring_are_told_and_counted_once_there_is_room(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path)
    made.install(1)
    made.call_seed()
    root = made.home.root
    with Mailbox(root, process.SUPERVISOR) as supervisor:
        record = processes.start(
            "edge.processes.record", f"--home={root}", "--robot_id=arm-1"
        )
        control = processes.start(
            "edge.processes.control",
            *made.flags,
            "--pace=simulated",
            "--max_steps=20",
            prelude=_SMALL_FILES,
        )

        def wait_for(
            wanted: Callable[[Mapping[str, object]], bool],
        ) -> Mapping[str, object]:
            until_s = time.monotonic() + process_tree.LONGEST_S
            while time.monotonic() < until_s:
                supervisor.wait(0.1)
                for message in supervisor.receive():
                    if "mode" in message.fields and wanted(message.fields):
                        return message.fields
            raise AssertionError("control has not said so")

        status = wait_for(lambda status: int(str(status.get("unrecorded", 0))) > 20)
        assert "steps.ring" in str(status["no_ring"])
        assert not made.home.ring.exists()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(control.pid, resource.RLIMIT_FSIZE, limits)
        wait_for(lambda status: "unrecorded" not in status and "dropped" in status)
        control.terminate()
        said, _ = control.communicate(timeout=process_tree.LONGEST_S)
        assert control.returncode == 0, said
        driven = wait_for(lambda status: status["doing"] == "ended")["steps"]
    account = made.home.private / "account.json"
    process_tree.wait_until(
        lambda: (
            account.exists() and json.loads(account.read_bytes())["driven"] == driven
        )
    )
    record.terminate()
    heard, _ = record.communicate(timeout=process_tree.LONGEST_S)
    assert record.returncode == 0, heard
    missing = json.loads(account.read_bytes())["missing"]
    assert missing["no_room"] >= int(str(status["unrecorded"]))
    assert f"{missing['no_room']} found no room" in heard
    assert len([one for one in said.splitlines() if "steps.ring" in one]) == 1
