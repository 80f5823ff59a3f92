"""The programs of a robot beside each other: drive, record, upload, update, publish.

None of them ends, and every step that one of them recorded is in the store.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.digest import sha256_bytes
from edge.testing import processes
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import raw_layout, reader, sidecar

ROBOT = "--robot=metaworld:reach-v3"
MAX_STEPS = 40
RELEASES = 60  # at most, and none more often than every second


def repeat(done: Callable[[], bool], *command: str) -> list[str]:
    """Runs a program again and again, which must succeed; returns what it printed."""
    said: list[str] = []
    while not said or not done():
        seed = f"--seed={1000 * len(said)}" if command[0] == "edge.record" else ""
        ended = processes.run(*command, *filter(None, [seed]))
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        said.append(ended.stdout)
    return said


def publish(done: Callable[[], bool], publisher: Publisher, period_s: float) -> int:
    """Publishes a new package per period; returns how many."""
    count = 0
    while not done():
        count += 1
        publisher.release(count, now=datetime.now(UTC))
        next_s = time.monotonic() + period_s
        while time.monotonic() < next_s and not done():
            time.sleep(0.1)
    return count


def check_sent(folder: Path, store: Path) -> tuple[int, int]:
    """Every episode is in the store, byte for byte; returns their number and steps."""
    steps = 0
    paths = sorted(folder.glob("*.sidecar.json"))
    for path in paths:
        description = sidecar.parse(path.read_bytes())
        target = raw_layout.locate(description)
        raw = (store / target.episode).read_bytes()
        assert sha256_bytes(raw) == description.sha256
        assert (store / target.sidecar).read_bytes() == path.read_bytes()
        assert reader.read_episode_bytes(raw).num_steps == description.num_steps
        steps += description.num_steps
    assert len(paths) == len(list(folder.glob("*.tfrecord")))
    assert list(folder.with_name(folder.name + ".private").iterdir()) == []
    assert not list(folder.rglob(".tmp-*"))
    assert not list(folder.rglob("*.damaged"))
    return len(paths), steps


# For ten minutes: --test_env=SIDE_BY_SIDE_S=600.
LONG_S = int(os.environ.get("SIDE_BY_SIDE_S", "180"))


@pytest.mark.parametrize("seconds", [8, pytest.param(LONG_S, marks=pytest.mark.long)])
def test_programs_side_by_side_end_none_and_lose_no_step(
    tmp_path: Path, seconds: int
) -> None:
    driven, recorded, store = (tmp_path / x for x in ("driven", "recorded", "raw"))
    store.mkdir()
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    publisher.release(0, now=datetime.now(UTC))
    log = tmp_path / "run.log"
    with log.open("wb") as output:
        driving = subprocess.Popen(
            processes.command(
                "edge.run",
                ROBOT,
                "--episodes=0",
                f"--max_steps={MAX_STEPS}",
                f"--channel={publisher.channel_uri}",
                f"--keyring={publisher.keyring()}",
                "--allow_development_keys",
                "--offline_if_update_fails",
                f"--state_dir={tmp_path / 'state'}",
                "--update_period_s=0.5",
                f"--record_dir={driven}",
                "--consent",
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=processes.environment(),
        )
    while not list(driven.glob("*.sidecar.json")):
        assert driving.poll() is None, log.read_text()
        time.sleep(0.05)
    end_s = time.monotonic() + seconds

    def done() -> bool:
        return time.monotonic() > end_s or driving.poll() is not None

    record = ("edge.record", ROBOT, "--episodes=5", f"--output={recorded}", "--consent")
    upload = ("edge.episodes.upload", f"--to={store.as_uri()}")
    recorded.mkdir()
    with ThreadPoolExecutor() as pool:
        recording = pool.submit(repeat, done, *record)
        uploads = [
            pool.submit(repeat, done, *upload, f"--from={folder}")
            for folder in (driven, recorded)
        ]
        period_s = max(1.0, seconds / RELEASES)
        publishing = pool.submit(publish, done, publisher, period_s)
        said = recording.result()
        sent = [len(one.result()) for one in uploads]
        releases = publishing.result()
    assert driving.poll() is None, log.read_text()
    driving.send_signal(signal.SIGTERM)
    assert driving.wait(timeout=60) == 0, log.read_text()
    for folder in (driven, recorded):
        repeat(lambda: True, *upload, f"--from={folder}")

    printed = log.read_text()
    assert "the update failed" not in printed, printed
    installed = re.findall(r"release (\d+): installed", printed)
    assert len(installed) > releases // 2 > 0
    count, steps = check_sent(driven, store)
    assert int(re.findall(r"recorded +(\d+) episodes", printed)[-1]) == count
    summed = sum(map(int, re.findall(r"missed deadlines  \d+ of (\d+) steps", printed)))
    # The last episode was cut by the signal and is in no summary.
    assert summed <= steps <= summed + MAX_STEPS
    count, _ = check_sent(recorded, store)
    assert count == sum(
        int(number) for one in said for number in re.findall(r"(\d+) recorded, 0", one)
    )
    assert count == 5 * len(said)
    assert min(sent) > 1
